"""Object detection: CornerNet, its training targets, and inference on images."""

from pydlx.models.detection.corner_targets import corner_targets, gaussian_radius
from pydlx.models.detection.cornernet import (
    CornerNet,
    cornernet_hourglass52,
    cornernet_hourglass104,
    cornernet_squeeze,
)
from pydlx.models.detection.cornernet_images import normalize_image
from pydlx.models.detection.cornernet_inference import Detections, detect

__all__ = [
    "CornerNet",
    "Detections",
    "corner_targets",
    "cornernet_hourglass52",
    "cornernet_hourglass104",
    "cornernet_squeeze",
    "detect",
    "gaussian_radius",
    "normalize_image",
]
