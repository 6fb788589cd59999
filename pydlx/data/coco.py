"""COCO's JSON files as arrays: annotations of images (truth) and results of a detector.

Format: https://cocodataset.org/#format-data. COCO-WholeBody and CrowdPose use the same one with more or other fields.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from pydlx._checks import listed
from pydlx._optional import needed_for
from pydlx.data import coco_masks, json_records
from pydlx.data.annotations import Id, in_order, warn_of
from pydlx.data.coco_masks import Segmentations
from pydlx.data.json_records import Source

with needed_for("reading COCO files", extra="metrics"):
    import msgspec

KEYPOINTS = "keypoints"
_ABSENT = msgspec.Raw()
_NONE = (_ABSENT, msgspec.Raw(b"null"), msgspec.Raw(b"[]"))
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Length = _Count


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
        keypoints: field -> (G, K, 3) float64 as x, y, visibility.
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
    keypoints: dict[str, np.ndarray]
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
        keypoints: field -> (D, K, 3) float64.
        segmentations: of the D detections; None where they were not asked for.
    """

    images: np.ndarray
    categories: np.ndarray
    scores: dict[str, np.ndarray]
    boxes: np.ndarray | None
    keypoints: dict[str, np.ndarray]
    segmentations: Segmentations | None = None


@dataclass(frozen=True)
class CocoListing:
    """What a data set is of.

    Attributes:
        file_names: Of the images, by their ids.
        category_ids: Numbers ascending, then strings.
        category_names: As many different names, as in `CocoTruth`.
    """

    file_names: dict[Id, str]
    category_ids: list[Id]
    category_names: list[str]


class _NamedImage(msgspec.Struct, gc=False):
    id: Id
    file_name: str


class _Image(msgspec.Struct, gc=False):
    id: Id
    crowd_index: float | None = msgspec.field(default=None, name="crowdIndex")


class _SizedImage(_Image, gc=False):
    height: _Length = 0
    width: _Length = 0


class _Category(msgspec.Struct):
    id: Id
    name: str | None = None


def read_coco_truth(
    source: Source,
    keypoints: Mapping[str, int] | None = None,
    *,
    segmentations: bool = False,
    skipped: list[str] | None = None,
) -> CocoTruth:
    """Reads a COCO annotation file. Annotations of images that it does not list are left out, with a warning.

    Args:
        source: a path (``.json``, gzipped or not), or what ``json.load`` makes of it.
        keypoints: the fields that hold keypoints and how many each; none are read by default.
        segmentations: also read the masks, which every annotation must have, and the sizes of the images. Boxes are
            needed where neither keypoints nor masks are read.
        skipped: a list that takes what is wrong with bad annotations, which are then left out; without it they raise.

    Raises:
        ValueError: the file is no JSON (with the byte), two categories have one id, or a record is not as it must be
            (with its place and id).
    """
    keypoints = keypoints or {}
    name = json_records.name_of(source, "truth")
    kind = _annotation_kind((*keypoints, *(["segmentation"] * segmentations)))
    form = functools.partial(_truth_form, image=_SizedImage if segmentations else _Image)
    text = json_records.text_of(source, name)
    file, annotations = json_records.decode(text, form, kind, name, "annotation", skipped)
    image_ids, images_by_id = _images(file.images)
    category_ids, category_names = _categories(file.categories, name)
    rows = _Rows(annotations, name, "annotation", skipped)
    ids = rows.column("id", object)
    images = rows.places("image_id", image_ids)
    rows.good &= images >= 0
    unlisted = ids[~rows.good].tolist()
    warn_of(len(unlisted), "annotations are of images that the file does not list, and are ignored", unlisted)
    categories = rows.listed_places("category_id", category_ids, "categories")
    points = {field: rows.points(field, count) for field, count in keypoints.items()}
    boxes = rows.boxes(needed=not keypoints and not segmentations)
    masks = rows.segmentations() if segmentations else None
    area = rows.column("area", np.float64, np.nan)
    good = rows.good
    ids = ids[good]
    _warn_of_repeated(ids.tolist(), "annotations")
    return CocoTruth(
        image_ids,
        category_ids,
        category_names,
        np.array([images_by_id[key].crowd_index for key in image_ids], dtype=np.float64),
        ids,
        images[good],
        categories[good],
        rows.column("iscrowd", bool)[good],
        area[good],
        boxes[good],
        {field: values[good] for field, values in points.items()},
        rows.column("num_keypoints", np.int64, -1)[good],
        masks and masks.of(good),
        _sizes([images_by_id[key] for key in image_ids]) if segmentations else None,
    )


def read_coco_listing(source: Source) -> CocoListing:
    """Reads which images and categories a COCO file lists; it need not have annotations.

    Args:
        source: as of `read_coco_truth`.

    Raises:
        ValueError: the file is no JSON (with the byte), an image has no id or file name (with its place), or two
            categories have one id.
    """
    name = json_records.name_of(source, "truth")
    text = json_records.text_of(source, name)
    file, images = json_records.decode(text, _listing_form, _NamedImage, name, "image", None)
    ids, names = _categories(file.categories, name)
    return CocoListing({image.id: image.file_name for image in images}, ids.tolist(), names)


