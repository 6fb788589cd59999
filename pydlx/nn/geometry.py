"""Output sizes and receptive fields of a network's layers, one row each, by the rules of `pydlx.nn.arithmetic`.

>>> print(layer_geometry(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), (32, 32)))
layer  kind       kernel  stride  padding  output  field  jump  start
0      Conv2d     3       1       1        32      3      1     0
1      ReLU       1       1       0        32      3      1     0
2      MaxPool2d  2       2       0        16      4      2     0.5
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, overload

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from pydlx._checks import described, is_whole, listed, whole
from pydlx.nn.arithmetic import (
    ReceptiveField,
    Window,
    effective_kernel,
    output_size,
    padding_sides,
    receptive_field,
    transposed_output_size,
)
from pydlx.nn.corner_pool import CornerPool2d
from pydlx.nn.pyramid_pool import SpatialPyramidPool2d
from pydlx.nn.soft_pool import SoftPool1d, SoftPool2d, SoftPool3d
from pydlx.nn.upsample import BilinearUpsample2d

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.LPPool3d),
    *(SoftPool1d, SoftPool2d, SoftPool3d),
)
_ADAPTIVE_POOLS = (
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_VECTORS = (nn.Flatten, nn.Linear)
_WITHOUT_AXES = (*_VECTORS, SpatialPyramidPool2d)
# Layers whose outputs see one input element each. For normalisations that holds once their statistics are fixed.
_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Softplus, nn.Softsign),
    *(nn.Threshold, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.Softmax2d),
    *(_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, _DropoutNd, nn.Identity),
)


@dataclass(frozen=True)
class LayerGeometry:
    """A layer's row; tuples have one entry per spatial axis.

    Attributes:
        name: The layer's name in the network, with dots if nested.
        kind: Its class.
        kernel: Effective kernel size, including dilation.
        stride: Step between windows; for a transposed convolution, between the outputs of neighbouring inputs.
        padding: Elements added before and after.
        size: Output size; () after a layer without spatial axes, such as Flatten.
        receptive_field: Elements of the network's input that an output sees, on an axis without ends.
        jump: Elements of the network's input between the fields of neighbouring outputs; 0 if every output sees all.
        start: Centre of the first output's field; input element i has its centre at i.
        windows: What an output sees of the layer's own input; None if everything.
    """

    name: str
    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    size: tuple[int, ...]
    receptive_field: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    windows: tuple[Window, ...] | None = field(repr=False)


@dataclass(frozen=True)
class Geometry(Sequence[LayerGeometry]):
    """The rows of a network's layers, from the first to the last; prints as a table."""

    input_size: tuple[int, ...]
    rows: tuple[LayerGeometry, ...]

    @overload
    def __getitem__(self, index: int) -> LayerGeometry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LayerGeometry, ...]: ...
    def __getitem__(self, index: int | slice) -> LayerGeometry | tuple[LayerGeometry, ...]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        header = ("layer", "kind", "kernel", "stride", "padding", "output", "field", "jump", "start")
        lines = [header, *(_texts(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ("  ".join(map(str.ljust, line, widths)) for line in lines)
        return "\n".join(line.rstrip() for line in padded)

    def seen_by(self, layer: str, position: Sequence[int]) -> tuple[slice, ...]:
        """The part of the network's input that one output of a layer sees, clipped to the input.

        Args:
            layer: A row's name.
            position: Index of the output, one number per axis.

        Raises:
            ValueError: If there is no such layer or output.
        """
        last = next((i for i, row in enumerate(self.rows) if row.name == layer), None)
        if last is None:
            raise ValueError(f"seen_by: layer must be one of {', '.join(r.name for r in self.rows)}, got {layer!r}")
        size = self.rows[last].size
        if len(position) != len(size) or not all(0 <= at < n for at, n in zip(position, size, strict=True)):
            raise ValueError(f"seen_by: position must lie inside of {size}, got {tuple(position)}")
        return tuple(self._seen_along(axis, last, at) for axis, at in enumerate(position))

    def _seen_along(self, axis: int, last: int, position: int) -> slice:
        outputs = range(position, position + 1)
        sizes = [self.input_size, *(row.size for row in self.rows)]
        for row, size in zip(reversed(self.rows[: last + 1]), reversed(sizes[: last + 1]), strict=True):
            if row.windows is None:
                return slice(0, self.input_size[axis])
            seen = row.windows[axis].inputs(outputs)
            outputs = range(max(seen.start, 0), min(seen.stop, size[axis]))
        return slice(outputs.start, max(outputs.start, outputs.stop))


@dataclass(frozen=True)
class _Axis:
    """One axis of a layer on an input of known size."""

    size: int
    window: Window
    kernel: int = 1
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


def layer_geometry(layers: nn.Module | Iterable[tuple[str, nn.Module]], input_size: int | Sequence[int]) -> Geometry:
    """Output size and receptive field of every layer of a chain of layers.

    Supported are convolutions, transposed convolutions, max, average, power-average and soft pooling, upsampling by
    whole factors, and elementwise layers (activations, normalisations, dropout). Adaptive pooling that changes the
    size, corner and pyramid pooling, Flatten and Linear see the whole input, and so do all layers after them.

    Args:
        layers: A ``torch.nn.Sequential``, which may be nested, or a single layer, or pairs of a name and a layer.
        input_size: Sizes of the input's spatial axes, such as (224, 224).

    Raises:
        ValueError: If a layer is unknown or does not fit the size that reaches it, or input_size is not positive.
    """
    image = _checked_size(input_size)
    rows: list[LayerGeometry] = []
    behind: list[tuple[Window, ...]] | None = []  # the windows of all layers so far; None once one sees everything
    size = image
    for name, layer in _named(layers):
        axes = _read(name, layer, size)
        if axes is None:
            behind = None
            axes = _everything(layer, size)
        elif behind is not None:
            behind = [*behind, tuple(axis.window for axis in axes)]
        fields = _fields(behind, image)
        rows.append(
            LayerGeometry(
                name=name,
                kind=type(layer).__name__,
                kernel=tuple(axis.kernel for axis in axes),
                stride=tuple(axis.stride for axis in axes),
                padding=tuple(axis.padding for axis in axes),
                size=() if isinstance(layer, _WITHOUT_AXES) else tuple(axis.size for axis in axes),
                receptive_field=tuple(f.size for f in fields),
                jump=tuple(f.jump for f in fields),
                start=tuple(f.start for f in fields),
                windows=None if behind is None else behind[-1],
            )
        )
        size = rows[-1].size
    return Geometry(image, tuple(rows))


def _checked_size(input_size: int | Sequence[int]) -> tuple[int, ...]:
    name, wanted = "layer_geometry", "a whole number or several"
    given = [input_size] if is_whole(input_size) else listed(name, "input_size", input_size, wanted)
    image = tuple(whole(name, "input_size", size) for size in given)
    if not image or min(image) < 1:
        raise ValueError(f"{name}: input_size must be positive, got {input_size}")
    return image


def _named(layers: nn.Module | Iterable[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    if isinstance(layers, nn.Module):
        return list(_leaves("", layers))
    wanted = "a module, or pairs of a name and a module"
    pairs = listed("layer_geometry", "layers", layers, wanted)
    for pair in pairs:
        if not (isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[1], nn.Module)):
            raise TypeError(f"layer_geometry: layers must be {wanted}, got {described(pair)}")
    return [(str(name), layer) for name, layer in pairs]


def _leaves(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _leaves(f"{prefix}.{name}" if prefix else name, child)
    else:
        yield prefix or type(module).__name__, module


def _fields(behind: list[tuple[Window, ...]] | None, image: Sequence[int]) -> list[ReceptiveField]:
    if behind is None:
        return [ReceptiveField(size, jump=Fraction(0), start=Fraction(size - 1, 2)) for size in image]
    return [receptive_field([windows[axis] for windows in behind]) for axis in range(len(image))]


def _read(name: str, layer: nn.Module, size: tuple[int, ...]) -> list[_Axis] | None:
    """The axes of a layer on an input of this size; None if every output sees everything."""
    if isinstance(layer, _ELEMENTWISE):
        return [_Axis(n, Window()) for n in size]
    if isinstance(layer, _VECTORS):
        return None
    kind, sees_all = type(layer).__name__, isinstance(layer, (*_ADAPTIVE_POOLS, SpatialPyramidPool2d, CornerPool2d))
    reader: Any = next((read for kinds, read in _READERS if isinstance(layer, kinds)), None)
    if reader is None and not sees_all:
        raise ValueError(f"layer_geometry: layer {name!r} must be of a known kind, got {kind}")
    axes = _axes_of(type(layer))
    if axes not in (None, len(size)) or not size:
        raise ValueError(f"layer_geometry: layer {name!r} ({kind}) must get {axes or 'some'} spatial axes, got {size}")
    if isinstance(layer, CornerPool2d):
        return None  # true of one corner's output; the others see everything up to an edge
    if isinstance(layer, _ADAPTIVE_POOLS):
        return [_Axis(n, Window()) for n in size] if _adapted(layer, size) == size else None
    try:
        if isinstance(layer, SpatialPyramidPool2d):
            layer.check_size(*size)
            return None
        return [reader(layer, axis, n) for axis, n in enumerate(size)]
    except ValueError as error:
        raise ValueError(f"layer_geometry: layer {name!r} ({kind}) does not fit size {size}: {error}") from error


def _axes_of(kind: type) -> int | None:
    """Number of spatial axes, from the suffix of the class's or a base class's name; None for any number."""
    names = (base.__name__ for base in kind.__mro__)
    return next((int(name[-2]) for name in names if name.endswith(("1d", "2d", "3d"))), None)


def _convolution(layer: Any, axis: int, size: int) -> _Axis:
    if layer.padding_mode == "circular":
        raise ValueError("padding_mode must keep windows together, got 'circular'")
    kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
    padding = layer.padding if isinstance(layer.padding, str) else layer.padding[axis]
    before, after = padding_sides(padding, kernel, dilation)
    return _Axis(
        output_size(size, kernel, stride, padding, dilation),
        Window(kernel, stride, before, dilation),
        effective_kernel(kernel, dilation),
        stride,
        (before, after),
    )


def _pool(layer: Any, axis: int, size: int) -> _Axis:
    kernel = _along(layer.kernel_size, axis)
    stride = kernel if layer.stride is None else _along(layer.stride, axis)
    padding = _along(getattr(layer, "padding", 0), axis)
    dilation = _along(getattr(layer, "dilation", 1), axis)
    return _Axis(
        output_size(size, kernel, stride, padding, dilation, layer.ceil_mode),
        Window(kernel, stride, padding, dilation),
        effective_kernel(kernel, dilation),
        stride,
        (padding, padding),
    )


def _transposed(layer: Any, axis: int, size: int) -> _Axis:
    arguments = (layer.kernel_size[axis], layer.stride[axis], layer.padding[axis], layer.dilation[axis])
    return _spread(size, *arguments, output_padding=layer.output_padding[axis])


def _bilinear(layer: BilinearUpsample2d, axis: int, size: int) -> _Axis:
    return _spread(size, layer.weight.shape[-1], layer.scale, layer.padding)


def _upsample(layer: nn.Upsample, axis: int, size: int) -> _Axis:
    factor = None if layer.scale_factor is None else _along(layer.scale_factor, axis)
    if factor is None or factor != int(factor) or layer.align_corners or layer.mode == "bicubic":
        raise ValueError("upsampling must be nearest or linear, by a whole factor and without align_corners")
    scale = int(factor)
    if layer.mode.startswith("nearest"):
        return _spread(size, scale, scale)
    return _spread(size, 2 * scale - scale % 2, scale, scale // 2)


def _spread(
    size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1, *, output_padding: int = 0
) -> _Axis:
    """The axis of a transposed convolution, or of an upsampling with the same windows."""
    return _Axis(
        transposed_output_size(size, kernel, stride, padding, dilation, output_padding),
        Window.transposed(kernel, stride, padding, dilation),
        effective_kernel(kernel, dilation),
        stride,
        (padding, padding),
    )


_READERS: tuple[tuple[tuple[type, ...], Any], ...] = (
    (_CONVOLUTIONS, _convolution),
    (_TRANSPOSED, _transposed),
    (_POOLS, _pool),
    ((BilinearUpsample2d,), _bilinear),
    ((nn.Upsample,), _upsample),
)


def _everything(layer: nn.Module, size: tuple[int, ...]) -> list[_Axis]:
    out = _adapted(layer, size) if isinstance(layer, _ADAPTIVE_POOLS) else size
    return [_Axis(n, Window(), kernel=seen) for n, seen in zip(out, size, strict=True)]


def _adapted(layer: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """Output size of adaptive pooling, where None keeps an axis's size."""
    wanted = [_along(layer.output_size, axis) for axis in range(len(size))]
    return tuple(n if out is None else out for n, out in zip(size, wanted, strict=True))


def _along(value: Any, axis: int) -> Any:
    return value[axis] if isinstance(value, Sequence) else value


def _texts(row: LayerGeometry) -> tuple[str, ...]:
    padding = [str(before) if before == after else f"{before}+{after}" for before, after in row.padding]
    start = [_decimal(centre) for centre in row.start]
    numbers = (row.kernel, row.stride, padding, row.size, row.receptive_field, row.jump, start)
    return (row.name, row.kind, *map(_joined, numbers))


def _joined(values: Sequence[object]) -> str:
    """One number if all axes share it, else all joined by ×."""
    texts = list(map(str, values)) or ["-"]
    return texts[0] if len(set(texts)) == 1 else "×".join(texts)


def _decimal(value: Fraction) -> str:
    return f"{float(value):g}"
