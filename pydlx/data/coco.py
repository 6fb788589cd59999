"""COCO's JSON files as arrays: annotations of images (truth) and results of a detector.

Format: https://cocodataset.org/#format-data. COCO-WholeBody and CrowdPose use the same one with more or other fields.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydlx._optional import needed_for
from pydlx.data import coco_masks, json_records
from pydlx.data.annotations import Id, in_order, places_of, warn_of
from pydlx.data.coco_masks import Segmentations
from pydlx.data.coco_rows import NO_ARRAY, Count, Rows, record_form
from pydlx.data.coco_sets import CocoDetections, CocoTruth, Keypoints, coco_subset
from pydlx.data.coco_sources import Columns, Field, PlainObject, Source, opened

with needed_for("reading COCO files", extra="metrics"):
    import msgspec

__all__ = [
    "CocoDetections",
    "CocoListing",
    "CocoTruth",
    "Keypoints",
    "coco_results",
    "coco_subset",
    "read_coco_detections",
    "read_coco_listing",
    "read_coco_truth",
]


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
    height: Count = 0
    width: Count = 0


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
        source: a path (``.json``, gzipped or not), the bytes of such a file, what ``json.load`` makes of it, or an
            object with that as its ``dataset``, such as ``pycocotools.coco.COCO``.
        keypoints: the fields that hold keypoints and how many each; none are read by default.
        segmentations: also read the masks, which every annotation must have, and the sizes of the images. Boxes are
            needed where neither keypoints nor masks are read.
        skipped: a list that takes what is wrong with bad annotations, which are then left out; without it they raise.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no JSON (with the byte) or no annotation file, two categories have one id, or a record
            is not as it must be (with its place and id).
    """
    keypoints = keypoints or {}
    fields = (
        *(Field(name, "integer") for name in ("id", "image_id", "category_id")),
        *_arrays(keypoints, segmentations=segmentations),
        Field("iscrowd", "flag", needed=False),
        Field("area", "number", needed=False),
        Field("num_keypoints", "count", needed=False),
    )
    with opened(source, "truth") as origin:
        image_form = _SizedImage if segmentations else _Image
        plain = origin.plain_object("annotations", fields)
        if plain is not None and (truth := _plain_truth(plain, keypoints, image_form)) is not None:
            return truth
        text = origin.text("annotations", fields)
    return _careful_truth(text, origin.name, fields, keypoints, image_form, skipped)


def _arrays(keypoints: Mapping[str, int], *, segmentations: bool) -> list[Field]:
    """The fields of what an object is like, of truth and detections."""
    masks = [Field("segmentation", "mask")] if segmentations else []
    return [
        *(Field(name, "points", count) for name, count in keypoints.items()),
        *masks,
        Field("bbox", "numbers", 4, needed=False),
    ]


def _plain_truth(plain: PlainObject, keypoints: Mapping[str, int], image: type[_Image]) -> CocoTruth | None:
    """The truth of columns, or None where something is wrong with it or with the rest of its file."""
    try:
        file = msgspec.json.decode(plain.rest, type=_truth_form(str, image))
        images = _by_id(file.images)
        categories = _categories(file.categories, "")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    columns = plain.columns
    image_places = places_of(columns["image_id"], list(images))
    category_places = places_of(columns["category_id"], categories[0].tolist())
    good = image_places >= 0
    boxes_needed = not keypoints and "segmentation" not in columns
    if (
        file.annotations != [plain.marker]
        or (category_places[good] < 0).any()
        or (boxes_needed and np.isnan(columns["bbox"][good, 0]).any())
    ):
        return None
    return _truth(file, columns, image_places, category_places, good, categories, keypoints)


