"""Poisson solves on the whole grid against the usual route: SciPy's transform, a division, the inverse transform."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Item,
    Quantity,
    Setting,
    at_most,
    copying,
    installed,
    on_reference,
    shape_text,
)
from pydlx.benchmarks.pictures import natural_picture

SCIPY = "scipy.fft"
RFFTS = "rfft2 + irfft2"

# Sizes, and the fraction of SciPy's time that the solve may take. Both sides of the last are primes.
_SHAPES = (((3, 1024, 1024), 0.6), ((3, 1080, 1920), 0.6), ((3, 1021, 1031), 0.5))
_BETAS = (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 10.0)


def cases(setting: Setting) -> Iterator[Item]:
    """Gaussian-Poisson and Dirichlet solves in float32, and the error of float32."""
    on_cpu = setting.device.type == "cpu"
    for shape, part in _SHAPES:
        targets = (at_most(part, SCIPY),) if on_cpu else ()
        yield Case(f"gaussian {shape_text(shape)}", _build(gaussian_candidates, shape, setting), targets)
    yield Case("dirichlet 3×1024×1024", _build(dirichlet_candidates, (3, 1024, 1024), setting))
    for size in (512, 1024, 2048, 4096) if setting.full else (512,):
        yield Quantity(
            f"gaussian {size}×{size}, float32 against float64, β 1e-8…10",
            "grey levels",
            0.01,
            partial(float32_error, size, setting.device),
        )


def _build(
    candidates: Callable[[Tensor, Tensor, int], dict[str, Candidate | None]], shape: tuple[int, ...], setting: Setting
) -> Callable[[], dict[str, Candidate | None]]:
    def build() -> dict[str, Candidate | None]:
        rhs, colour = (tensor.to(setting.device) for tensor in scene(shape, torch.float32))
        return candidates(rhs, colour, setting.threads)

    return build


def scene(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The Laplacian of one image, and another image for the colours, (C, H, W) in grey levels."""
    wanted, colour = (natural_picture(shape, seed).to(dtype) for seed in (1, 2))
    rhs = torch.zeros_like(wanted)
    for axis in (-2, -1):
        step = wanted.diff(dim=axis)
        length = step.shape[axis]
        rhs.narrow(axis, 0, length).sub_(step)
        rhs.narrow(axis, 1, length).add_(step)
    return rhs, colour


def gaussian_candidates(rhs: Tensor, colour: Tensor, threads: int, beta: float = 1.0) -> dict[str, Candidate | None]:
    """(L + βG) u = rhs + β colour; for SciPy the divisor is computed beforehand."""
    scipy_fft = installed("scipy.fft")
    host_rhs, host_colour = rhs.cpu().numpy(), colour.cpu().numpy()
    divisor = _gaussian_symbol(rhs.shape[-2:], beta).astype(host_rhs.dtype)

    def scipy_route() -> np.ndarray:
        spectrum = scipy_fft.dctn(host_rhs + beta * host_colour, axes=(-2, -1), workers=threads)
        spectrum /= divisor
        return scipy_fft.idctn(spectrum, axes=(-2, -1), workers=threads, overwrite_x=True)

    def solve() -> Tensor:
        return ops.solve_gaussian_poisson(rhs, colour, beta)

    return {
        NATIVE: solve,
        REFERENCE: on_reference(solve),
        SCIPY: scipy_fft and scipy_route,
        RFFTS: lambda: torch.fft.irfft2(torch.fft.rfft2(rhs), s=rhs.shape[-2:]),
        COPY: copying(rhs),
    }


def dirichlet_candidates(rhs: Tensor, _colour: Tensor, threads: int) -> dict[str, Candidate | None]:
    """L u = rhs with u = 0 just outside of the grid: the sine transform of type 1."""
    scipy_fft = installed("scipy.fft")
    host_rhs = rhs.cpu().numpy()
    rows, columns = (4 * np.sin(np.pi * np.arange(1, n + 1) / (2 * n + 2)) ** 2 for n in rhs.shape[-2:])
    divisor = (rows[:, None] + columns).astype(host_rhs.dtype)

    def scipy_route() -> np.ndarray:
        spectrum = scipy_fft.dstn(host_rhs, type=1, axes=(-2, -1), workers=threads)
        spectrum /= divisor
        return scipy_fft.idstn(spectrum, type=1, axes=(-2, -1), workers=threads, overwrite_x=True)

    def solve() -> Tensor:
        return ops.solve_poisson(rhs, boundary="dirichlet")

    return {
        NATIVE: solve,
        REFERENCE: on_reference(solve),
        SCIPY: scipy_fft and scipy_route,
        COPY: copying(rhs),
    }


def _gaussian_symbol(size: tuple[int, ...], beta: float, sigma: float = 0.5) -> np.ndarray:
    """Eigenvalues of L + βG, where G is the 3×3 centre of a Gaussian normalised over 4 σ."""
    tail = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(1, int(4 * sigma + 0.5) + 1)]
    total = 1 + 2 * sum(tail)
    angles = [np.pi * np.arange(n) / n for n in size]
    rows, columns = (4 * np.sin(angle / 2) ** 2 for angle in angles)
    blur_rows, blur_columns = ((1 + 2 * tail[0] * np.cos(angle)) / total for angle in angles)
    return rows[:, None] + columns + beta * blur_rows[:, None] * blur_columns


def float32_error(size: int, device: torch.device) -> float:
    """Largest difference between the float32 and the float64 solve over all weights, for images of 0 to 255."""
    rhs, colour = (tensor.to(device) for tensor in scene((1, size, size), torch.float64))
    worst = 0.0
    for beta in _BETAS:
        exact = ops.solve_gaussian_poisson(rhs, colour, beta)
        rounded = ops.solve_gaussian_poisson(rhs.float(), colour.float(), beta)
        worst = max(worst, float((rounded.double() - exact).abs().max()))
    return worst
