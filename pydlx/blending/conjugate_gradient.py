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
    tolerance: float,
    max_iterations: int = 500,
) -> Tensor:
    """Solves A u = right_side for every plane of (..., H, W); `apply` is A, symmetric and positive definite.

    `precondition` applies P, an approximate inverse of A of the same kind. With the residual r = b − A u, iterates
    until ‖r‖ / ‖b‖ and ‖P r‖ / ‖P b‖ of every plane are at most `tolerance`, and warns where `max_iterations` does not
    reach that. P r estimates the error of u: where A is nearly singular a tiny residual can hide a large error.
    The backward pass solves the same equation once more for the gradient; tensors inside `apply` get none.
    """
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
    conditioned = direction
    energy = _dot(residual, direction)
    norms = torch.stack([_dot(residual, residual), _dot(direction, direction)])
    for _ in range(max_iterations):
        reached = torch.stack([_dot(residual, residual), _dot(conditioned, conditioned)])
        if bool((reached <= tolerance**2 * norms).all()):
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
    worst = float((reached / norms.clamp_min(tiny)).max().sqrt())
    warnings.warn(
        f"blend: conjugate gradients stopped after {max_iterations} iterations at relative residual {worst:.1e}, "
        f"above the tolerance {tolerance:.1e}; a beta map with less contrast converges faster",
        RuntimeWarning,
        stacklevel=2,
    )
    return solution
