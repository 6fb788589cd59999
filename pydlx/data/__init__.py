"""Readers of the files that data sets come in."""

from pydlx.data.annotations import AnnotationWarning
from pydlx.data.composites import Composite, Light, RandomComposites, RandomRegions, ScenePairs, random_light
from pydlx.data.detection import BoxedImage, CocoBoxes
from pydlx.data.image_sets import ClassifiedImage, ImageSet, PhotographFolders, cifar10, stl10
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
    "ClassifiedImage",
    "CocoBoxes",
    "Composite",
    "ImageLabelFolders",
    "ImageSet",
    "LabelMapPairs",
    "LabelledImage",
    "Light",
    "PhotographFolders",
    "Photographs",
    "RandomComposites",
    "RandomRegions",
    "ScenePairs",
    "camvid",
    "cifar10",
    "class_pixels",
    "median_frequency_weights",
    "random_light",
    "read_label_map",
    "stl10",
    "voc",
]
