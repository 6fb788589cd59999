"""Images as users hold them, and as the solvers want them.

=========  =========================================================  ==========================
kind       layout                                                     seen here as
=========  =========================================================  ==========================
NumPy      ``(H, W)``, ``(H, W, C)`` or a batch ``(N, H, W, C)``      a view ``(N, C, H, W)``
torch      ``(H, W)``, ``(C, H, W)`` or a batch ``(N, C, H, W)``      a view ``(N, C, H, W)``
=========  =========================================================  ==========================

`pydlx.blending.pillow` makes NumPy arrays of Pillow's pictures.

Integer images (uint8, uint16) use their full range, floating ones are taken as they are: high dynamic range passes
through unscaled and unclipped. The arithmetic runs in the target's own unit (0..255 for uint8), in float64 when an
image is float64 and in float32 otherwise.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from pydlx._autograd import clipped

Image: TypeAlias = "np.ndarray | Tensor"

ROUNDINGS = ("nearest", "truncate")

_DTYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FULL_SCALE = {torch.uint8: 255, torch.uint16: 65535}

# Rec. 601, as in OpenCV's and Pillow's conversion to grey.
_LUMA = (0.299, 0.587, 0.114)


def as_tensor(name: str, array: Image) -> Tensor:
    """Returns `array` as a tensor, sharing its memory where torch can."""
    if isinstance(array, Tensor):
        return array
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"blend: {name} must be a NumPy array, a torch tensor or a Pillow image, got {type(array).__name__}"
        )
    # torch takes neither read-only memory (arrays made by Pillow) nor negative strides (image[..., ::-1]).
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise TypeError(f"blend: {name} has a dtype torch does not know: {array.dtype}") from None


def as_planes(name: str, image: Image) -> Tensor:
    """Returns `image` as a view of shape (N, C, H, W) in its own dtype."""
    tensor = as_tensor(name, image)
    if tensor.dtype not in _DTYPES:
        raise TypeError(f"blend: {name} must be uint8, uint16 or floating, got {dtype_name(tensor.dtype)}")
    channels_last = isinstance(image, np.ndarray)
    if tensor.ndim not in (2, 3, 4):
        layouts = "(H, W, C) or (N, H, W, C)" if channels_last else "(C, H, W) or (N, C, H, W)"
        raise ValueError(f"blend: {name} must have shape (H, W), {layouts}, got {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        raise ValueError(f"blend: {name} is empty, its shape is {tuple(tensor.shape)}")
    return planes_view(tensor, channels_last)


def planes_view(tensor: Tensor, channels_last: bool) -> Tensor:
    """Views a tensor of 2, 3 or 4 axes as (N, C, H, W)."""
    if tensor.ndim == 2:
        return tensor[None, None]
    if channels_last:
        tensor = tensor.movedim(-1, -3)
    return tensor if tensor.ndim == 4 else tensor[None]


def split_alpha(planes: Tensor) -> tuple[Tensor, Tensor | None]:
    """Splits (N, C, H, W) into colours and alpha: the last of 2 (grey, alpha) or 4 (RGBA) channels."""
    if planes.shape[1] in (2, 4):
        return planes[:, :-1], planes[:, -1:]
    return planes, None


def full_scale(dtype: torch.dtype) -> int:
    """The value of white: 255, 65535, or 1 for floating images."""
    return _FULL_SCALE.get(dtype, 1)


def luma(planes: Tensor) -> Tensor:
    """Grey of floating (N, 3, H, W) as (N, 1, H, W)."""
    weights = planes.new_tensor(_LUMA)[:, None, None]
    return (planes * weights).sum(1, keepdim=True)


def convert(planes: Tensor, scale_to: torch.dtype, dtype: torch.dtype) -> Tensor:
    """Returns `planes` contiguous in the working `dtype`, in the unit of images of dtype `scale_to`."""
    ratio = full_scale(scale_to) / full_scale(planes.dtype)
    planes = planes.to(dtype=dtype, memory_format=torch.contiguous_format)
    return planes if ratio == 1 else planes * ratio


def quantise(values: Tensor, dtype: torch.dtype, rounding: str, clip: bool) -> Tensor:
    """Turns working values into image values of `dtype`; floats are clipped to [0, 1] only where `clip` asks for it.

    The working values of integer images are changed.
    """
    if dtype.is_floating_point:
        return (clipped(values, 0, 1) if clip else values).to(dtype)
    values = values.detach().clamp_(0, full_scale(dtype))
    if rounding == "nearest":
        values.round_()
    return values.to(dtype)


def is_finite(values: Tensor) -> bool:
    """Whether there is neither NaN nor infinity."""
    if values.numel() == 0:
        return True
    return bool(torch.stack(torch.aminmax(values.detach())).isfinite().all())


def check_finite(name: str, values: Tensor) -> None:
    """Refuses NaN and infinities: a solve would spread them over the whole picture."""
    if not is_finite(values):
        raise not_finite(name)


def not_finite(name: str) -> ValueError:
    """What `check_finite` raises."""
    return ValueError(f"blend: {name} holds NaN or infinite values where the blend reads it")


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")
