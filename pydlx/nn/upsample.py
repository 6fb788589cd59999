"""Bilinear upsampling as a transposed convolution, fixed or learned.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", arXiv 1411.4038. Along each axis
the kernel of k = 2s - s mod 2 cells falls off linearly from its centre c = (k - 1) / 2:

    w_i = 1 - |i - c| / f        f = (k + 1) // 2 = s
"""

from __future__ import annotations

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
    """Bilinear upsampling of (N, C, H, W) to (N, C, H scale, W scale), each channel on its own.

    It equals ``torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)``:
    everywhere with the replicated border, and farther than `scale` from the border with the zero one, which fades out
    there.

    Args:
        channels: Channels of the input.
        scale: Whole factor to enlarge by.
        learned: Let the kernel, which starts bilinear, be trained.
        border: What lies outside of the input: ``"zero"``, as in the paper, or ``"replicate"``, its outermost cells.
        device: Where the kernel lies.
        dtype: Its type; a kernel made in float32 and cast to float64 stays as coarse as it was.

    Attributes:
        weight: (channels, 1, k, k); it is in the state dict whether learned or not.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        name = "BilinearUpsample2d"
        channels, scale = whole(name, "channels", channels, 1), whole(name, "scale", scale, 1)
        check_flag(name, "learned", learned)
        check_one_of(name, "border", border, ("zero", "replicate"))
        check_floating_dtype(name, "dtype", dtype)
        kernel = bilinear_kernel(2 * scale - scale % 2, dtype).to(_device(name, device))
        self.channels = channels
        self.scale = scale
        self.learned = bool(learned)
        self.border = border
        # Half of the kernel that reaches beyond the first cell; cut off, so that the corners of the two grids agree.
        self.padding = scale // 2
        self.weight = nn.Parameter(kernel.repeat(channels, 1, 1, 1), requires_grad=self.learned)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge x of shape (N, channels, H, W)."""
        check_floating("BilinearUpsample2d", "x", x)
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(f"BilinearUpsample2d: x must have shape (N, {self.channels}, H, W), got {tuple(x.shape)}")
        padding = self.padding
        if self.border == "replicate":
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
            padding += self.scale
        return F.conv_transpose2d(x, self.weight, stride=self.scale, padding=padding, groups=self.channels)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.channels}, scale={self.scale}, learned={self.learned}, border={self.border!r}"
