"""Images as CornerNet's input: BGR, normalised as in the published code, padded to sizes that the network takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import described

# Mean and standard deviation of blue, green and red over COCO's images, scaled to [0, 1].
MEAN = (0.40789654, 0.44719302, 0.47026115)
STD = (0.28863828, 0.27408164, 0.27809835)


def normalize_image(image: Any) -> Tensor:
    """Convert an image to CornerNet's input, for training as well as for inference.

    Args:
        image: (H, W, 3) uint8 RGB: a NumPy array, a tensor, or anything that NumPy converts to an array.

    Returns:
        (3, H, W) float32 BGR, minus COCO's mean and divided by its standard deviation.

    Raises:
        TypeError: If the numbers are not uint8.
        ValueError: If it has another shape, or a side is 0.
    """
    return normalized(bgr_pixels("normalize_image", image))


def bgr_pixels(name: str, image: Any) -> Tensor:
    """Convert (H, W, 3) uint8 RGB to (3, H, W) float32 BGR, from 0 to 255."""
    pixels = image if isinstance(image, Tensor) else np.asarray(image)
    if pixels.dtype not in (torch.uint8, np.uint8):
        raise TypeError(f"{name}: image must be uint8 red, green, blue, got {described(image)}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"{name}: image must have shape (H, W, 3), got {tuple(pixels.shape)}")
    pixels = pixels if isinstance(pixels, Tensor) else torch.tensor(pixels)
    return pixels.flip(2).permute(2, 0, 1).float()


def normalized(pixels: Tensor) -> Tensor:
    """Normalise (3, H, W) BGR from 0 to 255: minus the mean, divided by the standard deviation."""
    mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def padded(pixels: Tensor, multiple: int) -> tuple[Tensor, int, int]:
    """Pad (3, H, W) with black on all sides to the next size of the form k multiple - 1.

    Args:
        pixels: (3, H, W).
        multiple: A power of two.

    Returns:
        The padded image, and the number of columns added on the left and of rows added on top.
    """
    height, width = pixels.shape[1:]
    full_height, full_width = height | (multiple - 1), width | (multiple - 1)
    left, top = (full_width - width) // 2, (full_height - height) // 2
    borders = (left, full_width - width - left, top, full_height - height - top)
    return F.pad(pixels, borders), left, top
