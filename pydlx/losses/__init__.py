"""Losses as modules, over the differentiable ops."""

from pydlx.losses.oks import OKSLoss
from pydlx.losses.ssim import SSIMLoss

__all__ = ["OKSLoss", "SSIMLoss"]
