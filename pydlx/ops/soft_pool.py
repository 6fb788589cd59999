"""SoftPool: the mean of each window, weighted by the softmax of its own elements.

Stergiou, Poppe and Kalliatakis, "Refining activation downsampling with SoftPool", arXiv 2101.00440. For the elements
``a_i`` of one window of one channel:

    w_i = exp(a_i) / sum_j exp(a_j)        y = sum_i w_i a_i        dy/da_i = w_i (1 + a_i - y)

The published code treats the weights as constants in the backward pass (``dy/da_i = w_i``), which has the wrong sign
for about a third of the inputs; ``gradient="paper"`` selects that form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import check_flag, check_floating, check_one_of, is_whole, listed, whole

Size = int | Sequence[int]

# Limits of the kernels: the largest kernel side, stride, padding or dilation, and the most elements of a window.
_LARGEST, _MOST_ELEMENTS = 2**31 - 1, 2**26


def soft_pool1d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    gradient: str = "exact",
) -> Tensor:
    """SoftPool over windows of a sequence; see :func:`soft_pool2d`.

    On CUDA the call does not wait for the device.

    Args:
        x: (N, C, L) or (C, L).
    """
    return _soft_pool("soft_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode, gradient)


def soft_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    gradient: str = "exact",
) -> Tensor:
    """SoftPool over windows of an image: ``y = sum_i softmax(a)_i a_i`` per window and channel (arXiv 2101.00440).

    On CUDA the call does not wait for the device.

    Args:
        x: (N, C, H, W) or (C, H, W), float64, float32, float16 or bfloat16 (16-bit dtypes accumulate in float32). The
            memory format, contiguous or channels-last, is kept; other strides are accepted.
        kernel_size: Height and width of the window.
        stride: Step between windows; the kernel size by default.
        padding: Elements added on every side, at most half of the window. They have weight 0.
        dilation: Step between the elements of a window.
        ceil_mode: Round the output size up; a last window that would start in the padding is dropped.
        gradient: ``"exact"``, or ``"paper"`` for the published straight-through form ``dy/da_i = w_i``.

    Returns:
        (N, C, OH, OW) or (C, OH, OW), with ``OH = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1``.
        A window holding NaN gives NaN, one holding +inf gives +inf, one of only -inf gives -inf.

    Raises:
        TypeError: If x is not a floating-point tensor.
        ValueError: If a size does not fit.
    """
    return _soft_pool("soft_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode, gradient)


def soft_pool3d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    gradient: str = "exact",
) -> Tensor:
    """SoftPool over windows of a volume; see :func:`soft_pool2d`.

    On CUDA the call does not wait for the device.

    Args:
        x: (N, C, D, H, W) or (C, D, H, W).
    """
    return _soft_pool("soft_pool3d", 3, x, kernel_size, stride, padding, dilation, ceil_mode, gradient)


def _soft_pool(
    name: str,
    spatial: int,
    x: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    gradient: str,
) -> Tensor:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        check_floating(name, "x", x)
    dims = x.dim()
    if dims not in (spatial + 1, spatial + 2):
        shape = ", ".join("DHW"[3 - spatial :]) if spatial > 1 else "L"
        raise ValueError(f"{name}: x must have shape (N, C, {shape}) or (C, {shape}), got {dims} dimensions")
    window = check_window(name, spatial, kernel_size, stride, padding, dilation, ceil_mode, gradient)
    kernel, steps, pads, dilations = window
    sizes = x.shape[-spatial:]
    for size, kernel_length, step, pad, spread in zip(sizes, *window, strict=True):
        fits = spread * (kernel_length - 1) < size + 2 * pad  # sufficient without ceil_mode
        if not fits and not (ceil_mode and pooled_size(size, kernel_length, step, pad, spread, True) > 0):
            raise ValueError(
                f"{name}: kernel_size {tuple(kernel)} with dilation {tuple(dilations)} is larger than the padded input "
                f"of size {tuple(sizes)}"
            )
    run = _op if _native.use_native(x, "soft_pool") else soft_pool_reference
    batched = dims == spatial + 2
    y = run(
        x if batched else x.unsqueeze(0), [*kernel, *steps, *pads, *dilations], bool(ceil_mode), gradient == "paper"
    )
    return y if batched else y.squeeze(0)


def check_window(
    name: str,
    spatial: int,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    gradient: str,
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Check all options; return kernel, stride, padding and dilation with one number per axis."""
    if type(ceil_mode) is not bool:
        check_flag(name, "ceil_mode", ceil_mode)
    if type(gradient) is not str or gradient not in ("exact", "paper"):
        check_one_of(name, "gradient", gradient, ("exact", "paper"))
    kernel = _per_axis(name, "kernel_size", kernel_size, spatial, 1)
    steps = kernel if stride is None else _per_axis(name, "stride", stride, spatial, 1)
    pads = _per_axis(name, "padding", padding, spatial, 0)
    dilations = _per_axis(name, "dilation", dilation, spatial, 1)
    if math.prod(kernel) > _MOST_ELEMENTS:
        raise ValueError(f"{name}: kernel_size must span at most {_MOST_ELEMENTS} elements, got {tuple(kernel)}")
    for axis, pad in enumerate(pads):
        if pad and 2 * pad > dilations[axis] * (kernel[axis] - 1) + 1:
            raise ValueError(
                f"{name}: padding must be at most half of the window, got {tuple(pads)} for {tuple(kernel)}"
            )
    return kernel, steps, pads, dilations