def coco_results(
    image_id: Id, category_ids: Sequence[Id], boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> list[dict[str, Any]]:
    """The boxes of an image as entries of a COCO result file.

    Args:
        image_id: of the image.
        category_ids: the id that each label stands for.
        boxes: (n, 4) as x1, y1, x2, y2.
        scores: (n,).
        labels: (n,) places in `category_ids`.
    """
    corners = boxes.astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for label, box, score in zip(labels.tolist(), corners.tolist(), scores.tolist(), strict=True)
    ]


def read_coco_detections(
    source: Source,
    truth: CocoTruth,
    keypoints: Mapping[str, int] | None = None,
    *,
    segmentations: bool = False,
    scores: Sequence[str] = ("score",),
    skipped: list[str] | None = None,
) -> CocoDetections:
    """Reads a COCO result file: a list of detections.

    Args:
        source: a path (``.json``, gzipped or not), or what ``json.load`` makes of it.
        truth: the data set the results are for.
        keypoints: the fields that hold keypoints and how many each; none are read by default.
        segmentations: also read the masks, which every detection must have. Where neither keypoints nor masks are read,
            boxes are needed; otherwise all detections must have a box where the first one has.
        scores: fields that hold scores. Where another than the first is absent, the first counts.
        skipped: a list that takes what is wrong with bad detections, which are then left out; without it they raise.

    Raises:
        ValueError: the file is no JSON (with the byte), or a detection is not as it must be, or of an image or a
            category that the truth does not have (with its place).
    """
    keypoints = keypoints or {}
    name = json_records.name_of(source, "detections")
    text = json_records.text_of(source, name)
    kind = _detection_kind((*keypoints, *(["segmentation"] * segmentations)), tuple(scores))
    _, detections = json_records.decode(text, _list_form, kind, name, "detection", skipped)
    rows = _Rows(detections, name, "detection", skipped)
    images = rows.listed_places("image_id", truth.image_ids, "images")
    categories = rows.listed_places("category_id", truth.category_ids, "categories")
    points = {field: rows.points(field, count) for field, count in keypoints.items()}
    has_boxes = bool(detections) and (not (keypoints or segmentations) or detections[0].bbox not in _NONE)
    boxes = rows.boxes(needed=True) if has_boxes else None
    masks = rows.segmentations() if segmentations else None
    values = {scores[0]: rows.finite(scores[0])}
    for field in scores[1:]:
        column = rows.column(field, np.float64, np.nan)
        values[field] = np.where(np.isnan(column), values[scores[0]], column)
    good = rows.good
    if good.all():
        return CocoDetections(images, categories, values, boxes, points, masks)
    return CocoDetections(
        images[good],
        categories[good],
        {field: column[good] for field, column in values.items()},
        None if boxes is None else boxes[good],
        {field: column[good] for field, column in points.items()},
        masks and masks.of(good),
    )


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
    images = _chosen("image_ids", truth.image_ids, image_ids, "images")
    categories = _chosen("category_ids", truth.category_ids, category_ids, "categories")
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
        keypoints={field: values[good] for field, values in truth.keypoints.items()},
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
        {field: values[good] for field, values in detections.keypoints.items()},
        detections.segmentations and detections.segmentations.of(good),
    )


def _chosen(argument: str, ids: np.ndarray, chosen: Iterable[Id] | None, what: str) -> np.ndarray:
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


def _truth_form(annotation: Any, image: Any) -> Any:
    return msgspec.defstruct(
        "truth", [("annotations", list[annotation]), ("images", list[image]), ("categories", list[_Category])]
    )


def _listing_form(image: Any) -> Any:
    return msgspec.defstruct("listing", [("images", list[image]), ("categories", list[_Category])])


def _list_form(detection: Any) -> Any:
    return list[detection]


@functools.cache
def _annotation_kind(arrays: tuple[str, ...]) -> Any:
    return msgspec.defstruct(
        "annotation",
        [
            ("id", Id),
            ("image_id", Id),
            ("category_id", Id),
            *((field, msgspec.Raw) for field in arrays),
            ("iscrowd", int | bool, 0),
            ("area", float | None, None),
            ("bbox", msgspec.Raw, _ABSENT),
            ("num_keypoints", _Count | None, None),
        ],
        gc=False,
    )


@functools.cache
def _detection_kind(arrays: tuple[str, ...], scores: tuple[str, ...]) -> Any:
    return msgspec.defstruct(
        "detection",
        [
            ("image_id", Id),
            ("category_id", Id),
            (scores[0], float),
            *((field, msgspec.Raw) for field in arrays),
            *((field, float | None, None) for field in scores[1:]),
            ("bbox", msgspec.Raw, _ABSENT),
        ],
        gc=False,
    )


