"""Poisson and Gaussian-Poisson equations on rectangles, solved in closed form.

On planes (H, W), L is minus the 5-point Laplacian and G a separable 3 x 3 Gaussian. With mirrored (Neumann) borders
the cosine transform of type 2 diagonalises both; with zeros around the grid (Dirichlet) the sine transform of type 1
diagonalises L. For row frequency i and column frequency j,

    Lhat_ij = s_i + s_j         s_i = 4 sin^2(pi i / 2H)                   Neumann, i = 0 .. H-1
                                s_i = 4 sin^2(pi i / 2(H + 1))             Dirichlet, i = 1 .. H
    Ghat_ij = g_i g_j           g_i = a + 2b - b s_i                       taps (b, a, b)

so the references below transform, divide and transform back. The compiled kernels transform the rows only, and then
solve one banded system per column frequency (``csrc/poisson/poisson.h``).

The Gaussian-Poisson equations are those of Wu et al., "GP-GAN: Towards Realistic High-Resolution Image Blending", arXiv
1703.07195: ``official`` is what their code solves, ``paper`` minimises their equations 6 and 9.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_device, check_flag, check_floating, check_not_negative, check_one_of
from pydlx.ops.dct import dct_reference

_BOUNDARIES = ("neumann", "dirichlet")
_FORMULATIONS = ("official", "paper", "screened")


def solve_poisson(rhs: Tensor, boundary: str = "neumann", screening: float = 0.0) -> Tensor:
    """Solve ``(screening + L) u = rhs``, L minus the 5-point Laplacian.

    On CUDA the call does not wait for the device.

    Args:
        rhs: (..., H, W), float64, float32, float16 or bfloat16 (16-bit dtypes compute in float32).
        boundary: ``"neumann"``: the image is mirrored at its edge. ``"dirichlet"``: it is zero just outside the grid;
            for other values there, add them to the first and last rows and columns of rhs.
        screening: Zero or positive.

    Returns:
        u, in rhs's shape and dtype. With Neumann borders and no screening the equation does not determine the mean:
        the mean of rhs is removed and u has mean zero. With screening, a sum of rhs that is only rounding error
        (``|sum| <= eps sum |rhs|``) counts as zero.

    Raises:
        TypeError: If rhs is not a real floating-point tensor, or screening not a number.
        ValueError: If rhs has fewer than two dimensions, boundary is not one of the two, or screening is negative or
            not finite.
    """
    _check_image("solve_poisson", "rhs", rhs)
    check_one_of("solve_poisson", "boundary", boundary, _BOUNDARIES)
    check_not_negative("solve_poisson", "screening", screening)
    run = _poisson if _native.use_native(rhs, "poisson") else poisson_reference
    return run(_wide(rhs), boundary == "dirichlet", float(screening)).to(rhs.dtype)


def solve_gaussian_poisson(
    rhs: Tensor,
    colour: Tensor,
    beta: float = 1.0,
    sigma: float = 0.5,
    formulation: str = "official",
    *,
    normalised: bool = False,
) -> Tensor:
    """Find the image with given gradients whose colours follow another image (GP-GAN, arXiv 1703.07195).

    With rhs minus the divergence of the wanted gradients, u solves with Neumann borders

        ``"official"``   (L + beta G) u = rhs + beta colour
        ``"paper"``      (L^2 + beta G^2) u = L rhs + beta G colour
        ``"screened"``   (L + beta G^2) u = rhs + beta G colour

    On CUDA the call does not wait for the device.

    Args:
        rhs: (..., H, W), float64, float32, float16 or bfloat16 (16-bit dtypes compute in float32).
        colour: (..., H, W), the colours that u follows, like rhs.
        beta: Weight of the colours, zero or positive. At 0 the colours are not used and u has mean zero.
        sigma: Standard deviation of the Gaussian in pixels; 0 makes G the identity.
        formulation: Which equation.
        normalised: Make G's taps sum to 1. By default they are GP-GAN's: a Gaussian normalised out to 4 sigma and then
            cut to 3 x 3, which loses 0.1 % at sigma 0.5 and 22 % at sigma 1.

    Returns:
        u, in rhs's shape. Its mean is computed separately, so that any beta down to 1e-8 works in float32: it is
        ``mean(colour) / Ghat_00``, plus for ``official`` and ``screened`` a term from the mean of rhs. A sum of rhs
        that is only rounding error (``|sum| <= eps sum |rhs|``) counts as zero.

    Raises:
        TypeError: If rhs or colour is not a real floating-point tensor, or beta or sigma not a number.
        ValueError: If shapes differ, an argument is negative or not finite, formulation is not one of the three, or
            the matrix of ``official`` is not positive definite, which happens when a wide Gaussian cut to 3 x 3 has
            negative eigenvalues.
    """
    name = "solve_gaussian_poisson"
    _check_image(name, "rhs", rhs)
    _check_image(name, "colour", colour)
    if rhs.shape != colour.shape:
        raise ValueError(f"{name}: colour must have the shape of rhs, {tuple(rhs.shape)}, got {tuple(colour.shape)}")
    check_device(name, "colour", colour, "rhs", rhs)
    check_not_negative(name, "beta", beta)
    check_not_negative(name, "sigma", sigma)
    check_one_of(name, "formulation", formulation, _FORMULATIONS)
    check_flag(name, "normalised", normalised)
    centre, side = gaussian_taps(float(sigma), normalised)
    if formulation == "official":
        _check_definite(float(beta), centre, side)
    run = _gaussian_poisson if _native.use_native(rhs, "gaussian_poisson") else gaussian_poisson_reference
    dtype = torch.promote_types(rhs.dtype, colour.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    u = run(rhs.to(wide), colour.to(wide), _FORMULATIONS.index(formulation), float(beta), centre, side)
    return u.to(dtype)


def gaussian_taps(sigma: float, normalised: bool = False) -> tuple[float, float]:
    """Centre and side tap of the Gaussian, normalised over 4 sigma, or with `normalised` over the three taps."""
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return 1.0, 0.0
    tail = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(1, radius + 1)]
    total = 1 + 2 * (tail[0] if normalised else sum(tail))
    return 1 / total, tail[0] / total


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_image(name: str, argument: str, x: Tensor) -> None:
    check_floating(name, argument, x)
    if x.dim() < 2:
        raise ValueError(f"{name}: {argument} must have shape (..., H, W), got {tuple(x.shape)}")


def _check_definite(beta: float, centre: float, side: float) -> None:
    """Require L + beta G to be positive definite.

    Its eigenvalues are linear in the cosine of either frequency, so the least one has both at an end of their range.
    """
    low, high = centre + 2 * side, centre - 2 * side
    least = min(4 + beta * low * high, 8 + beta * high * high)
    if least <= 0:
        raise ValueError(
            f"solve_gaussian_poisson: official needs L + beta G to be positive definite, got a least eigenvalue of "
            f"{least:.3g} for beta {beta} and taps ({side:.4f}, {centre:.4f}, {side:.4f})"
        )


def poisson_reference(rhs: Tensor, dirichlet: bool, screening: float) -> Tensor:
    """Transform, divide by ``screening + Lhat``, transform back."""
    if not dirichlet:
        return gaussian_poisson_reference(rhs, torch.zeros_like(rhs), 0, screening, 1.0, 0.0)
    axes = [rhs.dim() - 2, rhs.dim() - 1]
    rows, columns = (_frequencies(rhs, axis, dirichlet=True) for axis in axes)
    spectrum = dct_reference(rhs, 1, True, axes, 1, False)
    return dct_reference(spectrum / (screening + rows[:, None] + columns), 1, True, axes, 1, False)


def gaussian_poisson_reference(
    rhs: Tensor, colour: Tensor, formulation: int, beta: float, centre: float, side: float
) -> Tensor:
    """Transform, divide by the operator's eigenvalues, transform back; the mean is computed separately."""
    axes = [rhs.dim() - 2, rhs.dim() - 1]
    if rhs.numel() == 0:
        return rhs + colour
    s_rows, s_columns = (_frequencies(rhs, axis, dirichlet=False) for axis in axes)
    lhat = s_rows[:, None] + s_columns
    ghat = (centre + 2 * side - side * s_rows)[:, None] * (centre + 2 * side - side * s_columns)
    gradients, colours = (dct_reference(image, 2, False, axes, 1, False) for image in (rhs, colour))
    numerator, symbol = (
        (gradients + beta * colours, lhat + beta * ghat),
        (lhat * gradients + beta * ghat * colours, lhat**2 + beta * ghat**2),
        (gradients + beta * ghat * colours, lhat + beta * ghat**2),
    )[formulation]
    is_mean = torch.zeros_like(lhat, dtype=torch.bool)
    is_mean[0, 0] = True
    mean = _mean(rhs, colour, formulation, beta, (centre + 2 * side) ** 2) * math.sqrt(lhat.numel())
    spectrum = torch.where(is_mean, mean.to(rhs.dtype), numerator / torch.where(is_mean, 1.0, symbol))
    return dct_reference(spectrum, 3, False, axes, 1, False)


