"""The pyramids of Gaussian-Poisson blending: sizes of the levels, and how pictures and masks get from one to the next.

==========  ==========================================  ========================================================
name        sizes below the top                         smaller pictures and masks
==========  ==========================================  ========================================================
``aspect``  longer side 64·2^i, same proportions        bicubic widened against aliasing; masks triangle, likewise
``square``  (64·2^i, 64·2^i), as GP-GAN has them        Gaussian of σ = 1, then bicubic; masks nearest pixel
==========  ==========================================  ========================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

_COARSEST = 64


@dataclass(frozen=True)
class Pyramid:
    """How a picture is taken to smaller sizes.

    Attributes:
        lower_size: size of the level with longer side `side`, for a picture of the given size.
        shrink: resamples pictures (N, C, H, W) to a smaller size.
        shrink_weights: the same for masks in [0, 1].
    """

    lower_size: Callable[[Size, int], Size]
    shrink: Callable[[Tensor, Size], Tensor]
    shrink_weights: Callable[[Tensor, Size], Tensor]

    def sizes(self, size: Size) -> list[Size]:
        """Sizes of all levels from coarse to fine; the last is `size` itself, the only one up to 64 pixels."""
        count = max(0, math.ceil(math.log2(max(size) / _COARSEST)))
        return [self.lower_size(size, _COARSEST * 2**level) for level in range(count)] + [size]


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
    return F.interpolate(gaussian_blur(planes, 1.0), size=size, mode="bicubic")


def _nearest(weights: Tensor, size: Size) -> Tensor:
    return F.interpolate(weights, size=size, mode="nearest-exact")


PYRAMIDS = {
    "aspect": Pyramid(_proportional, resize, resize_weights),
    "square": Pyramid(_square, _blur_and_sample, _nearest),
}
