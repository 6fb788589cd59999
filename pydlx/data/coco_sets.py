"""What COCO's files hold, as arrays: the annotations of a data set, and a detector's results on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pydlx._checks import listed
from pydlx.data.annotations import Id

if TYPE_CHECKING:
    from pydlx.data.coco_masks import Segmentations


class Keypoints(NamedTuple):
    """Keypoints of n annotations or detections, K each.

    Attributes:
        places: (n, K, 2) float64, x, y.
        third: (n, K) float64, what files have as the third of each: the visibility of annotations.
    """

    places: np.ndarray
    third: np.ndarray

    def of(self, good: np.ndarray) -> Keypoints:
        """Those of some, by a mask (n,). Where it has all, nothing is copied: those of many detections are 40 MB."""
        return self if good.all() else Keypoints(self.places[good], self.third[good])


@dataclass(frozen=True)
class CocoTruth:
    """The annotations of a data set, I images, C categories, G annotations.

    Ids are integers of any size or strings, kept in arrays of Python objects.

    Attributes:
        image_ids: (I,) ids, numbers ascending, then strings.
        category_ids: (C,) ids, likewise.
        category_names: C different names; where a category has none, or that of another one, its id.
        crowd_index: (I,) float64, CrowdPose's measure of crowding, NaN where the file has none.
        ids: (G,) ids.
        images: (G,) int64, places in `image_ids`.
        categories: (G,) int64, places in `category_ids`.
        crowd: (G,) bool, ``iscrowd``.
        area: (G,) float64, NaN where the file has none.
        boxes: (G, 4) float64 as x, y, width, height, NaN where the file has none.
        keypoints: field -> those of the G annotations.
        num_keypoints: (G,) int64, -1 where the file has none.
        segmentations: of the G annotations; None where they were not asked for.
        image_sizes: (I, 2) int64, height and width, 0 where the file has none; None without segmentations.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    category_names: list[str]
    crowd_index: np.ndarray
    ids: np.ndarray
    images: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    boxes: np.ndarray
    keypoints: dict[str, Keypoints]
    num_keypoints: np.ndarray
    segmentations: Segmentations | None = None
    image_sizes: np.ndarray | None = None


@dataclass(frozen=True)
class CocoDetections:
    """The results of a detector, D of them, on the images of a data set.

    Attributes:
        images: (D,) int64, places in the truth's `image_ids`.
        categories: (D,) int64, places in its `category_ids`.
        scores: field -> (D,) float64; ``"score"`` and others that were asked for.
        boxes: (D, 4) float64 as x, y, width, height, or None where the first detection has no box.
        keypoints: field -> those of the D detections.
        segmentations: of the D detections; None where they were not asked for.
    """

    images: np.ndarray
    categories: np.ndarray
    scores: dict[str, np.ndarray]
    boxes: np.ndarray | None
    keypoints: dict[str, Keypoints]
    segmentations: Segmentations | None = None


def coco_subset(
    truth: CocoTruth,
    detections: CocoDetections,
    *,
    image_ids: Iterable[Id] | None = None,
    category_ids: Iterable[Id] | None = None,
) -> tuple[CocoTruth, CocoDetections]:
    """The part of a data set, and of a detector's results on it, that is of some images and categories.

    Args:
        truth: the data set.
        detections: the results.
        image_ids: ids of the images; all by default.
        category_ids: ids of the categories; all by default.

    Raises:
        ValueError: the data set has no image or no category of such an id.
    """
    images = _mask_of("image_ids", truth.image_ids, image_ids, "images")
    categories = _mask_of("category_ids", truth.category_ids, category_ids, "categories")
    image_places, category_places = np.cumsum(images) - 1, np.cumsum(categories) - 1
    good = images[truth.images] & categories[truth.categories]
    part = dataclasses.replace(
        truth,
        image_ids=truth.image_ids[images],
        category_ids=truth.category_ids[categories],
        category_names=[name for name, chosen in zip(truth.category_names, categories, strict=True) if chosen],
        crowd_index=truth.crowd_index[images],
        ids=truth.ids[good],
        images=image_places[truth.images[good]],
        categories=category_places[truth.categories[good]],
        crowd=truth.crowd[good],
        area=truth.area[good],
        boxes=truth.boxes[good],
        keypoints={field: values.of(good) for field, values in truth.keypoints.items()},
        num_keypoints=truth.num_keypoints[good],
        segmentations=truth.segmentations and truth.segmentations.of(good),
        image_sizes=None if truth.image_sizes is None else truth.image_sizes[images],
    )
    good = images[detections.images] & categories[detections.categories]
    return part, CocoDetections(
        image_places[detections.images[good]],
        category_places[detections.categories[good]],
        {field: values[good] for field, values in detections.scores.items()},
        None if detections.boxes is None else detections.boxes[good],
        {field: values.of(good) for field, values in detections.keypoints.items()},
        detections.segmentations and detections.segmentations.of(good),
    )


def _mask_of(argument: str, ids: np.ndarray, chosen: Iterable[Id] | None, what: str) -> np.ndarray:
    """A mask of the ids that were chosen."""
    if chosen is None:
        return np.ones(len(ids), dtype=bool)
    places = {key: place for place, key in enumerate(ids.tolist())}
    mask = np.zeros(len(ids), dtype=bool)
    for key in listed("coco_subset", argument, chosen, "ids"):
        key = key.item() if hasattr(key, "item") else key  # NumPy's and torch's numbers
        if isinstance(key, bool) or key not in places:
            raise ValueError(f"coco_subset: {argument} must be ids of {what} of the truth, got {key!r}")
        mask[places[key]] = True
    return mask