def _frequencies(x: Tensor, axis: int, dirichlet: bool) -> Tensor:
    """Eigenvalues of minus the second difference along an axis, as 4 sin^2, which avoids cancellation."""
    n = x.shape[axis]
    index = torch.arange(n, dtype=torch.float64, device=x.device)
    angle = math.pi * (index + 1) / (2 * (n + 1)) if dirichlet else math.pi * index / (2 * n)
    return (4 * torch.sin(angle) ** 2).to(x.dtype)


def _mean(rhs: Tensor, colour: Tensor, formulation: int, beta: float, gain: float) -> Tensor:
    """The mean of u, (..., 1, 1) in float64; a sum of rhs that is only rounding error counts as zero."""
    if beta == 0:
        return torch.zeros_like(rhs[..., :1, :1], dtype=torch.float64)
    plane = rhs.shape[-2] * rhs.shape[-1]
    mean = colour.sum((-2, -1), keepdim=True, dtype=torch.float64) / plane / gain
    if _FORMULATIONS[formulation] == "paper":
        return mean
    total = rhs.sum((-2, -1), keepdim=True, dtype=torch.float64)
    magnitude = rhs.abs().sum((-2, -1), keepdim=True, dtype=torch.float64)
    is_rounding = total.abs() <= torch.finfo(rhs.dtype).eps * magnitude
    total = torch.where(is_rounding, total - total.detach(), total)  # 0, but with the gradient of the sum
    return mean + total / plane / (beta * (gain if _FORMULATIONS[formulation] == "official" else gain**2))


