"""Pictures as CornerNet takes them: blue, green, red, normalised as in the published code, with sides that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import described

# Of blue, green and red over COCO's pictures, between 0 and 1.
MEAN = (0.40789654, 0.44719302, 0.47026115)
STD = (0.28863828, 0.27408164, 0.27809835)


def normalize_image(image: Any) -> Tensor:
    """A picture as the network takes it; also what to train on.

    Args:
        image: (H, W, 3) uint8 as red, green, blue: a NumPy array, a tensor, or what NumPy makes an array of.

    Returns:
        (3, H, W) float32, blue first, less the mean and over the standard deviation of COCO's pictures.

    Raises:
        TypeError: If the numbers are not uint8.
        ValueError: If the shape is another, or a side is 0.
    """
    return normalized(bgr_pixels("normalize_image", image))


def bgr_pixels(name: str, image: Any) -> Tensor:
    """(H, W, 3) uint8 red, green, blue to (3, H, W) float32 blue, green, red, from 0 to 255."""
    pixels = image if isinstance(image, Tensor) else np.asarray(image)
    if pixels.dtype not in (torch.uint8, np.uint8):
        raise TypeError(f"{name}: image must be uint8 red, green, blue, got {described(image)}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"{name}: image must have shape (H, W, 3), got {tuple(pixels.shape)}")
    pixels = pixels if isinstance(pixels, Tensor) else torch.tensor(pixels)
    return pixels.flip(2).permute(2, 0, 1).float()


def normalized(pixels: Tensor) -> Tensor:
    """(3, H, W) blue, green, red from 0 to 255, less the mean and over the standard deviation."""
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def padded(pixels: Tensor, multiple: int) -> tuple[Tensor, int, int]:
    """Black around (3, H, W) to sides of a multiple less one, and how many columns are left of it and rows above it.

    The multiple is a power of two.
    """
    height, width = pixels.shape[1:]
    full_height, full_width = height | (multiple - 1), width | (multiple - 1)
    left, top = (full_width - width) // 2, (full_height - height) // 2
    borders = (left, full_width - width - left, top, full_height - height - top)
    return F.pad(pixels, borders), left, top
