"""Gaussian-Poisson solves from coarse to fine, as in GP-GAN, for whatever colours the coarsest level starts from.

The guidance field is F = ∇T + w·(∇S − ∇T) with the edge weight w = (m[p] + m[q]) / 2; `equation` has the maths of one
solve. Each level takes the result of the one below, enlarged, as its colour image, and the guidance of its own
resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pydlx._autograd import clipped
from pydlx._checks import is_number
from pydlx.blending import guidance
from pydlx.blending.equation import GaussianPoisson
from pydlx.blending.images import Image, as_tensor, check_finite, dtype_name
from pydlx.blending.placement import Box
from pydlx.blending.pyramid import Pyramid, Size, resize_weights
from pydlx.blending.scene import Scene, Window
from pydlx.blending.solution import Solution
from pydlx.blending.transparency import fill_hidden

Light = Callable[[Tensor], Tensor]  # planes (N or 1, C, h, w) of any size to planes (N, C, h, w)


def composite(window: Window) -> Tensor:
    """m·S + (1 − m)·T: plain pasting."""
    return torch.lerp(window.target, window.source, window.weight)


def solve_coarse_to_fine(
    scene: Scene,
    equation: GaussianPoisson,
    pyramid: Pyramid,
    sizes: list[Size],
    start: Callable[[Window], Tensor],
    measure: bool,
    find_light: Callable[[Window], Light] | None = None,
) -> Solution:
    """Solves the equation on every level of a scene.

    Args:
        scene: the composition.
        equation: what to solve, with a β of the canvas's size.
        pyramid: how pictures get from one level to the next.
        sizes: of the levels, from coarse to fine; the last is the canvas's.
        start: makes the colour image of the coarsest level, (N, C, h, w) of its size, from what lies there.
        measure: whether to compute the residual of the finest level.
        find_light: finds, in what lies on the coarsest level, the light under which the source is put on all of them.
    """
    windows = _windows(scene, pyramid, sizes)
    if find_light is not None:
        light = find_light(windows[0])
        windows = [replace(window, source=light(window.source)) for window in windows]
    picture = start(windows[0])
    residual = None
    for size, window in zip(sizes, windows, strict=True):
        colours = pyramid.enlarge(picture, size)
        level = _at_size(equation, size)
        divergence = _negative_divergence(window)
        picture = level.solve(divergence, colours)
        if measure and size == sizes[-1]:
            residual = level.relative_residual(picture, divergence, colours)
        if scene.limits is not None:
            picture = clipped(picture, *scene.limits)
    unknowns = math.prod(scene.canvas.size) * len(scene.target)
    return Solution(picture, scene.canvas, None, unknowns, residual, len(sizes))


def _windows(scene: Scene, pyramid: Pyramid, sizes: list[Size]) -> list[Window]:
    """What lies on every level, from coarse to fine."""
    finest = scene.window(scene.canvas)
    windows = [finest]
    for size in reversed(sizes[:-1]):
        weight = finest.weight if pyramid.masks_from_top else windows[0].weight
        windows.insert(0, _shrink(windows[0], weight, size, pyramid))
    return windows


def _shrink(window: Window, weight: Tensor, size: Size, pyramid: Pyramid) -> Window:
    source = window.source if window.hidden is None else fill_hidden(window.source, window.hidden)
    return Window(
        pyramid.shrink(source, size),
        pyramid.shrink(window.target, size),
        pyramid.shrink_weights(weight, size),
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


def decode_beta(scene: Scene, beta: float | Image) -> float | Tensor:
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


def _at_size(equation: GaussianPoisson, size: Size) -> GaussianPoisson:
    """The equation on the grid of one level: a map of β follows the pictures."""
    if not isinstance(equation.beta, Tensor):
        return equation
    return replace(equation, beta=resize_weights(equation.beta, size))
