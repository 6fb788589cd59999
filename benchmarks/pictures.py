"""Pictures and masks for measuring, drawn from seeds: no files, the same on every machine."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def natural_picture(shape: tuple[int, ...], seed: int) -> Tensor:
    """A picture (C, H, W) with whole grey levels from 0 to 255 and about a photograph's spectrum."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    picture = torch.zeros(1, *shape)
    for octave in range(1, 1 + max(1, int(math.log2(min(height, width))))):
        cells = (min(height, 2**octave), min(width, 2**octave))
        noise = torch.randn(1, channels, *cells, generator=generator) / 1.5**octave
        picture += F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    low, high = picture.aminmax()
    return ((picture - low) * (255 / (high - low))).round()[0]


def irregular_mask(side: int, seed: int) -> Tensor:
    """A bool mask (side, side): four arms that reach the sides, a ragged rim and holes; half of the square is in it."""
    coarse, fine = (_smooth_noise(side, cells, seed + cells) for cells in (20, side // 16))
    axis = torch.linspace(-1, 1, side)
    rows, columns = axis[:, None], axis[None, :]
    rim = 0.8 + 0.22 * torch.cos(4 * torch.atan2(rows, columns)) + 0.03 * fine
    return (torch.hypot(rows, columns) < rim) & (coarse < 1.5)


def _smooth_noise(side: int, cells: int, seed: int) -> Tensor:
    noise = torch.randn(1, 1, cells, cells, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)[0, 0]


def label_maps(shape: tuple[int, int], classes: int, ignored: int, seed: int) -> tuple[Tensor, Tensor]:
    """Prediction and truth (H, W) as of street scenes: regions with smooth rims in the truth, ragged in the prediction.

    A twentieth of the truth is `ignored`.
    """
    height, width = shape
    coarse = natural_picture((3, max(2, height // 32), max(2, width // 32)), seed)[None]
    smooth = F.interpolate(coarse, size=shape, mode="bilinear", align_corners=False)[0]
    ragged = smooth + torch.randn(smooth.shape, generator=torch.Generator().manual_seed(seed))

    def regions(picture: Tensor) -> Tensor:
        levels = (picture[:2] / 256 * 5).long().clamp(0, 4)
        return (levels[0] * 5 + levels[1]) % classes

    void = smooth[2] < smooth[2].flatten().kthvalue(max(1, height * width // 20)).values
    return regions(ragged), torch.where(void, ignored, regions(smooth))
