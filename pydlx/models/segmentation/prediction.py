"""Inference with an FCN: from an image to the class of every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx.models.segmentation.fcn import FCN
from pydlx.models.segmentation.preprocessing import preprocess


@torch.no_grad()
def segment(model: FCN, image: Tensor | np.ndarray) -> Tensor:
    """Return the most probable class of every pixel.

    Args:
        model: In evaluation mode, as ``load_model`` returns it.
        image: (H, W, 3) uint8 RGB, a tensor or an array.

    Returns:
        (H, W) int64, on the model's device. Ties go to the first class.

    Raises:
        TypeError: If the image is not uint8.
        ValueError: If it has another shape, or the model is in training mode.
    """
    if model.training:
        raise ValueError("segment: model must be in evaluation mode, call model.eval()")
    weight: Any = next(model.parameters())
    batch = preprocess(image, model.preprocessing)[None]
    return model(batch.to(weight.device, weight.dtype))[0].argmax(0)
