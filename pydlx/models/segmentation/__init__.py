"""Semantic segmentation: FCN-32s, FCN-16s and FCN-8s, their backbones, and loading of pretrained weights."""

from pydlx.models.segmentation.fcn import FCN, FCN8s, FCN8sAtOnce, FCN16s, FCN32s
from pydlx.models.segmentation.prediction import segment
from pydlx.models.segmentation.preprocessing import PREPROCESSINGS, preprocess
from pydlx.models.segmentation.transplant import (
    Transplant,
    load_efficientnet_lite0,
    load_hed_vgg16,
    load_vgg16,
    transplant,
)

__all__ = [
    "FCN",
    "PREPROCESSINGS",
    "FCN8s",
    "FCN8sAtOnce",
    "FCN16s",
    "FCN32s",
    "Transplant",
    "load_efficientnet_lite0",
    "load_hed_vgg16",
    "load_vgg16",
    "preprocess",
    "segment",
    "transplant",
]
