"""Data sets of images with boxes, in COCO's annotation format."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pydlx._checks import check_flag, check_path
from pydlx.data.annotations import AnnotationWarning
from pydlx.files import read_rgb


class BoxedImage(NamedTuple):
    """An image and the boxes of its objects."""

    name: str  # of the file
    image: np.ndarray  # (H, W, 3) uint8
    boxes: np.ndarray  # (n, 4) float64 as x1, y1, x2, y2 in pixels
    labels: np.ndarray  # (n,) int64, indices of class_names


class CocoBoxes(Sequence[BoxedImage]):
    """The images of a COCO annotation file with their boxes, without crowd regions. Images are read on access.

    Args:
        annotations: The annotation file.
        images: Folder of the images.
        keep_empty: Whether to keep images without a box.

    Attributes:
        class_names: Names of the categories, in the order of their ids.
        category_ids: Ids of the categories.
        image_ids: Ids of the images.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the annotation file is invalid.
        OSError: On access, if a file is no picture.
    """

    def __init__(
        self, annotations: str | os.PathLike[str], images: str | os.PathLike[str], *, keep_empty: bool = True
    ) -> None:
        check_path("CocoBoxes", "annotations", annotations)
        check_path("CocoBoxes", "images", images)
        check_flag("CocoBoxes", "keep_empty", keep_empty)
        # Imported here because it needs an optional package.
        from pydlx.data.coco import read_coco_listing, read_coco_truth

        truth = read_coco_truth(Path(annotations))
        names = read_coco_listing(Path(annotations)).file_names
        self.class_names, self.category_ids = tuple(truth.category_names), truth.category_ids.tolist()
        kept = ~truth.crowd
        order = np.flatnonzero(kept)[np.argsort(truth.images[kept], kind="stable")]
        bounds = np.searchsorted(truth.images[order], np.arange(len(truth.image_ids) + 1))
        self._boxes, self._labels = truth.boxes[order], truth.categories[order]
        self._rows = [(first, end) for first, end in itertools.pairwise(bounds) if keep_empty or end > first]
        ids = [image for image, n in zip(truth.image_ids, np.diff(bounds), strict=True) if keep_empty or n]
        self.image_ids = ids
        self.paths = [Path(images) / names[image] for image in ids]
        if missing := [path for path in self.paths if not path.is_file()]:
            raise FileNotFoundError(f"CocoBoxes: no such file: '{missing[0]}' (and {len(missing) - 1} more)")
        if crowds := int(truth.crowd.sum()):
            warnings.warn(f"{crowds} crowd regions are left out", AnnotationWarning, stacklevel=2)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> BoxedImage:  # type: ignore[override]
        path, (first, end) = self.paths[index], self._rows[index]
        boxes = self._boxes[first:end].copy()
        boxes[:, 2:] += boxes[:, :2]
        return BoxedImage(path.name, read_rgb(path), boxes, self._labels[first:end])
