"""Convolution arithmetic along one axis: output sizes, receptive fields, and what a transposed convolution is.

After Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285. In its letters, with
input size i, kernel k, stride s, padding p and dilation d:

    convolution, pooling      o = floor((i + 2p - d (k - 1) - 1) / s) + 1
    transposed convolution    o = (i - 1) s - 2p + d (k - 1) + 1 + a            a = output_padding

A transposed convolution is a direct one with the flipped kernel, stride 1 and padding d (k - 1) - p, over the input
*stretched* by s - 1 zeros between neighbours and followed by a more. All relations of the paper are cases of this one.
Axes do not interact: a layer of several is asked about one at a time; `pydlx.nn.geometry` does so for whole networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from pydlx.ops.soft_pool import Size, pooled_size

Padding = int | str


def effective_kernel(kernel: int, dilation: int = 1) -> int:
    """Cells from a dilated kernel's first to its last: ``dilation (kernel - 1) + 1``."""
    _require("effective_kernel", 1, kernel=kernel, dilation=dilation)
    return dilation * (kernel - 1) + 1


def padding_cells(padding: Padding, kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Cells added before and after an axis.

    Args:
        padding: A number, ``"valid"`` for none, or ``"same"`` for d (k - 1) in all, the odd one after.
        kernel: Cells of the kernel.
        dilation: Step between them.
    """
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ValueError(f'padding_cells: padding must be a number, "valid" or "same", got {padding!r}')
        total = effective_kernel(kernel, dilation) - 1 if padding == "same" else 0
        return total // 2, total - total // 2
    _require("padding_cells", 0, padding=padding)
    return padding, padding


def output_size(
    size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Output size of a convolution or pooling, by the rules of ``torch.nn.Conv2d`` and ``torch.nn.MaxPool2d``.

    Args:
        size: Input size.
        kernel: Cells of the kernel.
        stride: Step between windows.
        padding: Cells added on each side, ``"valid"`` or ``"same"``, which needs stride 1.
        dilation: Step between the cells of a window.
        ceil_mode: Round up; a last window that would start in the padding is dropped.

    Raises:
        ValueError: If no window fits, or an argument is out of range.
    """
    _require("output_size", 1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    before, after = padding_cells(padding, kernel, dilation)
    if padding == "same":
        if stride != 1:
            raise ValueError(f'output_size: padding "same" needs stride 1, got {stride}')
        return size
    out = pooled_size(size, kernel, stride, before, dilation, ceil_mode)
    if out < 1:
        raise ValueError(
            f"output_size: kernel must fit the padded input of {size + before + after}, "
            f"got {kernel} with dilation {dilation}"
        )
    return out


def transposed_output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """Output size of a transposed convolution, by the rules of ``torch.nn.ConvTranspose2d``.

    Raises:
        ValueError: If nothing is left inside the padding, or an argument is out of range.
    """
    return direct_equivalent(size, kernel, stride, padding, dilation, output_padding).output_size


@dataclass(frozen=True)
class DirectConvolution:
    """The convolution of stride 1, with the flipped kernel, that a transposed one is.

    Attributes:
        size: Input size once stretched.
        stretch: Step between the input's own cells; the zeros between them are one fewer.
        extra: Zeros that follow the stretched input.
        kernel: Cells of the kernel.
        padding: Zeros on each side of all that; where negative, cells cut off.
        dilation: Step between the cells of the kernel.
    """

    stride: ClassVar[int] = 1

    size: int
    stretch: int
    extra: int
    kernel: int
    padding: int
    dilation: int

    @property
    def output_size(self) -> int:
        """What comes out; the output size of the transposed convolution."""
        return self.size + self.extra + 2 * self.padding - effective_kernel(self.kernel, self.dilation) + 1


def direct_equivalent(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> DirectConvolution:
    """The direct convolution that computes a transposed one (relations 8 to 14 of the paper, and their dilated forms).

    Args:
        size: Input size of the transposed convolution.
        kernel: Cells of its kernel.
        stride: Its stride.
        padding: Its padding, which is cut off its output; more than d (k - 1) makes the direct padding negative.
        dilation: Step between the cells of its kernel.
        output_padding: Cells added at the end of its output, fewer than the stride or the dilation.

    Raises:
        ValueError: If nothing is left inside the padding, or an argument is out of range.
    """
    name = "transposed convolution"
    _require(name, 1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    _require(name, 0, padding=padding, output_padding=output_padding)
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"{name}: output_padding must be smaller than the stride or the dilation, "
            f"got {output_padding} for {stride} and {dilation}"
        )
    direct = DirectConvolution(
        size=(size - 1) * stride + 1,
        stretch=stride,
        extra=output_padding,
        kernel=kernel,
        padding=dilation * (kernel - 1) - padding,
        dilation=dilation,
    )
    if direct.output_size < 1:
        raise ValueError(f"{name}: padding must leave some output, got {padding} for an input of {size}")
    return direct


def conv_transpose_by_direct(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """A transposed convolution of 1 to 3 axes, carried out as its direct equivalent: the definition, not the fast way.

    Args:
        x: (N, C, spatial...).
        weight: (C, O / groups, kernel...), as ``torch.nn.functional.conv_transpose2d`` takes it.
        bias: (O,).
        stride: Of the transposed convolution, as all that follows; one number or one for each axis.
        padding: Cells cut off each side of the output.
        output_padding: Cells added at the end of the output.
        groups: Channels are cut into so many groups that do not mix.
        dilation: Step between the cells of the kernel.

    Returns:
        (N, O, spatial...).
    """
    spatial = weight.dim() - 2
    options = (
        [value] * spatial if isinstance(value, int) else list(value)
        for value in (stride, padding, dilation, output_padding)
    )
    axes = [direct_equivalent(*axis) for axis in zip(x.shape[2:], weight.shape[2:], *options, strict=True)]
    stretched = x.new_zeros(*x.shape[:2], *(axis.size + axis.extra for axis in axes))
    cells = tuple(slice(0, axis.size, axis.stretch) for axis in axes)
    stretched[(..., *cells)] = x  # type: ignore[index]
    margins = [axis.padding for axis in reversed(axes) for _ in range(2)]
    flipped = weight.flip(list(range(2, weight.dim())))
    by_output = flipped.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    return convolution(
        F.pad(stretched, margins), by_output, bias, dilation=[axis.dilation for axis in axes], groups=groups
    )


@dataclass(frozen=True)
class TransposedConvolution:
    """The arguments of a transposed convolution, and the size it is meant for."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    output_padding: int

    @property
    def output_size(self) -> int:
        """What comes out."""
        return transposed_output_size(
            self.size, self.kernel, self.stride, self.padding, self.dilation, self.output_padding
        )


def undoing_transposed(
    size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1, ceil_mode: bool = False
) -> TransposedConvolution:
    """The transposed convolution that leads from a convolution's output back to the size of its input.

    It is the one whose forward pass is the convolution's backward pass. Its output_padding, (i + 2p - d (k - 1) - 1)
    mod s, tells apart the s input sizes that the convolution takes to the same output size.

    Args:
        size: Input size of the convolution; the rest as for :func:`output_size`.

    Raises:
        ValueError: If there is none: ``"same"`` with a kernel that pads its two sides unequally, or ceil_mode with a
            last window that ends beyond the padding.
    """
    out = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    before, after = padding_cells(padding, kernel, dilation)
    if before != after:
        raise ValueError(
            f"undoing_transposed: padding must be the same on both sides, got {before} and {after} for kernel {kernel}"
        )
    missing = size - ((out - 1) * stride - 2 * before + effective_kernel(kernel, dilation))
    if missing < 0:
        raise ValueError(
            f"undoing_transposed: the last window must end inside the padded input, got one {-missing} beyond it"
        )
    return TransposedConvolution(out, kernel, stride, before, dilation, output_padding=missing)


@dataclass(frozen=True)
class Window:
    """What one output of a layer sees along an axis.

    Output y sees `kernel` cells, `dilation` apart, the first at ``stride y - before`` of the input stretched by
    `stretch` - 1 zeros between neighbours. Stretching makes a transposed convolution a window like any other.
    """

    kernel: int = 1
    stride: int = 1
    before: int = 0
    dilation: int = 1
    stretch: int = 1

    @classmethod
    def transposed(cls, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
        """The window of a transposed convolution with these arguments."""
        return cls(kernel, 1, dilation * (kernel - 1) - padding, dilation, stretch=stride)

    def inputs(self, outputs: range) -> range:
        """From the first to the last input that any of `outputs` sees, both on an axis without ends."""
        if not outputs:
            return range(0)
        first = self.stride * outputs[0] - self.before
        last = self.stride * outputs[-1] - self.before
        seen = []
        for step in range(0, self.kernel * self.dilation, self.dilation):
            # Of the stretched cells first + step to last + step, the input's own are the multiples of `stretch`.
            own = range(-((-first - step) // self.stretch), (last + step) // self.stretch + 1)
            seen += [own] if own else []
        return range(min(own.start for own in seen), max(own.stop for own in seen)) if seen else range(0)


@dataclass(frozen=True)
class ReceptiveField:
    """What the outputs of a stack of layers see of its input, along an axis, in input cells.

    Attributes:
        size: Cells that one output sees; where outputs differ, behind transposed convolutions, the most.
        jump: Distance between the fields of neighbouring outputs, the product of the strides.
        start: Centre of the first output's field, where the first cell has its centre at 0.
    """

    size: int
    jump: Fraction
    start: Fraction


def receptive_field(windows: Sequence[Window]) -> ReceptiveField:
    """The receptive field of a stack of layers, from the first layer's window to the last's."""
    jump, start = Fraction(1), Fraction(0)
    for window in windows:
        spacing = jump / window.stretch
        start += spacing * (Fraction(effective_kernel(window.kernel, window.dilation) - 1, 2) - window.before)
        jump = spacing * window.stride
    # What outputs see repeats with the product of the stretches.
    period = prod(window.stretch for window in windows)
    size = max(len(_seen_through(windows, range(y, y + 1))) for y in range(period))
    return ReceptiveField(size, jump, start)


def _seen_through(windows: Sequence[Window], outputs: range) -> range:
    for window in reversed(windows):
        outputs = window.inputs(outputs)
    return outputs


def _require(name: str, minimum: int, **values: int) -> None:
    for argument, value in values.items():
        if not isinstance(value, int) or value < minimum:
            wanted = "a positive whole number" if minimum == 1 else "a whole number, not negative"
            raise ValueError(f"{name}: {argument} must be {wanted}, got {value!r}")
