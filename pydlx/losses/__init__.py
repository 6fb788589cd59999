"""Losses as modules, over the differentiable ops."""

from pydlx.losses.corner import (
    CornerLoss,
    CornerLosses,
    CornerMaps,
    CornerTargets,
    corner_focal_loss,
    corner_offset_loss,
    corner_tag_loss,
)
from pydlx.losses.oks import OKSLoss
from pydlx.losses.ssim import SSIMLoss
from pydlx.losses.zlpr import ZLPRLoss

__all__ = [
    "CornerLoss",
    "CornerLosses",
    "CornerMaps",
    "CornerTargets",
    "OKSLoss",
    "SSIMLoss",
    "ZLPRLoss",
    "corner_focal_loss",
    "corner_offset_loss",
    "corner_tag_loss",
]
