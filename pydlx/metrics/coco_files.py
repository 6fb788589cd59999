"""COCO's evaluation of result files: boxes and masks. Keypoints are in `keypoint_files`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pydlx._checks import check_flag
from pydlx.data.annotations import Id, warn_of
from pydlx.data.coco_sources import Source, check_source
from pydlx.metrics.box_ap import BoxDetections, BoxTruths, box_curves, box_protocol
from pydlx.metrics.coco_protocol import Curves, check_compatibility
from pydlx.metrics.coco_summary import by_category, summary, summary_text
from pydlx.metrics.mask_ap import MaskDetections, MaskTruths, mask_curves
from pydlx.metrics.mask_rows import MaskRows, decoded

if TYPE_CHECKING:
    from pydlx.data.coco import CocoDetections, CocoTruth
    from pydlx.data.coco_masks import Segmentations


class Evaluation(dict[str, float]):
    """COCO's numbers by their names, and what else was found.

    Attributes:
        curves: precision over recall: of ``boxes``, ``masks`` or ``keypoints``; by part for COCO-WholeBody.
        category_names: of the curves' categories; the id of a category without a name of its own.
        per_category: AP by these names, -1 where a category has no truth.
        per_keypoint: AP of each keypoint alone, if it was asked for.
        skipped: what was wrong with each record that was left out.
    """

    def __init__(
        self,
        results: Mapping[str, float],
        curves: dict[str, Curves],
        category_names: list[str],
        *,
        per_keypoint: Sequence[float] = (),
        skipped: list[str] | None = None,
    ) -> None:
        super().__init__(results)
        self.curves, self.category_names = curves, category_names
        self.per_category = by_category(next(iter(curves.values())), category_names)
        self.per_keypoint, self.skipped = list(per_keypoint), skipped or []

    def summary(self) -> str:
        """The numbers in the lines that COCO's tools print; part after part for COCO-WholeBody."""
        texts = [summary_text(curves, by_limit=name in ("boxes", "masks")) for name, curves in self.curves.items()]
        if len(texts) == 1:
            return texts[0]
        return "\n".join(f"{name}\n{text}" for name, text in zip(self.curves, texts, strict=True))


def evaluate_boxes(
    truth: Source,
    detections: Source,
    *,
    max_detections: Sequence[int] = (1, 10, 100),
    iou_thresholds: Sequence[float] | None = None,
    recall_thresholds: Sequence[float] | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    class_agnostic: bool = False,
    image_ids: Sequence[Id] | None = None,
    category_ids: Sequence[Id] | None = None,
    compatibility: str | None = None,
    skip_bad: bool = False,
) -> Evaluation:
    """COCO's box evaluation of two JSON files.

    Args:
        truth: annotations in COCO's format: a path (gzipped or not), or what ``json.load`` makes of it.
        detections: results in COCO's format, likewise.
        max_detections: as for `BoxAP`.
        iou_thresholds: as for `BoxAP`.
        recall_thresholds: as for `BoxAP`.
        area_ranges: as for `BoxAP`.
        class_agnostic: as for `BoxAP`.
        image_ids: ids of the images that count; all by default.
        category_ids: ids of the categories that count; all by default.
        compatibility: as for `BoxAP`.
        skip_bad: leave out bad records, which raise otherwise.

    Returns:
        A dict with ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``, and with what else was found as attributes.

    Raises:
        ValueError: a file is no JSON (with the byte), a record is bad (with its place and id), or two categories have
            one id.
    """
    name = "evaluate_boxes"
    check_common(name, truth, detections, compatibility, skip_bad)
    check_flag(name, "class_agnostic", class_agnostic)
    protocol = box_protocol(max_detections, iou_thresholds, recall_thresholds, area_ranges, name)
    skipped: list[str] | None = [] if skip_bad else None
    data, found = _read(truth, detections, image_ids, category_ids, skipped)
    _warn_of_areas(data, "boxes")
    boxes = np.empty((0, 4)) if found.boxes is None else found.boxes
    categories, true_categories, names = _categories(data, found, class_agnostic)
    curves = box_curves(
        BoxDetections(
            torch.from_numpy(found.images), categories, torch.from_numpy(found.scores["score"]), torch.from_numpy(boxes)
        ),
        BoxTruths(
            torch.from_numpy(data.images),
            true_categories,
            torch.from_numpy(data.boxes),
            torch.from_numpy(data.area),
            torch.from_numpy(data.crowd),
            torch.from_numpy(data.ids == 0),
        ),
        protocol,
        images=max(1, len(data.image_ids)),
        categories=max(1, len(names)),
        compatibility=compatibility,
    )
    return Evaluation(summary(curves, by_limit=True), {"boxes": curves}, names, skipped=skipped)


