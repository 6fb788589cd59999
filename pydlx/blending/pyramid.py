"""The pyramids of Gaussian-Poisson blending: sizes of the levels, and how pictures and masks get from one to the next.

==========  ==========================================  ========================================================
name        sizes below the top                         smaller pictures and masks
==========  ==========================================  ========================================================
``aspect``  longer side 64·2^i, same proportions        bicubic widened against aliasing; masks triangle, likewise
``square``  (64·2^i, 64·2^i), as GP-GAN has them        Gaussian of σ = 1, then bicubic; masks nearest pixel
==========  ==========================================  ========================================================

Both enlarge by the bicubic of Keys with a = −1/2, which is also what GP-GAN's program does with the scikit-image of its
time. Beyond the border that program finds black, which darkens the outermost pixels of every level; here the outermost
pixel goes on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

COARSEST = 64
_BLOCK = 64  # rows of a resampling matrix that are multiplied at a time


@dataclass(frozen=True)
class Pyramid:
    """How a picture is taken to smaller sizes.

    Attributes:
        lower_size: size of the level with longer side `side`, for a picture of the given size.
        shrink: resamples pictures (N, C, H, W) to a smaller size.
        shrink_weights: the same for masks in [0, 1].
        enlarge: resamples pictures to the next level.
        masks_from_top: whether every level's mask is made from the finest one, not from that of the next finer level.
    """

    lower_size: Callable[[Size, int], Size]
    shrink: Callable[[Tensor, Size], Tensor]
    shrink_weights: Callable[[Tensor, Size], Tensor]
    enlarge: Callable[[Tensor, Size], Tensor]
    masks_from_top: bool

    def sizes(self, size: Size, coarsest: int = COARSEST) -> list[Size]:
        """Sizes of all levels from coarse to fine; the last is `size` itself, the only one up to `coarsest` pixels."""
        count = max(0, math.ceil(math.log2(max(size) / coarsest)))
        return [self.lower_size(size, coarsest * 2**level) for level in range(count)] + [size]


def resize(planes: Tensor, size: Size) -> Tensor:
    """Resamples by cubic convolution (Keys, a = −1/2), widened where an axis shrinks so that nothing aliases."""
    if planes.shape[-2:] == size:
        return planes
    return _widened(planes, size, "bicubic")


def resize_weights(weights: Tensor, size: Size) -> Tensor:
    """Resamples masks and other weights by a triangle filter, widened alike: no value leaves the range it came from."""
    if weights.shape[-2:] == size:
        return weights
    return _widened(weights, size, "bilinear")


def _widened(planes: Tensor, size: Size, mode: str) -> Tensor:
    """``F.interpolate`` with antialias. Up to torch 2.13 at least it repeats one row where the result is a column."""
    if size[1] > 1 or planes.shape[-2] == size[0]:
        return F.interpolate(planes, size=size, mode=mode, antialias=True)
    column = F.interpolate(planes, size=(planes.shape[-2], 1), mode=mode, antialias=True)
    return F.interpolate(column.mT, size=(1, size[0]), mode=mode, antialias=True).mT


def _proportional(size: Size, side: int) -> Size:
    height, width = (max(1, round(length * side / max(size))) for length in size)
    return height, width


def _square(_size: Size, side: int) -> Size:
    return side, side


def _blur_and_sample(planes: Tensor, size: Size) -> Tensor:
    return resample(planes, size, 1.0)


def _sample(planes: Tensor, size: Size) -> Tensor:
    return resample(planes, size, 0.0)


def resample(planes: Tensor, size: Size, sigma: float) -> Tensor:
    """Gaussian blur, then cubic convolution (Keys, a = −1/2) that is never widened, both with replicated border.

    Each axis is a banded matrix, multiplied block by block. (torch's bicubic without antialias has a = −3/4.)
    """
    (height, width), (rows, columns) = planes.shape[-2:], size
    if height != rows or sigma:
        bands = _bands(height, rows, sigma)
        planes = torch.cat([band.to(planes) @ planes[..., low:high, :] for low, high, band in bands], -2)
    if width != columns or sigma:
        bands = _bands(width, columns, sigma)
        planes = torch.cat([planes[..., low:high] @ band.to(planes).T for low, high, band in bands], -1)
    return planes


@functools.lru_cache(maxsize=128)
def _bands(given: int, length: int, sigma: float) -> list[tuple[int, int, Tensor]]:
    """The matrix (length, given) of one axis in blocks of rows: each with the range of columns that it covers."""
    places = (torch.arange(length, dtype=torch.float64) + 0.5) * (given / length) - 0.5
    blocks = []
    for place in places.split(_BLOCK):
        columns, weights = _taps(place, given, sigma)
        low, high = int(columns.min()), int(columns.max()) + 1
        band = torch.zeros(len(place), high - low, dtype=torch.float64)
        blocks.append((low, high, band.scatter_add_(1, columns - low, weights)))
    return blocks


def _taps(place: Tensor, given: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Which pixels of `given` the values at some places are made of, and their weights, both (places, taps)."""
    first = place.floor()
    t = (place - first)[:, None]
    cubic = [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]
    near = (first.long()[:, None] + torch.arange(-1, 3)).clamp(0, given - 1)
    radius = int(4 * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1)
    gauss = torch.exp(-0.5 * (steps.double() / max(sigma, 1e-9)).square())
    pixels = (near[:, :, None] + steps).clamp(0, given - 1)
    weights = torch.cat(cubic, 1)[:, :, None] * (gauss / gauss.sum())
    return pixels.flatten(1), weights.flatten(1)


def _nearest(weights: Tensor, size: Size) -> Tensor:
    return F.interpolate(weights, size=size, mode="nearest-exact")


PYRAMIDS = {
    "aspect": Pyramid(_proportional, resize, resize_weights, resize, masks_from_top=False),
    "square": Pyramid(_square, _blur_and_sample, _nearest, _sample, masks_from_top=True),
}