class _Rows:
    """The records of a file column by column; `good` says which of them are."""

    def __init__(self, records: Sequence[Any], name: str, what: str, skipped: list[str] | None) -> None:
        self.records = records
        self.good = np.ones(len(records), dtype=bool)
        self._name, self._what, self._skipped = name, what, skipped

    def refuse(self, place: int, reason: str) -> None:
        if not self.good[place]:
            return
        record = self.records[place]
        which = f"id {record.id}" if hasattr(record, "id") else f"image_id {record.image_id}"
        json_records.refuse(f"{self._name}: {self._what} [{place}] ({which}): {reason}", self._skipped)
        self.good[place] = False

    def column(self, field: str, dtype: Any, absent: Any = None) -> np.ndarray:
        values: Any = map(operator.attrgetter(field), self.records)
        if absent is not None:
            values = (absent if value is None else value for value in values)
        return np.fromiter(values, dtype, len(self.records))

    def finite(self, field: str) -> np.ndarray:
        values = self.column(field, np.float64)
        for place in np.flatnonzero(~np.isfinite(values)).tolist():
            self.refuse(place, f"{field} must be finite, got {values[place]}")
        return values

    def places(self, field: str, ids: np.ndarray) -> np.ndarray:
        """Where the ids of this column stand in `ids`; -1 where they do not."""
        place = {key: place for place, key in enumerate(ids.tolist())}
        values = map(operator.attrgetter(field), self.records)
        return np.fromiter(map(place.get, values, itertools.repeat(-1)), np.int64, len(self.records))

    def listed_places(self, field: str, ids: np.ndarray, what: str) -> np.ndarray:
        """`places` that refuses ids which are not there."""
        places = self.places(field, ids)
        for place in np.flatnonzero(places < 0).tolist():
            value = getattr(self.records[place], field)
            self.refuse(place, f"{field} {value!r} is not among the {what} of the truth")
        return places

    def points(self, field: str, count: int) -> np.ndarray:
        """A field of 3 * count numbers, as (n, count, 3)."""

        def wrong(place: int, found: str) -> None:
            self.refuse(place, f"{field} must have {3 * count} numbers (x, y, v of {count} keypoints), got {found}")

        raws = list(map(operator.attrgetter(field), self.records))
        return json_records.numbers(raws, 3 * count, wrong)[0].reshape(-1, count, 3)

    def boxes(self, *, needed: bool = False) -> np.ndarray:
        """(n, 4), NaN where there is none."""
        boxes = np.full((len(self.records), 4), np.nan)
        raws = [record.bbox for record in self.records]
        at = np.array([place for place, raw in enumerate(raws) if raw not in _NONE], dtype=np.int64)
        if needed and len(at) < len(raws):
            for place in np.setdiff1d(np.arange(len(raws)), at):
                self.refuse(place, "bbox must be there, got none")

        def wrong(place: int, found: str) -> None:
            self.refuse(at[place], f"bbox must have 4 numbers, got {found}")

        boxes[at] = json_records.numbers([raws[place] for place in at], 4, wrong)[0]
        return boxes

    def segmentations(self) -> Segmentations:
        raws = [record.segmentation for record in self.records]

        def wrong(place: int, found: str) -> None:
            wanted = 'polygons of 6 or more numbers, or {"size": [height, width], "counts": run lengths}'
            self.refuse(place, f"segmentation must be {wanted}, got {found}")

        return coco_masks.segmentations(raws, wrong)


def _images(images: list[_Image]) -> tuple[np.ndarray, dict[Id, Any]]:
    """Their ids in order, and the images by them; of images with one id the first counts."""
    _warn_of_repeated([image.id for image in images], "images")
    by_id = {image.id: image for image in reversed(images)}
    return np.array(in_order(by_id), dtype=object), by_id


def _sizes(images: list[_SizedImage]) -> np.ndarray:
    return np.array([(image.height, image.width) for image in images], dtype=np.int64).reshape(-1, 2)


def _categories(categories: list[_Category], name: str) -> tuple[np.ndarray, list[str]]:
    """Their ids, and for each a name that no other has."""
    names: dict[Id, str | None] = {}
    for place, category in enumerate(categories):
        if category.id in names:
            raise ValueError(
                f"{name}: categories[{place}].id must not be that of another category, got {category.id!r}"
            )
        names[category.id] = category.name
    ids, uses = in_order(names), Counter(names.values())
    unique = [own if (own := names[key]) and uses[own] == 1 else str(key) for key in ids]
    if len(set(unique)) < len(ids):  # the id of one category is the name of another
        unique = [repr(key) for key in ids]
    return np.array(ids, dtype=object), unique


def _warn_of_repeated(ids: list[Id], what: str) -> None:
    uses = Counter(ids)
    repeated = [key for key, count in uses.items() if count > 1]
    warn_of(len(ids) - len(uses), f"{what} have an id that another one has", repeated)
