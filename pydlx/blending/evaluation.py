"""How good a blend is, where no true picture is known."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pydlx._checks import check_number
from pydlx.blending import guidance
from pydlx.blending.images import Image, as_planes, full_scale, split_alpha
from pydlx.blending.pillow import as_arrays, from_pillow, is_pillow
from pydlx.blending.scene import build_scene


@torch.no_grad()
def evaluate_blend(
    output: Image,
    source: Image,
    target: Image,
    mask: Image,
    offset: tuple[int, int] | None = None,
    *,
    center: tuple[int, int] | None = None,
    threshold: float = 0.0,
    alpha: bool = True,
) -> dict[str, float]:
    """Three figures for a blend, in gray (1/255 of full scale); less is better.

    With M the hard mask, v = ∇T + w·(∇S − ∇T) the edge guidance for w = (M[p] + M[q]) / 2, and d the forward
    differences of the output:

    * ``gradRMS`` = sqrt(mean (d − v)² across + mean (d − v)² down), over all edges and channels;
    * ``seam`` = mean \\|d − v\\| over the edges whose ends differ in M;
    * ``bg`` = mean \\|output − target\\| over the pixels with M = 0; NaN where there are none.

    Args:
        output: the blend, of the target's shape.
        source: as given to `blend`.
        target: as given to `blend`.
        mask: as given to `blend`; pixels whose weight exceeds `threshold` count as inside.
        offset: as given to `blend`.
        center: as given to `blend`.
        threshold: see `mask`.
        alpha: as given to `blend`.

    Returns:
        ``{"gradRMS": ..., "seam": ..., "bg": ...}``, each over the whole batch.
    """
    check_number("evaluate_blend", "threshold", threshold)
    source, target, mask, _ = as_arrays(source, target, mask)
    scene = build_scene(
        source, target, mask, offset, center=center, threshold=threshold, feather=0, alpha=alpha, clip=False
    )
    result = as_planes("output", from_pillow("output", output).pixels if is_pillow(output) else output)
    if alpha:
        result, _ = split_alpha(result)
    if result.shape != scene.target.shape:
        raise ValueError(
            f"evaluate_blend: output must be like the target, {tuple(scene.target.shape)} as (N, C, H, W), "
            f"got {tuple(result.shape)}"
        )
    window = scene.window(scene.canvas)
    gray = 255 / full_scale(scene.target.dtype)
    result = result.to(scene.dtype) * (255 / full_scale(result.dtype))
    target_planes, weight = window.target * gray, window.weight

    source_field = replace(window, source=window.source * gray).source_gradient
    fields = (guidance.gradient(target_planes), source_field, guidance.gradient(result), guidance.mean_weight(weight))
    errors = [d - torch.lerp(t, s, w) for t, s, d, w in zip(*fields, strict=True)]
    crossing = [ends[0] != ends[1] for ends in guidance.edge_pairs(weight)]
    outside = (weight == 0).expand_as(result)
    return {
        "gradRMS": math.sqrt(sum(_mean(error.square()) for error in errors)),
        "seam": _mean(torch.cat([_select(e, c) for e, c in zip(errors, crossing, strict=True)]).abs()),
        "bg": _mean((result - target_planes)[outside].abs()),
    }


def _select(error: Tensor, crossing: Tensor) -> Tensor:
    return error[crossing.expand_as(error)]


def _mean(values: Tensor) -> float:
    return float(values.mean(dtype=torch.float64))
