"""What a method hands back, and what the user gets to know about it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pydlx.blending.placement import Box


@dataclass(frozen=True)
class Solution:
    """The outcome of one method on one scene.

    Attributes:
        values: (N, C, h, w), the picture inside `box`, in working precision.
        box: the part of the canvas that `values` covers.
        inside: (N or 1, 1, h, w), true where `values` replaces the target; None for everywhere.
        unknowns: number of pixels solved for, over the whole batch.
        relative_residual: ‖A u − b‖ / ‖b‖ of the worst plane, measured after the solve; None if nothing was solved
            or nobody asked.
        levels: number of solves from coarse to fine.
    """

    values: Tensor
    box: Box
    inside: Tensor | None = None
    unknowns: int = 0
    relative_residual: float | None = None
    levels: int = 0


@dataclass(frozen=True)
class BlendReport:
    """What `blend` did, returned beside the picture with ``return_report=True``.

    Attributes:
        method: the method's name.
        size: height and width of the result.
        unknowns: number of pixels solved for, over the whole batch; 0 for copy-paste.
        relative_residual: ‖A u − b‖ / ‖b‖ of the equation solved last, recomputed from its definition; the worst over
            images and channels. For the methods that change only pixels under the mask it is that of the float64
            solution, before it is rounded to the working precision. None for copy-paste, which solves nothing.
        levels: number of solves from coarse to fine; 1 for the methods without a pyramid, 0 for copy-paste.
        seconds: wall-clock time of the whole call, measuring included.
    """

    method: str
    size: tuple[int, int]
    unknowns: int
    relative_residual: float | None
    levels: int
    seconds: float


def worst_relative_residual(residual: Tensor, right_side: Tensor) -> float:
    """Largest ‖residual‖ / ‖right side‖ over the planes of (..., h, w), summed in float64; 0 where both vanish."""
    residual, right_side = (x.detach().double().flatten(-2).norm(dim=-1) for x in (residual, right_side))
    return float((residual / right_side.clamp_min(1e-300)).max())
