"""Readers of the files that data sets come in."""

from pydlx.data.annotations import AnnotationWarning
from pydlx.data.label_maps import LabelMapPairs, read_label_map

__all__ = ["AnnotationWarning", "LabelMapPairs", "read_label_map"]
