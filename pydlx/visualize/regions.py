"""Which part of an image an activation of a network sees, read from the operations that led to it.

The question runs back from the activation through the nodes of the autograd graph, as its signal does: a convolution
turns rows 3 to 4 of its output into the rows of its input under the filters, and where branches meet the part is the
one around both. Statistics of a normalisation and gates count as constants, as for the signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch.autograd.graph import Node

from pydlx.nn.arithmetic import Window
from pydlx.visualize.rules import kind

Size = tuple[int, int]


class _Part(NamedTuple):
    """Rows and columns of a map of known size; None in place of a part means all of the image."""

    rows: range
    columns: range
    size: Size


def seen_region(nodes: Sequence[Node], size: Size, position: tuple[int, int], image: Size) -> tuple[slice, slice]:
    """The rows and columns of the image that one place of a layer's output sees.

    Args:
        nodes: The path from the output to the image, from `pydlx.visualize.rules.path`.
        size: Height and width of the output.
        position: Row and column in it.
        image: Height and width of the image.

    Returns:
        What lies inside of the image; all of it behind operations that mix all places, or whose windows are not known.
    """
    row, column = position
    parts: dict[Node, _Part | None] = {nodes[0]: _Part(range(row, row + 1), range(column, column + 1), size)}
    on_path = set(nodes)
    for node in nodes[:-1]:
        before = _before(node, parts[node])
        for other in {other for other, _ in node.next_functions if other in on_path}:
            parts[other] = _around(before, parts[other]) if other in parts else before
    seen = parts[nodes[-1]]
    if seen is None or seen.size != image:
        return slice(0, image[0]), slice(0, image[1])
    return slice(seen.rows.start, seen.rows.stop), slice(seen.columns.start, seen.columns.stop)


def _before(node: Node, part: _Part | None) -> _Part | None:
    """The part of a node's input that a part of its output sees."""
    name = kind(node)
    if part is None or name in _SAME_PLACE:
        return part
    reader = _READERS.get(name)
    return None if reader is None else reader(node, part)


def _around(one: _Part | None, other: _Part | None) -> _Part | None:
    """The smallest part that holds both."""
    if one is None or other is None or one.size != other.size:
        return None
    return _Part(_hull(one.rows, other.rows), _hull(one.columns, other.columns), one.size)


def _hull(one: range, other: range) -> range:
    if not one or not other:
        return one or other
    return range(min(one.start, other.start), max(one.stop, other.stop))


def _cut(seen: range, size: int) -> range:
    """What of it exists."""
    start = min(max(seen.start, 0), size)
    return range(start, max(start, min(seen.stop, size)))


def _through_windows(part: _Part, windows: Sequence[Window], size: Sequence[int]) -> _Part:
    rows, columns = (
        _cut(window.inputs(seen), n) for window, seen, n in zip(windows, (part.rows, part.columns), size, strict=True)
    )
    return _Part(rows, columns, (size[0], size[1]))


def _convolution(node: Any, part: _Part) -> _Part | None:
    size, kernel = node._saved_input.shape[2:], node._saved_weight.shape[2:]
    if len(size) != 2:
        return None
    options = zip(kernel, node._saved_stride, node._saved_padding, node._saved_dilation, strict=True)
    build = Window.transposed if node._saved_transposed else Window
    return _through_windows(part, [build(*axis) for axis in options], size)


def _pool(node: Any, part: _Part) -> _Part:
    kernel, padding = node._saved_kernel_size, node._saved_padding
    stride, dilation = node._saved_stride or kernel, getattr(node, "_saved_dilation", (1, 1))
    windows = [Window(*axis) for axis in zip(kernel, stride, padding, dilation, strict=True)]
    return _through_windows(part, windows, node._saved_self.shape[-2:])


def _soft_pool(node: Any, part: _Part) -> _Part:
    layer = node.layer
    options = [_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)]
    return _through_windows(
        part, [Window(*axis) for axis in zip(*options, strict=True)], node.saved_tensors[0].shape[2:]
    )


def _pair(value: Any) -> Sequence[int]:
    return value if isinstance(value, Sequence) else (value, value)


def _slice(node: Any, part: _Part) -> _Part | None:
    sizes = list(node._saved_self_sym_sizes)
    axis = _axis(node._saved_dim, len(sizes))
    if len(sizes) != 4 or axis < 2:
        return part if len(sizes) == 4 else None
    first = min(max(_signed(node._saved_start), -sizes[axis]), sizes[axis])
    first += sizes[axis] if first < 0 else 0
    step = node._saved_step
    seen = part.rows if axis == 2 else part.columns
    moved = range(first + seen.start * step, first + (seen.stop - 1) * step + 1) if seen else range(0)
    rows, columns = (moved, part.columns) if axis == 2 else (part.rows, moved)
    return _Part(rows, columns, (sizes[2], sizes[3]))


