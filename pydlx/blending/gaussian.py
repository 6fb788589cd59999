"""Gaussian-Poisson blending: the gradients of source and target, the colours of a colour image, on the whole canvas.

The guidance field is F = ∇T + w·(∇S − ∇T) with the edge weight w = (m[p] + m[q]) / 2; `equation` has the maths of one
solve. The picture is found from coarse to fine, as in GP-GAN: each level takes the result of the one below, enlarged,
as its colour image, and the guidance of its own resolution.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pydlx._autograd import clipped
from pydlx._checks import check_one_of, is_number, whole
from pydlx.blending import guidance
from pydlx.blending.equation import GaussianPoisson
from pydlx.blending.images import Image, as_tensor, check_finite, dtype_name
from pydlx.blending.placement import Box
from pydlx.blending.pyramid import PYRAMIDS, Pyramid, resize, resize_weights
from pydlx.blending.scene import Scene, Window
from pydlx.blending.solution import Solution
from pydlx.blending.transparency import fill_hidden


def modified_poisson(
    scene: Scene, measure: bool, *, beta: float | Image = 1e-8, colour: Image | None = None
) -> Solution:
    """Poisson blending on the whole canvas, held by a faint pull towards a colour image (Tanaka et al. 2012).

    `beta` is the pull, a number or a map of the target's size; `colour` defaults to the copy-paste composite.
    """
    equation = GaussianPoisson(beta=_decode_beta(scene, beta), sigma=0.0)
    return _blend(scene, equation, PYRAMIDS["aspect"], 1, colour, measure)


def gaussian_poisson(
    scene: Scene,
    measure: bool,
    *,
    beta: float | Image = 1.0,
    sigma: float = 0.5,
    formulation: str = "official",
    taps: str = "upstream",
    pyramid: str = "aspect",
    levels: int | None = None,
    colour: Image | None = None,
) -> Solution:
    """The multi-level blending of GP-GAN with any colour image (Wu et al., arXiv 1703.07195).

    Args:
        scene: the composition.
        measure: whether to compute the residual.
        beta: weight of the colours, a number or a map (H, W) of the target's size.
        sigma: standard deviation of the equation's Gaussian; 0 leaves the colours unsmoothed.
        formulation: ``"official"``, ``"paper"`` or ``"screened"``, see `equation`.
        taps: ``"upstream"`` or ``"normalised"``, see `equation`.
        pyramid: ``"aspect"`` keeps the picture's proportions, ``"square"`` has GP-GAN's square levels.
        levels: number of levels counted from the top; 1 solves the full picture only, None takes all.
        colour: colour image of any size for the coarsest level; the copy-paste composite by default.
    """
    check_one_of("blend", "pyramid", pyramid, PYRAMIDS)
    equation = GaussianPoisson(_decode_beta(scene, beta), sigma, formulation, taps)
    return _blend(scene, equation, PYRAMIDS[pyramid], levels, colour, measure)


def _blend(
    scene: Scene, equation: GaussianPoisson, pyramid: Pyramid, levels: int | None, colour: Image | None, measure: bool
) -> Solution:
    sizes = _chosen_sizes(pyramid.sizes(scene.canvas.size), levels)
    windows = [scene.window(scene.canvas)]
    for size in reversed(sizes[:-1]):
        windows.insert(0, _shrink(windows[0], size, pyramid))

    coarsest = windows[0]
    if colour is None:
        picture = torch.lerp(coarsest.target, coarsest.source, coarsest.weight)
    else:
        picture = resize(scene.decode_colour(colour), sizes[0]).expand_as(coarsest.target)

    residual = None
    for size, window in zip(sizes, windows, strict=True):
        colours = resize(picture, size)
        level = _at_size(equation, size)
        divergence = _negative_divergence(window)
        picture = level.solve(divergence, colours)
        if measure and size == sizes[-1]:
            residual = level.relative_residual(picture, divergence, colours)
        if scene.limits is not None:
            picture = clipped(picture, *scene.limits)
    unknowns = math.prod(scene.canvas.size) * len(scene.target)
    return Solution(picture, scene.canvas, None, unknowns, residual, len(sizes))


def _chosen_sizes(sizes: list[tuple[int, int]], levels: int | None) -> list[tuple[int, int]]:
    if levels is None:
        return sizes
    levels = whole("blend", "levels", levels)
    if not 1 <= levels <= len(sizes):
        raise ValueError(f"blend: levels must lie in 1..{len(sizes)} for a target of size {sizes[-1]}, got {levels}")
    return sizes[-levels:]


def _shrink(window: Window, size: tuple[int, int], pyramid: Pyramid) -> Window:
    source = window.source if window.hidden is None else fill_hidden(window.source, window.hidden)
    return Window(
        pyramid.shrink(source, size),
        pyramid.shrink(window.target, size),
        pyramid.shrink_weights(window.weight, size),
        Box(0, 0, *size),
    )


def _negative_divergence(window: Window) -> Tensor:
    """B = −div F, which sums to 0 over the canvas."""
    across, down = (
        torch.lerp(target, source, weight)
        for target, source, weight in zip(
            guidance.gradient(window.target),
            window.source_gradient,
            guidance.mean_weight(window.weight),
            strict=True,
        )
    )
    return guidance.negative_divergence((across, down))


def _decode_beta(scene: Scene, beta: float | Image) -> float | Tensor:
    """A number, or the map as (1, 1, H, W) in float64. A constant map is a number: its equation has a closed form."""
    if is_number(beta):
        return float(beta)
    if not isinstance(beta, (np.ndarray, Tensor)):
        raise TypeError(f"blend: beta must be a number or a map (H, W), got {type(beta).__name__}")
    values = as_tensor("beta", beta)
    if not values.is_floating_point():
        raise TypeError(f"blend: a beta map must be floating, got {dtype_name(values.dtype)}")
    if tuple(values.shape) != scene.canvas.size:
        raise ValueError(
            f"blend: beta must be a number or a map of the target's size {scene.canvas.size}, got {tuple(values.shape)}"
        )
    if values.requires_grad:
        raise ValueError("blend: beta is not differentiable, detach the map")
    values = values.to(scene.target.device, torch.float64)[None, None]
    check_finite("beta", values)
    low, high = (float(extreme) for extreme in torch.aminmax(values))
    if low < 0 or high == 0:
        raise ValueError("blend: a beta map must be zero or positive, and positive somewhere")
    return low if low == high else values


def _at_size(equation: GaussianPoisson, size: tuple[int, int]) -> GaussianPoisson:
    """The equation on the grid of one level: a map of β follows the pictures."""
    if not isinstance(equation.beta, Tensor):
        return equation
    return replace(equation, beta=resize_weights(equation.beta, size))
