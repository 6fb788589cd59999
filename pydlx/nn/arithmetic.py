"""Convolution arithmetic along one axis: output sizes, receptive fields and transposed convolutions.

It follows Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285. In its notation,
with input size i, kernel k, stride s, padding p and dilation d:

    convolution, pooling      o = floor((i + 2p - d (k - 1) - 1) / s) + 1
    transposed convolution    o = (i - 1) s - 2p + d (k - 1) + 1 + a            a = output_padding

A transposed convolution equals a direct one with the flipped kernel, stride 1 and padding d (k - 1) - p, over the input
*stretched* by s - 1 zeros between neighbours, with a more zeros at the end. All relations of the paper are special
cases of this one. Axes are independent, so the functions here treat one axis; `pydlx.nn.geometry` treats networks.
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
    """Elements from the first to the last tap of a dilated kernel: ``dilation (kernel - 1) + 1``."""
    _require("effective_kernel", 1, kernel=kernel, dilation=dilation)
    return dilation * (kernel - 1) + 1


def padding_sides(padding: Padding, kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Number of elements added before and after an axis.

    Args:
        padding: A number, ``"valid"`` for none, or ``"same"`` for d (k - 1) in total, of which an odd one goes after.
        kernel: Taps of the kernel.
        dilation: Step between them.
    """
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ValueError(f'padding_sides: padding must be a number, "valid" or "same", got {padding!r}')
        total = effective_kernel(kernel, dilation) - 1 if padding == "same" else 0
        return total // 2, total - total // 2
    _require("padding_sides", 0, padding=padding)
    return padding, padding


def output_size(
    size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Output size of a convolution or pooling, by the rules of ``torch.nn.Conv2d`` and ``torch.nn.MaxPool2d``.

    Args:
        size: Input size.
        kernel: Taps of the kernel.
        stride: Step between windows.
        padding: Elements added on each side, or ``"valid"``, or ``"same"``, which needs stride 1.
        dilation: Step between the taps.
        ceil_mode: Round up; a last window that would start in the padding is dropped.

    Raises:
        ValueError: If no window fits, or an argument is out of range.
    """
    _require("output_size", 1, size=size, kernel=kernel, stride=stride, dilation=dilation)
    before, after = padding_sides(padding, kernel, dilation)
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
        ValueError: If the padding removes the whole output, or an argument is out of range.
    """
    return direct_equivalent(size, kernel, stride, padding, dilation, output_padding).output_size


@dataclass(frozen=True)
class DirectConvolution:
    """The direct convolution, with stride 1 and the flipped kernel, that equals a transposed one.

    Attributes:
        size: Size of the stretched input.
        stretch: Step between the original elements in it; there are stretch - 1 zeros between two of them.
        extra: Zeros that follow the stretched input.
        kernel: Taps of the kernel.
        padding: Zeros added on each side of all that; if negative, elements cut off.
        dilation: Step between the taps.
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
        """The output size, which is that of the transposed convolution."""
        return self.size + self.extra + 2 * self.padding - effective_kernel(self.kernel, self.dilation) + 1


def direct_equivalent(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> DirectConvolution:
    """The direct convolution that equals a transposed one (relations 8 to 14 of the paper, generalised to dilation).

    Args:
        size: Input size of the transposed convolution.
        kernel: Taps of its kernel.
        stride: Its stride.
        padding: Its padding, which is cut off its output; more than d (k - 1) makes the direct padding negative.
        dilation: Step between its taps.
        output_padding: Elements added at the end of its output, fewer than the larger of stride and dilation.

    Raises:
        ValueError: If the padding removes the whole output, or an argument is out of range.
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
    """A transposed convolution of 1 to 3 axes, computed as its direct equivalent: for teaching, not for speed.

    Args:
        x: (N, C, spatial...).
        weight: (C, O / groups, kernel...), as ``torch.nn.functional.conv_transpose2d`` takes it.
        bias: (O,).
        stride: Stride of the transposed convolution; this and the options below are one number or one per axis.
        padding: Elements cut off each side of the output.
        output_padding: Elements added at the end of the output.
        groups: Number of channel groups, as in ``torch.nn.functional.conv_transpose2d``.
        dilation: Step between the taps of the kernel.

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
    originals = tuple(slice(0, axis.size, axis.stretch) for axis in axes)
    stretched[(..., *originals)] = x  # type: ignore[index]
    margins = [axis.padding for axis in reversed(axes) for _ in range(2)]
    flipped = weight.flip(list(range(2, weight.dim())))
    by_output = flipped.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    return convolution(
        F.pad(stretched, margins), by_output, bias, dilation=[axis.dilation for axis in axes], groups=groups
    )


@dataclass(frozen=True)
class TransposedConvolution:
    """The arguments of a transposed convolution, and its input size."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    output_padding: int

    @property
    def output_size(self) -> int:
        """The output size."""
        return transposed_output_size(
            self.size, self.kernel, self.stride, self.padding, self.dilation, self.output_padding
        )


def undoing_transposed(
    size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1, ceil_mode: bool = False
) -> TransposedConvolution:
    """The transposed convolution that maps a convolution's output size back to its input size.

    Its forward pass is the convolution's backward pass. Its output_padding, (i + 2p - d (k - 1) - 1) mod s,
    distinguishes the s input sizes for which the convolution has the same output size.

    Args:
        size: Input size of the convolution; the rest as for :func:`output_size`.

    Raises:
        ValueError: If there is none: with ``"same"`` if the two sides are padded unequally, with ceil_mode if the last
            window ends beyond the padding.
    """
    out = output_size(size, kernel, stride, padding, dilation, ceil_mode)
    before, after = padding_sides(padding, kernel, dilation)
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
    """The inputs that one output of a layer depends on ("sees"), along an axis.

    Output y sees `kernel` elements, `dilation` apart, the first at index ``stride y - before`` of the input stretched
    by `stretch` - 1 zeros between neighbours. The stretch makes this cover transposed convolutions too.
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
        """The range from the first to the last input that any of `outputs` sees, on an axis without ends."""
        if not outputs:
            return range(0)
        first = self.stride * outputs[0] - self.before
        last = self.stride * outputs[-1] - self.before
        seen = []
        for step in range(0, self.kernel * self.dilation, self.dilation):
            # Among the stretched indices first + step to last + step, inputs are at the multiples of `stretch`.
            own = range(-((-first - step) // self.stretch), (last + step) // self.stretch + 1)
            seen += [own] if own else []
        return range(min(own.start for own in seen), max(own.stop for own in seen)) if seen else range(0)


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the outputs of a stack of layers, along an axis, in elements of the stack's input.

    Attributes:
        size: Elements that one output sees; the most, if outputs differ (after transposed convolutions).
        jump: Distance between the fields of neighbouring outputs, the product of the strides.
        start: Centre of the first output's field; input element i has its centre at i.
    """

    size: int
    jump: Fraction
    start: Fraction


def receptive_field(windows: Sequence[Window]) -> ReceptiveField:
    """The receptive field of a stack of layers, given their windows from first to last."""
    jump, start = Fraction(1), Fraction(0)
    for window in windows:
        spacing = jump / window.stretch
        start += spacing * (Fraction(effective_kernel(window.kernel, window.dilation) - 1, 2) - window.before)
        jump = spacing * window.stride
    # The sizes of the outputs' fields repeat with the product of the stretches.
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
