"""Readers of the files that data sets come in."""

from pydlx.data.label_maps import LabelMapPairs, read_label_map

__all__ = ["LabelMapPairs", "read_label_map"]