def _careful_truth(
    text: bytes,
    name: str,
    fields: tuple[Field, ...],
    keypoints: Mapping[str, int],
    image: type[_Image],
    skipped: list[str] | None,
) -> CocoTruth:
    kind = record_form("annotation", fields)
    json_records.check_kind(text, name, "{", "an annotation file", "a list, as result files are")
    form = functools.partial(_truth_form, image=image)
    file, annotations = json_records.decode(text, form, kind, name, "annotation", skipped)
    categories = _categories(file.categories, name)
    rows = Rows(annotations, name, "annotation", skipped)
    columns: Columns = {field: rows.ids(field) for field in ("id", "image_id", "category_id")}
    images = places_of(columns["image_id"], list(_by_id(file.images)))
    rows.good &= images >= 0
    places = places_of(columns["category_id"], categories[0].tolist())
    rows.refuse_unlisted("category_id", places, categories[0], "categories")
    columns |= {field: rows.points(field, count) for field, count in keypoints.items()}
    columns["bbox"] = rows.boxes(needed=not keypoints and image is _Image)
    if image is _SizedImage:
        columns["segmentation"] = rows.segmentations()
    columns["area"] = rows.column("area", np.float64, np.nan)
    columns["iscrowd"] = rows.column("iscrowd", bool)
    columns["num_keypoints"] = rows.column("num_keypoints", np.int64, -1)
    return _truth(file, columns, images, places, rows.good, categories, keypoints)


def _truth(
    file: Any,
    columns: Columns,
    images: np.ndarray,
    categories: np.ndarray,
    good: np.ndarray,
    listed_categories: tuple[np.ndarray, list[str]],
    keypoints: Mapping[str, int],
) -> CocoTruth:
    """The good rows of the columns of annotations, whose images and categories stand in these places."""
    by_id = _by_id(file.images)
    _warn_of_repeated([image.id for image in file.images], "images")
    ids = columns["id"].astype(object)
    unlisted = ids[images < 0].tolist()
    warn_of(len(unlisted), "annotations are of images that the file does not list, and are ignored", unlisted)
    ids = ids[good]
    _warn_of_repeated(ids.tolist(), "annotations")
    masks = _masks(columns)
    return CocoTruth(
        np.array(list(by_id), dtype=object),
        *listed_categories,
        np.array([image.crowd_index for image in by_id.values()], dtype=np.float64),
        ids,
        images[good],
        categories[good],
        columns["iscrowd"][good],
        columns["area"][good],
        columns["bbox"][good],
        {field: Keypoints(*columns[field]).of(good) for field in keypoints},
        columns["num_keypoints"][good],
        masks and masks.of(good),
        None if masks is None else _sizes(list(by_id.values())),
    )


def _sizes(images: list[_SizedImage]) -> np.ndarray:
    return np.array([(image.height, image.width) for image in images], dtype=np.int64).reshape(-1, 2)


def _masks(columns: Columns) -> Segmentations | None:
    masks = columns.get("segmentation")
    return coco_masks.of_counts(**masks) if isinstance(masks, dict) else masks


