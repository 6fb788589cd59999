"""Networks that label every pixel."""

from pydlx.models.segmentation.fcn import FCN, FCN8s, FCN8sAtOnce, FCN16s, FCN32s
from pydlx.models.segmentation.preprocessing import PREPROCESSINGS, preprocess

__all__ = ["FCN", "PREPROCESSINGS", "FCN8s", "FCN8sAtOnce", "FCN16s", "FCN32s", "preprocess"]