def _fake(rhs: Tensor, *_: Any) -> Tensor:
    return torch.empty(rhs.shape, dtype=rhs.dtype, device=rhs.device)


def _poisson_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.dirichlet, ctx.screening = inputs


def _poisson_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The operator is symmetric, and so is its inverse."""
    return _poisson(grad, ctx.dirichlet, ctx.screening), None, None


def _poisson_jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
    return _poisson(tangent, ctx.dirichlet, ctx.screening)


def _gaussian_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, _, *ctx.equation = inputs


def _gaussian_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """u is linear in rhs and in colour, by symmetric operators, so each gradient solves with grad in its place and zero
    for the other."""
    zero = torch.zeros_like(grad)
    d_rhs = _gaussian_poisson(grad, zero, *ctx.equation) if ctx.needs_input_grad[0] else None
    d_colour = _gaussian_poisson(zero, grad, *ctx.equation) if ctx.needs_input_grad[1] else None
    return d_rhs, d_colour, None, None, None, None


def _gaussian_jvp(ctx: Any, d_rhs: Tensor, d_colour: Tensor, *_: Any) -> Tensor:
    return _gaussian_poisson(d_rhs, d_colour, *ctx.equation)


_poisson = _native.register(
    "poisson(Tensor rhs, bool dirichlet, float screening) -> Tensor",
    reference=poisson_reference,
    fake=_fake,
    backward=_poisson_backward,
    setup_context=_poisson_setup,
    jvp=_poisson_jvp,
    batching=_autograd.in_front,
    autocast_to=torch.float32,
)
_gaussian_poisson = _native.register(
    "gaussian_poisson(Tensor rhs, Tensor colour, int formulation, float beta, float centre, float side) -> Tensor",
    reference=gaussian_poisson_reference,
    fake=_fake,
    backward=_gaussian_backward,
    setup_context=_gaussian_setup,
    jvp=_gaussian_jvp,
    batching=_autograd.in_front,
    autocast_to=torch.float32,
)
