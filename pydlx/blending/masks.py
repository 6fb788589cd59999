"""Masks that just work: any dtype, any number of channels, hard or soft."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from pydlx.blending.images import Image, as_tensor, dtype_name, full_scale, not_finite, planes_view
from pydlx.files.colours import ImageWarning

Size = tuple[int, int]


def decode_mask(
    mask: Image, source: Size, target: Size, batch: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Returns weights in [0, 1] of shape (1 or N, 1, height, width), of the source's size or of the target's.

    * bool and floats in [0, 1] are weights already. Integers are scaled by the largest value of each mask: up to 1
      it is a 0/1 mask, up to 255 an 8-bit one, up to 65535 a 16-bit one.
    * Of grey with alpha and of RGBA, alpha counts where it varies and the colours where it does not; of colours the
      largest channel counts, so red paint on black is a mask.
    * Beside a batch of N images three axes of shape (N, height, width) are one mask for each image.

    An integer mask that is neither black nor white on most of its pixels brings an `ImageWarning`: it may be a picture.
    """
    tensor = as_tensor("mask", mask)
    wanted = f"blend: mask must have the height and width of the source, {source}, or of the target, {target}, got"
    if tensor.ndim not in (2, 3, 4) or tensor.numel() == 0:
        raise ValueError(f"{wanted} shape {tuple(tensor.shape)}")
    if batch > 1 and tuple(tensor.shape) in ((batch, *source), (batch, *target)):
        planes = tensor[:, None]
    else:
        planes = planes_view(tensor, channels_last=not isinstance(mask, Tensor))
    if planes.shape[-2:] not in (source, target):
        raise ValueError(f"{wanted} {tuple(planes.shape[-2:])}")
    if planes.shape[0] not in (1, batch):
        raise ValueError(f"blend: mask must be one mask or {batch}, one for each target, got {planes.shape[0]}")
    return _weights(_one_channel(planes.to(device)), dtype)


def _one_channel(planes: Tensor) -> Tensor:
    """Reduces the channels of (N, C, h, w) to the one that tells where the object is."""
    channels = planes.shape[1]
    if channels == 1:
        return planes
    if channels not in (2, 3, 4):
        raise ValueError(f"blend: mask must have 1 to 4 channels, got {channels}")
    if planes.dtype == torch.uint16:  # torch has no maximum of uint16
        planes = planes.to(torch.int32)
    if channels in (2, 4):
        alpha = planes[:, -1:]
        if alpha.min() != alpha.max():
            return alpha
        planes = planes[:, :-1]
    return planes.amax(1, keepdim=True)


def _weights(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype == torch.bool:
        return mask.to(dtype)
    if mask.is_complex():
        raise TypeError(f"blend: mask must be bool, integer or floating, got {dtype_name(mask.dtype)}")
    weights = mask.to(dtype)
    low, high, grey = torch.stack([*torch.aminmax(weights.detach()), _share_of_grey(mask, weights)]).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise not_finite("mask")
    scales = (1,) if mask.is_floating_point() else (1, 255, 65535)
    if low < 0 or high > scales[-1]:
        name = dtype_name(mask.dtype)
        raise ValueError(f"blend: mask of {name} must hold values from 0 to {scales[-1]}, got {low:g} to {high:g}")
    if grey > 0.5:
        warnings.warn(
            f"blend: mask is neither black nor white on {grey:.0%} of its pixels and counts as a soft one; "
            "is it a picture, given in the place of the mask?",
            ImageWarning,
            stacklevel=6,
        )
    # Each mask has a scale of its own, so that frames come out as they would alone.
    largest = [high] if len(weights) == 1 else weights.detach().amax((1, 2, 3)).tolist()
    each = [next(scale for scale in scales if most <= scale) for most in largest]
    return weights if set(each) == {1} else weights / weights.new_tensor(each)[:, None, None, None]


def _share_of_grey(mask: Tensor, weights: Tensor) -> Tensor:
    """The share of pixels that are far from black and white, 0 for floating masks: those were made on purpose."""
    if mask.is_floating_point():
        return weights.new_zeros(())
    values = mask if mask.dtype == torch.uint8 else weights  # bytes are four times as fast, torch compares no uint16
    white = full_scale(mask.dtype) if mask.dtype in (torch.uint8, torch.uint16) else 255
    grey = (values > white // 50) & (values < white - white // 50)
    return grey.count_nonzero().to(weights.dtype) / grey.numel()
