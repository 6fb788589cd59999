"""Structural dissimilarity as a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from pydlx.ops.ssim import check_data_range, check_options, ssim, window_of

fx.wrap("promoted_ssim")  # torch.fx.symbolic_trace keeps the call as one node


def promoted_ssim(x: Tensor, y: Tensor, *options: Any, **named: Any) -> Tensor:
    """`ssim` of images of one dtype, or of two floating-point dtypes in the wider one."""
    if x.dtype != y.dtype and x.is_floating_point() and y.is_floating_point():
        common = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(common), y.to(common)
    return ssim(x, y, *options, **named)


class SSIMLoss(nn.Module):
    """``1 - SSIM``: 0 for equal images; see :func:`pydlx.ops.ssim`.

    To mix it with an absolute error, as Zhao et al. do ("Loss functions for image restoration with neural networks",
    IEEE Transactions on Computational Imaging 3(1), 2017), add the two.

    Args:
        data_range: Largest minus smallest possible value of an image.
        convention: ``"wang2004"``, ``"skimage"`` or ``"torchmetrics"``.
        reduction: ``"mean"``; ``"none"`` for one value per image; ``"map"`` for one per window and channel.
        kernel_size: Side of the window; None for the convention's.
        sigma: Standard deviation of the window's Gaussian, 0 for a uniform window; None for the convention's.
        k1: Stabiliser of the luminance term.
        k2: Stabiliser of the contrast and structure term.
    """

    def __init__(
        self,
        data_range: float,
        convention: str = "wang2004",
        *,
        reduction: str = "mean",
        kernel_size: int | None = None,
        sigma: float | None = None,
        k1: float = 0.01,
        k2: float = 0.03,
    ) -> None:
        super().__init__()
        check_data_range("SSIMLoss", data_range)
        check_options("SSIMLoss", convention, reduction, k1, k2)
        window_of("SSIMLoss", convention, kernel_size, sigma)
        self.data_range = data_range
        self.convention = convention
        self.reduction = reduction
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.k1 = k1
        self.k2 = k2

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of x, (N, C, H, W) or (N, C, D, H, W), against y of the same shape; differentiable in both.

        Two floating-point dtypes are promoted, as an output under autocast and a float32 target need it.
        """
        return 1 - promoted_ssim(
            x,
            y,
            self.data_range,
            convention=self.convention,
            reduction=self.reduction,
            kernel_size=self.kernel_size,
            sigma=self.sigma,
            k1=self.k1,
            k2=self.k2,
        )

    def extra_repr(self) -> str:
        """The options."""
        return f"data_range={self.data_range}, convention={self.convention!r}, reduction={self.reduction!r}"
