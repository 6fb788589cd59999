"""Preconditioned conjugate gradients over a batch of planes, differentiable through the adjoint solve."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


def solve_symmetric(
    apply: Operator,
    right_side: Tensor,
    precondition: Operator,
    *,
    tolerance: float | None = None,
    max_iterations: int = 500,
) -> Tensor:
    """Solves A u = right_side for every plane of (..., H, W); `apply` is A, symmetric and positive definite.

    `precondition` applies an approximate inverse of the same kind. Iterates until every plane's ‖A u − b‖ / ‖b‖ falls
    below `tolerance` (1e-6 in float32, 1e-12 in float64 by default), and warns where `max_iterations` does not reach
    it. The backward pass solves the same equation once more for the gradient; tensors inside `apply` get none.
    """
    if tolerance is None:
        tolerance = 1e-12 if right_side.dtype == torch.float64 else 1e-6
    return _Solve.apply(right_side, apply, precondition, tolerance, max_iterations)


class _Solve(torch.autograd.Function):
    """u = A⁻¹ b; as A is symmetric, the gradient to b is A⁻¹ applied to the gradient to u."""

    @staticmethod
    def forward(ctx, right_side, *settings):
        ctx.settings = settings
        return _iterate(right_side, *settings)

    @staticmethod
    def backward(ctx, gradient):
        return _Solve.apply(gradient, *ctx.settings), None, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _iterate(
    right_side: Tensor, apply: Operator, precondition: Operator, tolerance: float, max_iterations: int
) -> Tensor:
    tiny = torch.finfo(right_side.dtype).tiny
    solution = torch.zeros_like(right_side)
    residual = right_side.clone()
    direction = precondition(residual)
    energy = _dot(residual, direction)
    goal = tolerance**2 * _dot(right_side, right_side)
    for _ in range(max_iterations):
        if bool((_dot(residual, residual) <= goal).all()):
            return solution
        image = apply(direction)
        # Planes that have arrived have energy 0: the floor lets them stand still instead of dividing 0 by 0.
        step = energy / _dot(direction, image).clamp_min(tiny)
        solution += step * direction
        residual -= step * image
        conditioned = precondition(residual)
        next_energy = _dot(residual, conditioned)
        direction = conditioned + next_energy / energy.clamp_min(tiny) * direction
        energy = next_energy
    reached = float((_dot(residual, residual).sqrt() / _dot(right_side, right_side).sqrt().clamp_min(tiny)).max())
    warnings.warn(
        f"blend: conjugate gradients stopped after {max_iterations} iterations at relative residual {reached:.1e}, "
        f"above the tolerance {tolerance:.1e}; a beta map with less contrast converges faster",
        RuntimeWarning,
        stacklevel=2,
    )
    return solution