def read_coco_listing(source: Source) -> CocoListing:
    """Reads which images and categories a COCO file lists; it need not have annotations.

    Args:
        source: as of `read_coco_truth`.

    Raises:
        ValueError: the file is no JSON (with the byte), an image has no id or file name (with its place), or two
            categories have one id.
    """
    with opened(source, "truth") as origin:
        text, name = origin.text("annotations", ()), origin.name
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
        source: a path (``.json``, gzipped or not), the bytes of such a file, what ``json.load`` makes of it, an object
            whose ``dataset`` has them as ``annotations``, such as what pycocotools' ``loadRes`` returns, or an array
            (N, 7) of image, x, y, width, height, score, category.
        truth: the data set the results are for.
        keypoints: the fields that hold keypoints and how many each; none are read by default.
        segmentations: also read the masks, which every detection must have. Where neither keypoints nor masks are read,
            boxes are needed; otherwise all detections must have a box where the first one has.
        scores: fields that hold scores. Where another than the first is absent, the first counts.
        skipped: a list that takes what is wrong with bad detections, which are then left out; without it they raise.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no JSON (with the byte) or no result file, or a detection is not as it must be, or of an
            image or a category that the truth does not have (with its place).
    """
    keypoints = keypoints or {}
    fields = (
        *(Field(name, "integer") for name in ("image_id", "category_id")),
        *(Field(name, "number", needed=name == scores[0]) for name in scores),
        *_arrays(keypoints, segmentations=segmentations),
    )
    with opened(source, "detections") as origin:
        columns = origin.plain_list(fields)
        if columns is not None and (found := _plain_detections(columns, truth, keypoints, scores)) is not None:
            return found
        text = origin.text("annotations", fields)
    return _careful_detections(text, origin.name, fields, truth, keypoints, scores, skipped)


def _plain_detections(
    columns: Columns, truth: CocoTruth, keypoints: Mapping[str, int], scores: Sequence[str]
) -> CocoDetections | None:
    """The detections of columns, or None where something is wrong with them."""
    images = places_of(columns["image_id"], truth.image_ids.tolist())
    categories = places_of(columns["category_id"], truth.category_ids.tolist())
    has_box = ~np.isnan(columns["bbox"][:, 0])
    boxes_needed = len(has_box) > 0 and (has_box[0] or not (keypoints or "segmentation" in columns))
    if (images < 0).any() or (categories < 0).any() or (boxes_needed and not has_box.all()):
        return None
    if not boxes_needed:
        columns["bbox"] = None
    return _detections(columns, images, categories, np.ones(len(images), dtype=bool), keypoints, scores)


def _careful_detections(
    text: bytes,
    name: str,
    fields: tuple[Field, ...],
    truth: CocoTruth,
    keypoints: Mapping[str, int],
    scores: Sequence[str],
    skipped: list[str] | None,
) -> CocoDetections:
    kind = record_form("detection", fields)
    json_records.check_kind(text, name, "[", "a list of detections", "an object, as annotation files are")
    _, detections = json_records.decode(text, _list_form, kind, name, "detection", skipped)
    rows = Rows(detections, name, "detection", skipped)
    images = places_of(rows.ids("image_id"), truth.image_ids.tolist())
    categories = places_of(rows.ids("category_id"), truth.category_ids.tolist())
    rows.refuse_unlisted("image_id", images, truth.image_ids, "images")
    rows.refuse_unlisted("category_id", categories, truth.category_ids, "categories")
    columns: Columns = {field: rows.points(field, count) for field, count in keypoints.items()}
    with_masks = any(field.kind == "mask" for field in fields)
    boxes_needed = bool(detections) and (not (keypoints or with_masks) or detections[0].bbox not in NO_ARRAY)
    columns["bbox"] = rows.boxes(needed=True) if boxes_needed else None
    if with_masks:
        columns["segmentation"] = rows.segmentations()
    columns |= {field: rows.column(field, np.float64, np.nan) for field in scores}
    return _detections(columns, images, categories, rows.good, keypoints, scores)


def _detections(
    columns: Columns,
    images: np.ndarray,
    categories: np.ndarray,
    good: np.ndarray,
    keypoints: Mapping[str, int],
    scores: Sequence[str],
) -> CocoDetections:
    """The good rows of the columns of detections, whose images and categories stand in these places."""
    first, boxes, masks = columns[scores[0]][good], columns["bbox"], _masks(columns)
    others = {field: columns[field][good] for field in scores[1:]}
    return CocoDetections(
        images[good],
        categories[good],
        {scores[0]: first, **{field: np.where(np.isnan(own), first, own) for field, own in others.items()}},
        None if boxes is None else boxes[good],
        {field: Keypoints(*columns[field]).of(good) for field in keypoints},
        masks and masks.of(good),
    )


def _truth_form(annotation: Any, image: Any) -> Any:
    return msgspec.defstruct(
        "truth", [("annotations", list[annotation]), ("images", list[image]), ("categories", list[_Category])]
    )


def _listing_form(image: Any) -> Any:
    return msgspec.defstruct("listing", [("images", list[image]), ("categories", list[_Category])])


def _list_form(detection: Any) -> Any:
    return list[detection]


def _by_id(images: list[_Image]) -> dict[Id, Any]:
    """Images by their ids, in order; of images with one id the first counts."""
    by_id = {image.id: image for image in reversed(images)}
    return {key: by_id[key] for key in in_order(by_id)}


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
    if len(set(ids)) == len(ids):
        return
    uses = Counter(ids)
    repeated = [key for key, count in uses.items() if count > 1]
    warn_of(len(ids) - len(uses), f"{what} have an id that another one has", repeated)
