"""Differentiable discrete cosine and sine transforms with scipy.fft's names, types, norms and conventions.

For N samples, types 1 to 4 without scaling (``norm=None`` or ``"backward"``):

    cosine 1   X_k = x_0 + (-1)^k x_{N-1} + 2 sum_{0<n<N-1} x_n cos(pi k n / (N - 1))
    cosine 2   X_k = 2 sum_n x_n cos(pi k (2n + 1) / 2N)
    cosine 3   X_k = x_0 + 2 sum_{n>0} x_n cos(pi n (2k + 1) / 2N)
    cosine 4   X_k = 2 sum_n x_n cos(pi (2k + 1)(2n + 1) / 4N)
    sine 1     X_k = 2 sum_n x_n sin(pi (k + 1)(n + 1) / (N + 1))
    sine 2     X_k = 2 sum_n x_n sin(pi (k + 1)(2n + 1) / 2N)
    sine 3     X_k = (-1)^k x_{N-1} + 2 sum_{n<N-1} x_n sin(pi (n + 1)(2k + 1) / 2N)
    sine 4     X_k = 2 sum_n x_n sin(pi (2k + 1)(2n + 1) / 4N)

``"ortho"`` makes each matrix orthogonal, ``"forward"`` moves all scaling to the forward transform. An inverse is the
forward transform of the inverse type (2 and 3 are each other's inverses, 1 and 4 their own) with the opposite norm.
Compiled kernels exist for cosine types 2 and 3 and sine type 1. Sine types 2 and 3 use the cosine kernels with signs
and order changed; the others go through torch.fft.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _native
from pydlx._checks import check_floating, check_one_of, is_whole, listed, whole

Axes = int | Sequence[int] | None

_NORMS = {None: 0, "backward": 0, "ortho": 1, "forward": 2}
_OPPOSITE_NORM = (2, 1, 0)
_INVERSE_TYPE = {1: 1, 2: 3, 3: 2, 4: 4}


def dctn(x: Tensor, type: int = 2, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """Cosine transform along one or more axes, as ``scipy.fft.dctn``; this module's docstring has the formulas.

    On CUDA the call does not wait for the device.

    Args:
        x: Any shape and strides; float64, float32, float16 or bfloat16 (16-bit dtypes compute in float32).
        type: 1, 2, 3 or 4. Type 1 needs at least two samples per axis.
        axes: The axes to transform, or None for all.
        norm: None or ``"backward"``, ``"ortho"`` or ``"forward"``.

    Returns:
        The transform, in x's shape and dtype, contiguous.

    Raises:
        TypeError: If x is not a real floating-point tensor.
        ValueError: If type, axes or norm is not one of the above, or a transformed axis is too short.
    """
    return _transform("dctn", x, type, axes, norm, sine=False, inverse=False)


def idctn(x: Tensor, type: int = 2, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """Undo :func:`dctn` called with the same type, axes and norm, as ``scipy.fft.idctn``.

    On CUDA the call does not wait for the device.
    """
    return _transform("idctn", x, type, axes, norm, sine=False, inverse=True)


def dstn(x: Tensor, type: int = 2, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """Sine transform along one or more axes, as ``scipy.fft.dstn``; arguments as for :func:`dctn`, any length.

    On CUDA the call does not wait for the device.
    """
    return _transform("dstn", x, type, axes, norm, sine=True, inverse=False)


def idstn(x: Tensor, type: int = 2, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """Undo :func:`dstn` called with the same type, axes and norm, as ``scipy.fft.idstn``.

    On CUDA the call does not wait for the device.
    """
    return _transform("idstn", x, type, axes, norm, sine=True, inverse=True)


def _transform(name: str, x: Tensor, type: int, axes: Axes, norm: str | None, *, sine: bool, inverse: bool) -> Tensor:
    check_floating(name, "x", x)
    type = whole(name, "type", type, 1, 4)
    if norm is not None:
        check_one_of(name, "norm", norm, _NORMS)
    along = _axes(name, x.dim(), axes)
    shortest = 2 if type == 1 and not sine else 1
    for axis in along:
        if x.shape[axis] < shortest:
            raise ValueError(f"{name}: axis {axis} must have at least {shortest} samples, got {x.shape[axis]}")
    code = _NORMS[norm]
    if inverse:
        type, code = _INVERSE_TYPE[type], _OPPOSITE_NORM[code]
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return _forward(wide, type, sine, along, code).to(x.dtype)


def _axes(name: str, dims: int, axes: Axes) -> list[int]:
    """Check that the axes are distinct; return them counted from 0."""
    if axes is None:
        return list(range(dims))
    entries: Sequence[int]
    if type(axes) is tuple:
        entries = axes
    else:
        entries = [axes] if is_whole(axes) else listed(name, "axes", axes, "whole numbers or None")
    given = [axis if type(axis) is int else whole(name, "axes", axis) for axis in entries]
    if given and not -dims <= min(given) <= max(given) < dims:
        raise ValueError(f"{name}: axes must lie within the {dims} dimensions of x, got {tuple(given)}")
    along = [axis % dims for axis in given]
    if len(set(along)) != len(along):
        raise ValueError(f"{name}: axes must be distinct, got {tuple(given)}")
    return along


def _forward(x: Tensor, type: int, sine: bool, axes: list[int], norm: int) -> Tensor:
    if sine and type in (2, 3):
        return _sine_by_cosine(x, type, axes, norm)
    compiled = type == 1 if sine else type in (2, 3)
    run = _op if compiled and _native.use_native(x, "dct") else dct_reference
    return run(x, type, sine, axes, norm, False)


def _sine_by_cosine(x: Tensor, type: int, axes: list[int], norm: int) -> Tensor:
    """Sine type 2 is cosine type 2 of the samples with alternating signs, reversed; type 3 is its transpose."""
    if type == 2:
        return _forward(_alternate(x, axes), 2, False, axes, norm).flip(axes)
    return _alternate(_forward(x.flip(axes), 3, False, axes, norm), axes)


def _alternate(x: Tensor, axes: list[int]) -> Tensor:
    """Negate the odd samples along each axis."""
    for axis in axes:
        signs = 1 - 2 * (torch.arange(x.shape[axis], device=x.device) % 2)
        x = x * signs.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1 - axis))
    return x


def dct_reference(x: Tensor, type: int, sine: bool, axes: Sequence[int], norm: int, adjoint: bool) -> Tensor:
    """Forward transform by torch.fft, axis by axis: a discrete Fourier transform of the (anti)symmetric extension.

    norm is 0 (backward), 1 (ortho) or 2 (forward); `adjoint` applies the transposed matrix instead.
    """
    if x.numel() == 0:
        return x.clone()
    for axis in axes:
        lines = x.movedim(axis, -1)
        if adjoint:
            lines = _adjoint_line(lines, type, sine, norm)
        else:
            lines = _scaled_line(lines, type, sine, norm)
        x = lines.movedim(-1, axis)
    return x.contiguous()


def _scaled_line(x: Tensor, type: int, sine: bool, norm: int) -> Tensor:
    n = x.shape[-1]
    period = 2 * (n if type > 1 else n + 1 if sine else n - 1)
    ortho = norm == 1 and not sine
    if ortho and type in (1, 3):
        x = _scale_ends(x, math.sqrt(2), both=type == 1)
    y = _line(x, type, sine) * (1, 1 / math.sqrt(period), 1 / period)[norm]
    return _scale_ends(y, math.sqrt(0.5), both=type == 1) if ortho and type in (1, 2) else y


def _adjoint_line(x: Tensor, type: int, sine: bool, norm: int) -> Tensor:
    """Apply the transposed matrix of one of the op's three transforms.

    Cosine types 2 and 3 are each other's transpose except for element 0; sine type 1 is symmetric.
    """
    if sine:
        return _scaled_line(x, type, sine, norm)
    if norm == 1:
        return _scaled_line(x, 5 - type, sine, norm)
    if type == 2:
        return _scaled_line(_scale_ends(x, 2.0, both=False), 3, sine, norm)
    return _scale_ends(_scaled_line(x, 2, sine, norm), 0.5, both=False)


def _scale_ends(x: Tensor, factor: float, both: bool) -> Tensor:
    """Multiply element 0, and with `both` also the last element, by `factor`."""
    factors = torch.ones(x.shape[-1], dtype=x.dtype, device=x.device)
    factors[0] = factor
    if both:
        factors[-1] = factor
    return x * factors


def _line(x: Tensor, type: int, sine: bool) -> Tensor:
    """Unscaled transform along the last axis."""
    n = x.shape[-1]
    if sine and type == 4:
        signs = 1 - 2 * (torch.arange(n, device=x.device) % 2)
        return _line(x.flip(-1), 4, False) * signs.to(x.dtype)
    if sine:  # type 1; types 2 and 3 never get here, see `_sine_by_cosine`
        zero = x.new_zeros(*x.shape[:-1], 1)
        return -torch.fft.rfft(torch.cat([zero, x, zero, -x.flip(-1)], -1)).imag[..., 1 : n + 1]
    if type == 1:
        return torch.fft.rfft(torch.cat([x, x[..., 1:-1].flip(-1)], -1)).real
    if type == 2:
        spectrum = torch.fft.rfft(torch.cat([x, x.flip(-1)], -1))[..., :n]
        return _real_product(spectrum, _turn(x, n))
    if type == 3:
        return torch.fft.irfft(_turned(x, n + 1).conj(), 2 * n, norm="forward")[..., :n]
    spectrum = torch.fft.fft(_turned(x, 2 * n))[..., :n]
    return 2 * _real_product(spectrum, _turn(x, n, half=True))


def _real_product(a: Tensor, b: Tensor) -> Tensor:
    """Re(a b), with the same bits on any number of threads.

    PyTorch's complex product rounds differently at the end of each thread's share.
    """
    return a.real * b.real - a.imag * b.imag


def _turned(x: Tensor, length: int) -> Tensor:
    """x times exp(-i pi k / 2n), zero-padded to `length`; in real arithmetic, because ONNX cannot multiply or pad
    complex numbers."""
    turn, margin = _turn(x, x.shape[-1]), (0, length - x.shape[-1])
    return torch.complex(F.pad(x * turn.real, margin), F.pad(x * turn.imag, margin))


def _turn(x: Tensor, n: int, half: bool = False) -> Tensor:
    """exp(-i pi k / 2n) for k < n, or with `half` for k + 1/2; the angles are computed in float64."""
    k = torch.arange(n, device=x.device, dtype=torch.float64) + (0.5 if half else 0.0)
    angle = -math.pi / (2 * n) * k
    return torch.complex(angle.cos().to(x.dtype), angle.sin().to(x.dtype))


def _fake(x: Tensor, type: int, sine: bool, axes: Sequence[int], norm: int, adjoint: bool) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.type, ctx.sine, ctx.axes, ctx.norm, ctx.adjoint = inputs


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    dx = _op(grad, ctx.type, ctx.sine, ctx.axes, ctx.norm, not ctx.adjoint)
    return dx, None, None, None, None, None


def _jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
    return _op(tangent, ctx.type, ctx.sine, ctx.axes, ctx.norm, ctx.adjoint)


def _batching(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Tensor:
    x, type, sine, axes, norm, adjoint = inputs
    return op(x.movedim(dims[0], 0), type, sine, [axis + 1 for axis in axes], norm, adjoint)


_op = _native.register(
    "dct(Tensor x, int type, bool sine, int[] axes, int norm, bool adjoint) -> Tensor",
    reference=dct_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    jvp=_jvp,
    batching=_batching,
    autocast_to=torch.float32,
)
