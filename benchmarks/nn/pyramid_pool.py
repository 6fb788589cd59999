"""Spatial pyramid pooling against the plain loop over bins, on feature maps that the levels divide evenly or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    copying,
    forward,
    forward_and_backward,
    on_reference,
    shape_text,
)
from pydlx.nn import SpatialPyramidPool2d

LOOP = "bin loop"
LEVELS = (4, 2, 1)

# The last convolution's maps of the paper's networks for images of 224 pixels, then sizes of other proportions.
_SHAPES = ((32, 256, 13, 13), (32, 256, 16, 16), (32, 256, 14, 19))

_BINS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda cells: cells.amax((-2, -1)),
    "average": lambda cells: cells.mean((-2, -1)),
    "soft": lambda cells: (cells.flatten(-2).softmax(-1) * cells.flatten(-2)).sum(-1),
}


def cases(setting: Setting) -> Iterator[Case]:
    """Every mode in adaptive bins, forward and with the gradient."""
    for shape in _SHAPES:
        for mode in _BINS:
            for direction in ("forward", "forward+backward"):
                yield Case(
                    f"{mode} {shape_text(shape)} {direction}", partial(_candidates, mode, shape, direction, setting)
                )


def _candidates(mode: str, shape: tuple[int, ...], direction: str, setting: Setting) -> dict[str, Candidate | None]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(setting.device)
    passes = forward if direction == "forward" else forward_and_backward
    candidates: dict[str, Candidate | None] = {name: passes(pool, x) for name, pool in pools(mode).items()}
    if mode == "soft":  # the other modes are torch's own
        candidates[REFERENCE] = on_reference(passes(pools(mode)[NATIVE], x))
    candidates[COPY] = copying(x)
    return candidates


def pools(mode: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """The layer, and the same bin by bin."""
    return {NATIVE: SpatialPyramidPool2d(LEVELS, mode), LOOP: partial(pool_by_bins, mode)}


def pool_by_bins(mode: str, x: Tensor) -> Tensor:
    """x is (N, C, H, W)."""
    height, width = x.shape[2:]
    features = []
    for n in LEVELS:
        bins = []
        for i in range(n):
            band = x[:, :, i * height // n : -(-(i + 1) * height // n)]
            bins += [_BINS[mode](band[..., j * width // n : -(-(j + 1) * width // n)]) for j in range(n)]
        features.append(torch.stack(bins, -1).flatten(1))
    return torch.cat(features, 1)
