"""Loss functions and modules, built on the differentiable ops."""

from pydlx.losses.adaptive_threshold import (
    AdaptiveFocalLoss,
    AdaptiveThresholdLoss,
    adaptive_focal_loss,
    adaptive_threshold_loss,
    threshold_labels,
)
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
    "AdaptiveFocalLoss",
    "AdaptiveThresholdLoss",
    "CornerLoss",
    "CornerLosses",
    "CornerMaps",
    "CornerTargets",
    "OKSLoss",
    "SSIMLoss",
    "ZLPRLoss",
    "adaptive_focal_loss",
    "adaptive_threshold_loss",
    "corner_focal_loss",
    "corner_offset_loss",
    "corner_tag_loss",
    "threshold_labels",
]