def _channels_only(node: Any, part: _Part) -> _Part | None:
    """Cutting or joining maps keeps places if it is along the channels."""
    return part if _signed(node._saved_dim) in (1, -3) else None


def _constant_pad(node: Any, part: _Part) -> _Part:
    left, right, top, bottom = (*map(_signed, node._saved_pad), 0, 0)[:4]
    size = (part.size[0] - top - bottom, part.size[1] - left - right)
    rows, columns = (range(seen.start - n, seen.stop - n) for seen, n in ((part.rows, top), (part.columns, left)))
    return _Part(_cut(rows, size[0]), _cut(columns, size[1]), size)


def _border_pad(node: Any, part: _Part) -> _Part:
    """Padding with the map's own values: mirrored at the border, or the border's repeated."""
    left, right, top, bottom = map(_signed, node._saved_padding)
    size = (part.size[0] - top - bottom, part.size[1] - left - right)
    seen = []
    for outputs, n, before in zip(part[:2], size, (top, left), strict=True):
        moved = range(outputs.start - before, outputs.stop - before)
        below, above = range(moved.start, min(moved.stop, 0)), range(max(moved.start, n), moved.stop)
        if kind(node) == "ReflectionPad2D":
            folded = [range(1 - below.stop, 1 - below.start), range(2 * n - 1 - above.stop, 2 * n - 1 - above.start)]
        else:
            folded = [range(min(1, len(below))), range(n - min(1, len(above)), n)]
        seen.append(_hull(_hull(_cut(moved, n), folded[0]), folded[1]))
    return _Part(seen[0], seen[1], size)


def _upsample(node: Any, part: _Part) -> _Part:
    """Enlarging or shrinking: each output lies somewhere between the middles of two inputs, or next to one."""
    height, width = (int(n) for n in node._saved_self_sym_sizes[2:])
    scales = (node._saved_scales_h, node._saved_scales_w)
    aligned, reach = getattr(node, "_saved_align_corners", False), _REACH[kind(node)]
    seen = []
    for outputs, size, given, scale in zip(part[:2], part.size, (height, width), scales, strict=True):
        ratio = (given - 1) / max(size - 1, 1) if aligned else 1 / scale if scale else given / size
        offset = 0.0 if aligned or kind(node) == "UpsampleNearest2D" else 0.5
        low, high = ((place + offset) * ratio for place in (outputs.start, outputs.stop - 1))
        if reach is None:  # nearest
            seen.append(range(math.floor(low), math.floor(high) + 1))
            continue
        first, last = math.floor(low - offset), math.ceil(high - offset)
        # Places outside of the map have the values at its border.
        span = range(min(max(first - reach, 0), given - 1), min(max(last + reach, 0), given - 1) + 1)
        seen.append(span)
    return _Part(_cut(seen[0], height), _cut(seen[1], width), (height, width))


def _axis(dim: int, dims: int) -> int:
    dim = _signed(dim)
    return dim + dims if dim < 0 else dim


def _signed(value: int) -> int:
    """PyTorch shows negative numbers of some nodes as unsigned ones."""
    return value - 2**64 if value >= 2**63 else value


# Elements of the input beside the two neighbours that count; None for the nearest alone.
_REACH = {"UpsampleNearest2D": None, "UpsampleNearestExact2D": None, "UpsampleBilinear2D": 0, "UpsampleBicubic2D": 1}

_SAME_PLACE = frozenset(
    (
        *(
            "Add",
            "Sub",
            "Neg",
            "Mul",
            "Div",
            "Where",
            "MaskedFill",
            "Maximum",
            "Clone",
            "ToCopy",
            "Alias",
            "NativeChannelShuffle",
        ),
        *(
            "Relu",
            "Hardtanh",
            "Clamp",
            "ClampMin",
            "Silu",
            "Gelu",
            "Hardswish",
            "Mish",
            "NativeBatchNorm",
            "NativeGroupNorm",
        ),
    )
)

_READERS: dict[str, Callable[[Any, _Part], _Part | None]] = {
    "Convolution": _convolution,
    "MaxPool2DWithIndices": _pool,
    "AvgPool2D": _pool,
    "_SoftSwitches": _soft_pool,
    "Slice": _slice,
    "Cat": _channels_only,
    "Split": _channels_only,
    "SplitWithSizes": _channels_only,
    "ConstantPadNd": _constant_pad,
    "ReflectionPad2D": _border_pad,
    "ReplicationPad2D": _border_pad,
    **dict.fromkeys(_REACH, _upsample),
}
