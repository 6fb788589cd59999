"""Poisson editing: the pixels under the mask are solved for, all others stay as they are (Pérez et al. 2003).

Let S be the source, T the target, D = S − T, and Ω the unknown pixels {m > 0}. For p in Ω, over the neighbours q that
exist on the canvas, with u = T outside Ω,

    Σ_q (u[p] − u[q]) = Σ_q v[pq],      v = ∇T + w·s·∇D.

The edge weight w = max(m[p], m[q]) is 1 on every edge of a hard mask that touches Ω, so edges that cross the rim carry
the full source gradient. ∇S is 0 on edges that leave the source image or end where it is fully transparent. The share s
of the source tells the methods apart:

    poisson, monochrome   s = 1 (monochrome: S as grey)
    average               s = 1/2
    mixed                 s = 1 where the source has the stronger gradient, otherwise 0

Two forms of the same equation are solved, both with a zero boundary:

* the membrane (hard mask, one s everywhere): u = g + s·c with g = T + s·D, where c is harmonic in Ω and equals −D on
  the rim. Its right side is zero except along the rim, so it is exact where S and T already agree, and rounding does
  not grow with the contrast of the source;
* the correction (any weights): u = T + d with L d = −div(w·s·∇D) in Ω. Weights that need a gradient take this form,
  hard ones too. Where both ends of an edge have the same weight, each gets half of w's derivative.

Only the mask's bounding box and a ring of one pixel around it are touched.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pydlx.blending import guidance
from pydlx.blending.images import luma
from pydlx.blending.scene import Scene, Window
from pydlx.blending.solution import Solution, worst_relative_residual
from pydlx.ops import solve_masked_poisson, solve_poisson


def poisson(scene: Scene, measure: bool, *, tolerance: float | None = None) -> Solution:
    """The source's gradients, exactly.

    `tolerance`, here and below, is the relative residual at which the solve of an irregular mask stops, see
    `pydlx.ops.solve_masked_poisson`; by default 1e-6 in float32 and 1e-10 in float64.
    """
    return _solve(scene, _window(scene), 1.0, tolerance, measure)


def average(scene: Scene, measure: bool, *, tolerance: float | None = None) -> Solution:
    """The mean of the source's and the target's gradients."""
    return _solve(scene, _window(scene), 0.5, tolerance, measure)


def monochrome(scene: Scene, measure: bool, *, tolerance: float | None = None) -> Solution:
    """The gradients of the source as grey: its shapes without its colours.

    Grey is Rec. 601 luma for three channels and the mean over the channels otherwise.
    """
    window = _window(scene)
    return _solve(scene, replace(window, source=_grey(window.source)), 1.0, tolerance, measure)


def mixed(scene: Scene, measure: bool, *, tolerance: float | None = None) -> Solution:
    """On each edge the stronger gradient of the two, see `guidance.stronger_source`."""
    window = _window(scene)
    share = guidance.stronger_source(window.source_gradient, guidance.gradient(window.target_near_mask))
    return _solve(scene, window, share, tolerance, measure)


def _window(scene: Scene) -> Window:
    return scene.window(scene.mask_box.grow(1).intersect(scene.canvas))


def _grey(source: Tensor) -> Tensor:
    if source.shape[1] != 3:
        return source.mean(1, keepdim=True).expand_as(source)
    return luma(source).expand_as(source)


def _solve(
    scene: Scene, window: Window, share: float | guidance.Field, tolerance: float | None, measure: bool
) -> Solution:
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"blend: tolerance must be positive, got {tolerance}")
    unknown = window.weight.bool()
    _check_known_pixel(scene, unknown)
    count, soft = torch.stack([unknown.count_nonzero(), (window.weight != unknown).count_nonzero()]).tolist()
    unknowns = count * (len(window.target_pixels) // len(unknown))
    box = window.box
    # Nobody may ask for the weights' gradient, which the membrane does not have.
    hard = soft == 0 and not (window.weight.requires_grad and torch.is_grad_enabled())
    if isinstance(share, float) and hard:
        right_side = guidance.pull_of_rim(window.source, window.target_pixels, unknown, window.hidden)
        guide = window.source if share == 1 else torch.lerp(window.target_near_mask, window.source, share)
        del window  # frees what the solver can use
        correction, residual = _solve_zero_boundary(right_side, unknown, count, tolerance, measure)
        values = correction.add_(guide) if share == 1 else torch.add(guide, correction, alpha=share)
    else:
        across, down = share if isinstance(share, tuple) else (share, share)
        weight = guidance.largest_weight(window.weight)
        source, target = window.source_gradient, guidance.gradient(window.target_near_mask)
        difference = source[0] - target[0], source[1] - target[1]
        field = guidance.scale(difference, (weight[0] * across, weight[1] * down))
        right_side = guidance.negative_divergence(field)
        correction, residual = _solve_zero_boundary(right_side, unknown, count, tolerance, measure)
        values = window.target_near_mask + correction
    return Solution(
        values,
        box,
        inside=unknown,
        unknowns=unknowns,
        relative_residual=residual,
        levels=1,
    )


def _check_known_pixel(scene: Scene, unknown: Tensor) -> None:
    """Without a known pixel the equation has no unique solution. The canvas is connected, so one is enough."""
    if unknown.shape[-2:] == scene.target.shape[-2:] and bool(unknown.flatten(1).all(1).any()):
        raise ValueError(
            "blend: mask covers the whole target, which leaves no known pixel to blend into; "
            "use a smaller mask or method 'gaussian-poisson' or 'modified-poisson'"
        )


def _solve_zero_boundary(
    right_side: Tensor, unknown: Tensor, count: int, tolerance: float | None, measure: bool
) -> tuple[Tensor, float | None]:
    """Solves L u = right_side at the `count` pixels where `unknown` holds, with u = 0 elsewhere; also the relative
    residual if asked.

    What `right_side` holds elsewhere is ignored. A rectangle that nowhere meets the border of the canvas has a closed
    form, evaluated in float64.
    """
    interior = unknown[..., 1:-1, 1:-1]
    if interior.numel() == count and bool(interior.all()):
        wide = right_side.double() * unknown
        solution = torch.zeros_like(wide)
        solution[..., 1:-1, 1:-1] = solve_poisson(wide[..., 1:-1, 1:-1].contiguous(), boundary="dirichlet")
        residual = worst_relative_residual((wide - guidance.laplacian(solution)) * unknown, wide) if measure else None
        return solution.to(right_side.dtype), residual
    solution, residuals = solve_masked_poisson(right_side, unknown, tolerance=tolerance)
    return solution, float(residuals.max()) if measure else None