def _per_axis(name: str, argument: str, value: Size, spatial: int, least: int) -> list[int]:
    """Require one whole number, or one per spatial axis, of at least `least`; return one per axis.

    Fast path for an int or a tuple of ints.
    """
    if type(value) is int and least <= value <= _LARGEST:
        return [value] * spatial
    sizes = list(value) if type(value) is tuple else []
    plain = len(sizes) == spatial
    for size in sizes:
        plain = plain and type(size) is int and least <= size <= _LARGEST
    return sizes if plain else _checked_sizes(name, argument, value, spatial, least)


def _checked_sizes(name: str, argument: str, value: Size, spatial: int, least: int) -> list[int]:
    """The slow path: NumPy's and symbolic integers, lists, and errors."""
    entries = [value] * spatial if is_whole(value) else listed(name, argument, value, f"one number or {spatial}")
    sizes = [whole(name, argument, entry) for entry in entries]
    if len(sizes) != spatial:
        raise ValueError(f"{name}: {argument} must be one number or {spatial}, got {tuple(sizes)}")
    if min(sizes) < least or max(sizes) > _LARGEST:
        wanted = f"at most {_LARGEST}" if max(sizes) > _LARGEST else "positive" if least else "not negative"
        raise ValueError(f"{name}: {argument} must be {wanted}, got {value if is_whole(value) else tuple(sizes)}")
    return sizes


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Output length of a pooling axis, by the rules of ``torch.nn.functional.max_pool2d``."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


def _per_kind(window: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split a window, the op's flat list, into kernel size, stride, padding and dilation."""
    spatial = len(window) // 4
    return (window[kind * spatial : (kind + 1) * spatial] for kind in range(4))


def _windows(x: Tensor, window: Sequence[int], ceil_mode: bool) -> Tensor:
    """The elements of every window, (N, C, out..., K); elements outside of x are -inf, which has weight 0."""
    kernel, stride, padding, dilation = _per_kind(window)
    spatial = len(kernel)
    out = [
        pooled_size(x.shape[2 + a], kernel[a], stride[a], padding[a], dilation[a], ceil_mode) for a in range(spatial)
    ]
    after = [
        max(0, (out[a] - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1 - x.shape[2 + a] - padding[a])
        for a in range(spatial)
    ]
    margins = [margin for a in reversed(range(spatial)) for margin in (padding[a], after[a])]
    padded = F.pad(x, margins, value=-torch.inf)
    elements = []
    for offset in itertools.product(*(range(k) for k in kernel)):
        element = padded  # becomes this element of all windows
        for a in range(spatial):
            first = offset[a] * dilation[a]
            element = element.narrow(2 + a, first, (out[a] - 1) * stride[a] + 1)
            element = element[(slice(None),) * (2 + a) + (slice(None, None, stride[a]),)]
        elements.append(element)
    return torch.stack(elements, dim=-1)


def softmax_average(a: Tensor, dim: int, straight_through: bool = False) -> Tensor:
    """The definition along `dim`, relative to the maximum m: y = m + sum_i w_i (a_i - m).

    y does not depend on m, so m is detached. With `straight_through` the gradient is w, that of log sum_i exp(a_i).
    """
    peak = a.detach().amax(dim, keepdim=True)
    distance = a - peak
    # Let inf - inf be 0. Filling the detached alias keeps the derivative of the subtraction, which is 1.
    distance.detach().masked_fill_(a.isinf() & (a == peak), 0)
    e = distance.exp()
    total = e.sum(dim, keepdim=True)
    # An element of weight 0 contributes 0, even if it is -inf.
    y = peak.squeeze(dim) + (e / total * torch.where(e == 0, 0, distance)).sum(dim)
    if straight_through:
        log = total.squeeze(dim).log()
        return y.detach() + (log - log.detach())
    return y


def soft_pool_reference(x: Tensor, window: Sequence[int], ceil_mode: bool, straight_through: bool) -> Tensor:
    """The definition; x is (N, C, spatial...)."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    y = softmax_average(_windows(wide, window, ceil_mode), -1, straight_through)
    return y.to(x.dtype).contiguous(memory_format=_native.storage_format(x))


def _backward_reference(grad: Tensor, x: Tensor, *options: Any) -> Tensor:
    """The gradient with respect to x, by differentiating the reference; differentiable in grad and x."""
    return _autograd.pull_back(lambda x: soft_pool_reference(x, *options), (x,), grad)[0]


def _fake(x: Tensor, window: Sequence[int], ceil_mode: bool, straight_through: bool) -> Tensor:
    out = [
        pooled_size(size, kernel, stride, padding, dilation, ceil_mode)
        for size, kernel, stride, padding, dilation in zip(x.shape[2:], *_per_kind(window), strict=True)
    ]
    return torch.empty((*x.shape[:2], *out), dtype=x.dtype, device=x.device, memory_format=_native.storage_format(x))


def _fake_backward(grad: Tensor, x: Tensor, *options: Any) -> Tensor:
    return torch.empty_like(x, memory_format=_native.storage_format(x))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    dx = _backward_op(grad, x, *ctx.options) if ctx.needs_input_grad[0] else None
    return (dx, *(None for _ in ctx.options))


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, x, *ctx.options = inputs
    ctx.save_for_backward(grad, x)


def _double_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference: v . d(backward) / d(grad, x)."""
    found = _autograd.pull_back(lambda grad, x: _backward_reference(grad, x, *ctx.options), ctx.saved_tensors, v)
    return (*found, *(None for _ in ctx.options))


_OPTIONS = "int[] window, bool ceil_mode, bool straight_through"

_op = _native.register(
    f"soft_pool(Tensor x, {_OPTIONS}) -> Tensor",
    reference=soft_pool_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_autograd.folded,
)
_backward_op = _native.register(
    f"_soft_pool_backward(Tensor grad, Tensor x, {_OPTIONS}) -> Tensor",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_autograd.folded,
)
