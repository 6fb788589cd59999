"""Losses as modules, over the differentiable ops."""

from pydlx.losses.oks import OKSLoss

__all__ = ["OKSLoss"]
