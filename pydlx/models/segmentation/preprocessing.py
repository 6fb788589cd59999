"""Preprocessing of images, as the pretrained weights expect it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_one_of, described

# Mean and divisor of each channel, for values from 0 to 255, and whether channels are BGR.
PREPROCESSINGS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], bool]] = {
    "caffe_bgr": ((104.00699, 116.66877, 122.67892), (1, 1, 1), True),
    "torchvision_rgb": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "efficientnet_lite": ((127, 127, 127), (128, 128, 128), False),
}


def preprocess(image: Tensor | np.ndarray, preprocessing: str) -> Tensor:
    """Convert images to a network's input.

    Args:
        image: (H, W, 3) uint8 RGB, or a batch (N, H, W, 3); a tensor or an array.
        preprocessing: ``model.preprocessing``. ``"caffe_bgr"``: BGR minus the channel means, as for the original VGG16
            and FCN. ``"torchvision_rgb"``: RGB minus the means, divided by the standard deviations.
            ``"efficientnet_lite"``: RGB, (x - 127) / 128.

    Returns:
        (3, H, W) or (N, 3, H, W) float32, on the image's device.

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If it has another shape, or there is no such preprocessing.
    """
    check_one_of("preprocess", "preprocessing", preprocessing, PREPROCESSINGS)
    pixels: Any = torch.from_numpy(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8:
        raise TypeError(f"preprocess: image must be an array or tensor of uint8, got {described(image)}")
    if pixels.dim() not in (3, 4) or pixels.shape[-1] != 3:
        raise ValueError(f"preprocess: image must have shape (H, W, 3) or (N, H, W, 3), got {tuple(pixels.shape)}")
    mean, divisor, blue_first = PREPROCESSINGS[preprocessing]
    if blue_first:
        pixels = pixels.flip(-1)
    normalised = (pixels - pixels.new_tensor(mean, dtype=torch.float32)) / pixels.new_tensor(
        divisor, dtype=torch.float32
    )
    return normalised.movedim(-1, -3).contiguous()


def image_of(x: Tensor, preprocessing: str) -> np.ndarray:
    """Invert `preprocess`: from x (3, H, W) to an image (H, W, 3) uint8."""
    mean, divisor, blue_first = PREPROCESSINGS[preprocessing]
    pixels = x.detach().float().cpu().movedim(0, -1) * torch.tensor(divisor) + torch.tensor(mean)
    picture = pixels.round().clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(picture[..., ::-1]) if blue_first else picture
