"""Readers of the files that data sets come in."""

from pydlx.data.annotations import AnnotationWarning
from pydlx.data.detection import BoxedImage, CocoBoxes
from pydlx.data.label_maps import LabelMapPairs, read_label_map
from pydlx.data.photographs import Photographs
from pydlx.data.segmentation import (
    ImageLabelFolders,
    LabelledImage,
    camvid,
    class_pixels,
    median_frequency_weights,
    voc,
)

__all__ = [
    "AnnotationWarning",
    "BoxedImage",
    "CocoBoxes",
    "ImageLabelFolders",
    "LabelMapPairs",
    "LabelledImage",
    "Photographs",
    "camvid",
    "class_pixels",
    "median_frequency_weights",
    "read_label_map",
    "voc",
]
