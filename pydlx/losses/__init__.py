"""Losses as modules, over the differentiable ops."""

from pydlx.losses.ssim import SSIMLoss

__all__ = ["SSIMLoss"]