def evaluate_masks(
    truth: Source,
    detections: Source,
    *,
    max_detections: Sequence[int] = (1, 10, 100),
    iou_thresholds: Sequence[float] | None = None,
    recall_thresholds: Sequence[float] | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    class_agnostic: bool = False,
    image_ids: Sequence[Id] | None = None,
    category_ids: Sequence[Id] | None = None,
    compatibility: str | None = None,
    skip_bad: bool = False,
) -> Evaluation:
    """COCO's evaluation of instance segmentation (``iou_type="segm"`` of pycocotools) of two JSON files.

    Args:
        truth: annotations in COCO's format: a path (gzipped or not), or what ``json.load`` makes of it. Each has a
            ``segmentation``: polygons, or run lengths, compressed or not.
        detections: results, likewise. Where the first one has a ``bbox``, those give the detections' areas, as in
            pycocotools; else the masks do.
        max_detections: as for `MaskAP`.
        iou_thresholds: as for `MaskAP`.
        recall_thresholds: as for `MaskAP`.
        area_ranges: as for `MaskAP`.
        class_agnostic: as for `MaskAP`.
        image_ids: ids of the images that count; all by default.
        category_ids: ids of the categories that count; all by default.
        compatibility: as for `MaskAP`.
        skip_bad: leave out bad records, which raise otherwise.

    Returns:
        A dict with ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``, and with what else was found as attributes.

    Raises:
        ValueError: a file is no JSON (with the byte), a record is bad (with its place and id), two categories have one
            id, or a mask is not of its image's size.
    """
    name = "evaluate_masks"
    check_common(name, truth, detections, compatibility, skip_bad)
    check_flag(name, "class_agnostic", class_agnostic)
    protocol = box_protocol(max_detections, iou_thresholds, recall_thresholds, area_ranges, name)
    skipped: list[str] | None = [] if skip_bad else None
    data, found = _read(truth, detections, image_ids, category_ids, skipped, segmentations=True)
    _warn_of_areas(data, "masks")
    assert data.segmentations is not None and found.segmentations is not None and data.image_sizes is not None
    sizes = _known_sizes(data, found)
    true_masks, good_truths = _decoded(
        data.segmentations, sizes[data.images], skipped, "truth: annotation of id", data.ids
    )
    masks, good = _decoded(
        found.segmentations,
        sizes[found.images],
        skipped,
        "detections: detection of image_id",
        data.image_ids[found.images],
    )
    area = masks.area() if found.boxes is None else found.boxes[:, 2] * found.boxes[:, 3]
    categories, true_categories, names = _categories(data, found, class_agnostic)
    at, true_at = torch.from_numpy(np.flatnonzero(good)), torch.from_numpy(np.flatnonzero(good_truths))
    curves = mask_curves(
        MaskDetections(
            torch.from_numpy(found.images)[at],
            categories[at],
            torch.from_numpy(found.scores["score"])[at],
            torch.from_numpy(area)[at],
            masks if good.all() else masks.at(at.numpy()),
        ),
        MaskTruths(
            torch.from_numpy(data.images)[true_at],
            true_categories[true_at],
            torch.from_numpy(data.area)[true_at],
            torch.from_numpy(data.crowd)[true_at],
            true_masks if good_truths.all() else true_masks.at(true_at.numpy()),
            torch.from_numpy(data.ids == 0)[true_at],
        ),
        protocol,
        images=max(1, len(data.image_ids)),
        categories=max(1, len(names)),
        compatibility=compatibility,
    )
    return Evaluation(summary(curves, by_limit=True), {"masks": curves}, names, skipped=skipped)


def check_common(name: str, truth: Source, detections: Source, compatibility: str | None, skip_bad: bool) -> None:
    """Refuses what no evaluation of files takes."""
    for argument, source in (("truth", truth), ("detections", detections)):
        check_source(name, argument, source)
    check_compatibility(name, compatibility)
    check_flag(name, "skip_bad", skip_bad)


def _read(
    truth: Source,
    detections: Source,
    image_ids: Sequence[Id] | None,
    category_ids: Sequence[Id] | None,
    skipped: list[str] | None,
    **options: Any,
) -> tuple[CocoTruth, CocoDetections]:
    from pydlx.data.coco import coco_subset, read_coco_detections, read_coco_truth  # needs msgspec

    data = read_coco_truth(truth, skipped=skipped, **options)
    found = read_coco_detections(detections, data, skipped=skipped, **options)
    if image_ids is None and category_ids is None:
        return data, found
    return coco_subset(data, found, image_ids=image_ids, category_ids=category_ids)


def _categories(
    data: CocoTruth, found: CocoDetections, class_agnostic: bool
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Of the detections and of the truths, and their names."""
    sides = torch.from_numpy(found.categories), torch.from_numpy(data.categories)
    if class_agnostic:
        return torch.zeros_like(sides[0]), torch.zeros_like(sides[1]), ["all"]
    return *sides, data.category_names


def _known_sizes(data: CocoTruth, found: CocoDetections) -> np.ndarray:
    """Of the images, (I, 2); where the file has none, that of a mask of it, zeros where there is none either."""
    assert data.image_sizes is not None and data.segmentations is not None and found.segmentations is not None
    sizes = np.zeros_like(data.image_sizes)
    sizes[found.images] = found.segmentations.sizes
    has_size = (data.segmentations.sizes > 0).all(1)
    sizes[data.images[has_size]] = data.segmentations.sizes[has_size]
    return np.where((data.image_sizes > 0).all(1, keepdims=True), data.image_sizes, sizes)


def _decoded(
    segmentations: Segmentations, sizes: np.ndarray, skipped: list[str] | None, record: str, ids: np.ndarray
) -> tuple[MaskRows, np.ndarray]:
    from pydlx.data.json_records import refuse

    return decoded(
        segmentations,
        sizes,
        lambda place, reason: refuse(f"{record} {ids[place]!r}: segmentation {reason}", skipped),
    )


def _warn_of_areas(data: CocoTruth, what: str) -> None:
    warn_of_rows(data.area < 1, data, "annotations have an area below 1 square pixel and count as small or not at all")
    warn_of_rows(np.isnan(data.area), data, f"annotations have no area, so that their {what} decide their size class")


def warn_of_rows(bad: np.ndarray, data: CocoTruth, what: str) -> None:
    """Warns of some annotations."""
    warn_of(bad.sum(), what, data.ids[bad].tolist())
