"""Bilinear upsampling as a transposed convolution, fixed or learned.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", arXiv 1411.4038. Along each axis
the kernel has k = 2s - s mod 2 taps, which fall off linearly from its centre c = (k - 1) / 2:

    w_i = 1 - |i - c| / f        f = (k + 1) // 2 = s
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_flag, check_floating, check_floating_dtype, check_one_of, whole


def bilinear_kernel(size: int, dtype: torch.dtype | None = None) -> Tensor:
    """The kernel of bilinear upsampling by (size + 1) // 2, of shape (size, size)."""
    size = whole("bilinear_kernel", "size", size, 1)
    check_floating_dtype("bilinear_kernel", "dtype", dtype)
    distance = (torch.arange(size, dtype=dtype or torch.get_default_dtype()) - (size - 1) / 2).abs()
    line = 1 - distance / ((size + 1) // 2)
    return line[:, None] * line


def _device(name: str, device: torch.device | str | None) -> torch.device | None:
    try:
        return None if device is None else torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"{name}: device must be a device or its name, got {device!r}") from None


class BilinearUpsample2d(nn.Module):
    """Bilinear upsampling of (N, C, H, W) to (N, C, H scale, W scale), separately for each channel.

    It equals ``torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)``
    everywhere if the border is replicated, and farther than `scale` pixels from the border if it is zero.

    Args:
        channels: Channels of the input.
        scale: Whole factor to enlarge by.
        learned: Whether the kernel, initialised as bilinear, is trained.
        border: What lies outside of the input: ``"zero"``, as in the paper, or ``"replicate"``, its outermost pixels.
        kernel_size: 2 scale or 2 scale - 1, to get the uncropped result of a kernel of this size, with
            (H - 1) scale + kernel_size rows. With 2 scale, input row i is centred between rows, at
            scale i + scale - 1/2; with 2 scale - 1, on row scale i + scale - 1. By default the result is cropped to
            H scale rows.
        dense: Whether the weight has a kernel for each pair of channels, as in Caffe's and the authors' files:
            initially bilinear from a channel to itself, and zero between different channels.
        device: Device of the kernel.
        dtype: dtype of the kernel. Set it rather than casting later: a float32 kernel cast to float64 is less accurate.

    Attributes:
        weight: (channels, 1, k, k), or (channels, channels, k, k) if dense; in the state dict, learned or not.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        channels: int,
        scale: int,
        learned: bool = False,
        border: str = "zero",
        *,
        kernel_size: int | None = None,
        dense: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = "BilinearUpsample2d"
        channels, scale = whole(name, "channels", channels, 1), whole(name, "scale", scale, 1)
        check_flag(name, "learned", learned)
        check_one_of(name, "border", border, ("zero", "replicate"))
        check_flag(name, "dense", dense)
        check_floating_dtype(name, "dtype", dtype)
        size = 2 * scale - scale % 2
        if kernel_size is not None:
            size = whole(name, "kernel_size", kernel_size, 2 * scale - 1, 2 * scale)
        kernel = bilinear_kernel(size, dtype).to(_device(name, device))
        self.channels = channels
        self.scale = scale
        self.learned = bool(learned)
        self.border = border
        self.dense = bool(dense)
        # Crop what the kernel adds before the first pixel's own rows, so that the grids' corners align.
        self.padding = scale // 2 if kernel_size is None else 0
        weight = kernel.repeat(channels, 1, 1, 1)
        if dense:
            weight = torch.eye(channels, dtype=weight.dtype, device=weight.device)[:, :, None, None] * kernel
        self.weight = nn.Parameter(weight, requires_grad=self.learned)
        if dense and not learned:
            self.register_load_state_dict_pre_hook(_refuse_learned)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge x of shape (N, channels, H, W)."""
        check_floating("BilinearUpsample2d", "x", x)
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(f"BilinearUpsample2d: x must have shape (N, {self.channels}, H, W), got {tuple(x.shape)}")
        padding = self.padding
        if self.border == "replicate":
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
            padding += self.scale
        if self.dense and self.learned:
            return F.conv_transpose2d(x, self.weight, stride=self.scale, padding=padding)
        weight: Tensor = self.weight
        if self.dense:  # off the diagonal it is zero; the full product would take `channels` times as long
            weight = weight.diagonal().permute(2, 0, 1).unsqueeze(1)
        return F.conv_transpose2d(x, weight, stride=self.scale, padding=padding, groups=self.channels)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.channels}, scale={self.scale}, learned={self.learned}, border={self.border!r}, dense={self.dense}"
        )


def _refuse_learned(layer: BilinearUpsample2d, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Refuse a weight with entries off the diagonal, which a dense layer that is not learned would ignore."""
    weight = weights.get(f"{prefix}weight")
    if weight is None or weight.shape != layer.weight.shape or weight.is_meta:
        return
    if weight[~torch.eye(layer.channels, dtype=torch.bool, device=weight.device)].any():
        raise ValueError(f"BilinearUpsample2d: {prefix}weight must be zero between channels unless learned, got others")
