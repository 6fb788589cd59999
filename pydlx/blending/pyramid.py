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

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

COARSEST = 64


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
    return F.interpolate(planes, size=size, mode="bicubic", antialias=True)


def resize_weights(weights: Tensor, size: Size) -> Tensor:
    """Resamples masks and other weights by a triangle filter, widened alike: no value leaves the range it came from."""
    if weights.shape[-2:] == size:
        return weights
    return F.interpolate(weights, size=size, mode="bilinear", antialias=True)


def gaussian_blur(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with taps out to 4 σ and replicated border."""
    radius = int(4 * sigma + 0.5)
    taps = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    total = taps[0] + 2 * sum(taps[1:])
    for axis, margins in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        padded = F.pad(planes, margins, mode="replicate")
        length = planes.shape[axis]
        blurred = padded.narrow(axis, radius, length) * (taps[0] / total)
        for k in range(1, radius + 1):
            blurred.add_(padded.narrow(axis, radius - k, length), alpha=taps[k] / total)
            blurred.add_(padded.narrow(axis, radius + k, length), alpha=taps[k] / total)
        planes = blurred
    return planes


def _proportional(size: Size, side: int) -> Size:
    height, width = (max(1, round(length * side / max(size))) for length in size)
    return height, width


def _square(_size: Size, side: int) -> Size:
    return side, side


def _blur_and_sample(planes: Tensor, size: Size) -> Tensor:
    return _sample(gaussian_blur(planes, 1.0), size)


def _sample(planes: Tensor, size: Size) -> Tensor:
    """Resamples by cubic convolution (Keys, a = −1/2) that is never widened, with replicated border.

    torch's bicubic without antialias has a = −3/4.
    """
    for axis, length in ((-2, size[0]), (-1, size[1])):
        planes = _sample_axis(planes, axis, length)
    return planes


def _sample_axis(planes: Tensor, axis: int, length: int) -> Tensor:
    given = planes.shape[axis]
    if given == length:
        return planes
    place = (torch.arange(length, dtype=torch.float64) + 0.5) * (given / length) - 0.5
    first = place.floor()
    t = place - first
    weights = (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    shape = (-1, 1) if axis == -2 else (-1,)
    result = None
    for step, weight in enumerate(weights, -1):
        pixels = (first.long() + step).clamp(0, given - 1)
        term = planes.index_select(axis, pixels.to(planes.device)) * weight.to(planes).view(shape)
        result = term if result is None else result + term
    return result


def _nearest(weights: Tensor, size: Size) -> Tensor:
    return F.interpolate(weights, size=size, mode="nearest-exact")


PYRAMIDS = {
    "aspect": Pyramid(_proportional, resize, resize_weights, resize, masks_from_top=False),
    "square": Pyramid(_square, _blur_and_sample, _nearest, _sample, masks_from_top=True),
}
