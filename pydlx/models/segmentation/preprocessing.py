"""From pictures to what a network was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_one_of, described

# Mean and divisor of each channel of an image from 0 to 255, and whether blue comes first.
PREPROCESSINGS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], bool]] = {
    "caffe_bgr": ((104.00699, 116.66877, 122.67892), (1, 1, 1), True),
    "torchvision_rgb": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "efficientnet_lite": ((127, 127, 127), (128, 128, 128), False),
}


def preprocess(image: Tensor | np.ndarray, preprocessing: str) -> Tensor:
    """A picture as a network's input.

    Args:
        image: RGB in uint8, (H, W, 3), or several of one size, (N, H, W, 3); a tensor or an array.
        preprocessing: ``model.preprocessing``. ``"caffe_bgr"``: blue, green, red minus their means, as FCN's authors
            and the original VGG16. ``"torchvision_rgb"``: red, green, blue minus mean, over standard deviation.
            ``"efficientnet_lite"``: (x - 127) / 128.

    Returns:
        float32, (3, H, W) or (N, 3, H, W), where the image is.

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


def picture_of(x: Tensor, preprocessing: str) -> np.ndarray:
    """The picture whose `preprocess` gave x, (3, H, W); (H, W, 3) uint8."""
    mean, divisor, blue_first = PREPROCESSINGS[preprocessing]
    pixels = x.detach().float().cpu().movedim(0, -1) * torch.tensor(divisor) + torch.tensor(mean)
    picture = pixels.round().clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(picture[..., ::-1]) if blue_first else picture
