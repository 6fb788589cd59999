"""The Gaussian-Poisson equation on a whole image: gradients from a guidance field, colours from a colour image.

With L the positive 5-point Laplacian (Neumann), G a 3×3 Gaussian, B = −div F for the guidance field F and c the colour
image, each colour plane u satisfies one of

    official   (L  + β G ) u = B   + β c       what the code of GP-GAN solves
    paper      (L² + β G²) u = L B + β G c     the minimiser of ‖L u − B‖² + β ‖G u − c‖², as its paper states
    screened   (L  + β G²) u = B   + β G c     the minimiser of ‖∇u − F‖² + β ‖G u − c‖²

(Wu et al., GP-GAN, arXiv 1703.07195, eq. 6 and 9.) Where β is one number the equation is diagonal under the cosine
transform. A map β[p] is not: with the diagonal matrix of the map, G β G takes the place of β G², and √β G √β that of
β G, which keeps the matrix symmetric and equals the formulas above for a constant map. Conjugate gradients solve it,
preconditioned by the closed form for the map's mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pydlx._checks import check_not_negative, check_one_of
from pydlx.blending import guidance
from pydlx.blending.conjugate_gradient import solve_symmetric
from pydlx.blending.solution import worst_relative_residual
from pydlx.ops import dctn, idctn, solve_gaussian_poisson
from pydlx.ops.poisson import gaussian_taps

FORMULATIONS = ("official", "paper", "screened")
TAPS = ("upstream", "normalised")


@dataclass(frozen=True)
class GaussianPoisson:
    """One equation of the family, ready to be solved on grids of any size.

    Attributes:
        beta: weight of the colours, a number or a map (H, W) of the grid's size in float64.
        sigma: standard deviation of the Gaussian in pixels; 0 makes G the identity.
        formulation: ``"official"``, ``"paper"`` or ``"screened"``.
        taps: ``"upstream"`` cuts a normalised Gaussian of radius 4 σ to 3×3 and leaves it so, as GP-GAN does, which
            brightens the result by 0.1 % at σ = 0.5 and 28 % at σ = 1; ``"normalised"`` makes the taps sum to 1.
    """

    beta: float | Tensor = 1.0
    sigma: float = 0.5
    formulation: str = "official"
    taps: str = "upstream"

    def __post_init__(self):
        check_one_of("blend", "formulation", self.formulation, FORMULATIONS)
        check_one_of("blend", "taps", self.taps, TAPS)
        check_not_negative("blend", "sigma", self.sigma)
        if not isinstance(self.beta, Tensor) and not (math.isfinite(self.beta) and self.beta > 0):
            raise ValueError(f"blend: beta must be positive, got {self.beta}")

    def solve(self, divergence: Tensor, colour: Tensor) -> Tensor:
        """Solves for u (N, C, H, W), given B = −div F and the colour image, both of that shape."""
        if isinstance(self.beta, Tensor):
            return self._solve_map(self.beta, divergence, colour)
        normalised = self.taps == "normalised"
        return solve_gaussian_poisson(
            divergence, colour, self.beta, self.sigma, self.formulation, normalised=normalised
        )

    def _solve_map(self, beta: Tensor, divergence: Tensor, colour: Tensor) -> Tensor:
        """`solve` for a map, in float64: a small β magnifies the rounding errors of a plane's mean by 1/β."""
        exact = divergence.double()
        exact = exact - exact.mean((-2, -1), keepdim=True)  # 0 but for rounding
        symbol = self._symbol((exact.shape[-2], exact.shape[-1]), float(beta.mean()), exact)
        solution = solve_symmetric(
            self.apply,
            self.right_side(exact, colour.double()),
            lambda plane: idctn(dctn(plane) / symbol),
            tolerance=1e-12 if divergence.dtype == torch.float64 else 1e-8,
        )
        return solution.to(divergence.dtype)

    def right_side(self, divergence: Tensor, colour: Tensor) -> Tensor:
        """The right side b of the formulation, from its definition in the image plane."""
        if self.formulation == "official":
            return divergence + self.beta * colour
        if self.formulation == "paper":
            divergence = guidance.laplacian(divergence)
        return divergence + self.smooth(self.beta * colour)

    def apply(self, u: Tensor) -> Tensor:
        """The left side A u of the formulation, from its definition in the image plane."""
        smoothness = guidance.laplacian(u)
        if self.formulation == "paper":
            smoothness = guidance.laplacian(smoothness)
        if self.formulation != "official":
            return smoothness + self.smooth(self.beta * self.smooth(u))
        if isinstance(self.beta, Tensor):
            root = self.beta.sqrt()
            return smoothness + root * self.smooth(root * u)
        return smoothness + self.beta * self.smooth(u)

    def smooth(self, x: Tensor) -> Tensor:
        """G x: the 3×3 Gaussian with half-sample symmetric border, x[−1] = x[0]."""
        centre, side = self._taps
        if side == 0:
            return x
        padded = F.pad(x, (1, 1, 0, 0), mode="replicate")
        x = centre * x + side * (padded[..., :-2] + padded[..., 2:])
        padded = F.pad(x, (0, 0, 1, 1), mode="replicate")
        return centre * x + side * (padded[..., :-2, :] + padded[..., 2:, :])

    @torch.no_grad()
    def relative_residual(self, u: Tensor, divergence: Tensor, colour: Tensor) -> float:
        """‖A u − b‖ / ‖b‖ of the worst plane."""
        right_side = self.right_side(divergence, colour)
        return worst_relative_residual(self.apply(u) - right_side, right_side)

    @property
    def _taps(self) -> tuple[float, float]:
        """Centre and side tap of the Gaussian along one axis."""
        return gaussian_taps(self.sigma, normalised=self.taps == "normalised")

    def _symbol(self, size: tuple[int, int], beta: float, like: Tensor) -> Tensor:
        """Eigenvalues of A under the cosine transform for one number β, on a grid of `size`."""
        centre, side = self._taps
        angles = [torch.arange(n, dtype=torch.float64, device=like.device) * (math.pi / n) for n in size]
        rows, columns = (4 * torch.sin(angle / 2) ** 2 for angle in angles)
        smoothness = rows[:, None] + columns
        gauss = (centre + 2 * side - side * rows)[:, None] * (centre + 2 * side - side * columns)
        if self.formulation == "official":
            return (smoothness + beta * gauss).to(like.dtype)
        power = 2 if self.formulation == "paper" else 1
        return (smoothness**power + beta * gauss**2).to(like.dtype)
