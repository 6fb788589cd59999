"""Average precision of object detection, as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag
from pydlx.data.annotations import Id
from pydlx.metrics.coco_protocol import (
    ALL,
    EVERYTHING,
    LARGE,
    MEDIUM,
    SMALL,
    Curves,
    Detections,
    Protocol,
    Truths,
    check_compatibility,
    evaluate,
    taken,
    unrecorded,
    validated,
)
from pydlx.metrics.detection_metric import DetectionMetric, Names, as_xywh, check_box_format
from pydlx.metrics.image_batch import ImageBatch
from pydlx.ops.box_iou import ragged_box_iou

BOX_AREAS: Mapping[str, tuple[float, float]] = {ALL: EVERYTHING, "small": SMALL, "medium": MEDIUM, "large": LARGE}


@dataclass(frozen=True)
class BoxDetections:
    """D detections of a whole data set: images, categories (D,) int64; scores (D,) and boxes (D, 4) float64.

    Boxes are x, y, width, height.
    """

    images: Tensor
    categories: Tensor
    scores: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class BoxTruths:
    """G truths of a whole data set: images, categories (G,) int64; boxes (G, 4) and area (G,) float64; crowd (G,) bool.

    ``area`` is that of the segmentation, NaN where unknown, and decides the area range. ``has_id_0`` (G,) is bool or
    None: which annotations have the id 0.
    """

    images: Tensor
    categories: Tensor
    boxes: Tensor
    area: Tensor
    crowd: Tensor
    has_id_0: Tensor | None = None


def box_protocol(
    max_detections: Sequence[int] = (1, 10, 100),
    iou_thresholds: Sequence[float] | Tensor | None = None,
    recall_thresholds: Sequence[float] | Tensor | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    name: str = "BoxAP",
) -> Protocol:
    """COCO's protocol for boxes and masks, with what is given instead; see `BoxAP`."""
    areas = BOX_AREAS if area_ranges is None else area_ranges
    return validated(name, areas, max_detections, recall_thresholds, iou_thresholds=iou_thresholds)


def box_curves(
    detections: BoxDetections,
    truths: BoxTruths,
    protocol: Protocol,
    *,
    images: int,
    categories: int,
    compatibility: str | None = None,
) -> Curves:
    """Precision over recall of a whole data set; see `BoxAP` for the rules."""
    covered = area_of(truths.boxes)

    def similarity(
        found: np.ndarray | None, true: np.ndarray | None, found_offsets: Tensor, true_offsets: Tensor
    ) -> Tensor:
        boxes, crowd = taken(truths.boxes, true), taken(truths.crowd, true)
        return ragged_box_iou(taken(detections.boxes, found), boxes, crowd, found_offsets, true_offsets)

    return evaluate(
        Detections(detections.images, detections.categories, detections.scores, area_of(detections.boxes)),
        Truths(
            truths.images,
            truths.categories,
            torch.where(truths.area.isnan(), covered, truths.area),
            truths.crowd,
            torch.zeros_like(truths.crowd),
            unrecorded(truths.has_id_0, compatibility),
        ),
        similarity,
        protocol,
        images,
        categories,
    )


def area_of(boxes: Tensor) -> Tensor:
    """(n,) of boxes (n, 4) as x, y, width, height; by NumPy, as of all steps of `evaluate`."""
    sides = boxes.numpy()
    return torch.from_numpy(sides[:, 2] * sides[:, 3])


class BoxAP(DetectionMetric):
    """Average precision and recall of detected boxes by intersection over union.

    The protocol is COCO's (https://cocodataset.org/#detection-eval): no pixel is added to widths and heights, crowd
    regions are ignored and overlap by intersection over the detection's area, the 100 best detections of an image and
    category count.

    Args:
        max_detections: limits of detections per image and category; the largest counts, the others give an AR each.
        iou_thresholds: overlaps from which on a detection is right; 0.50, 0.55, ..., 0.95 by default.
        recall_thresholds: where precision is sampled; 0.00, 0.01, ..., 1.00 by default.
        area_ranges: name -> (least, largest) area, both included; ``"all"`` among them. By default all, small (to
            32^2), medium (to 96^2) and large.
        box_format: how boxes are given: ``"xyxy"`` (two corners), ``"xywh"`` (a corner, width and height) or
            ``"cxcywh"`` (the centre, width and height).
        class_agnostic: take all categories for one.
        class_metrics: ``compute`` also gives AP of each class that was seen or has a name, as ``AP/person``.
        class_names: of the labels, for these and for `per_class`: names by label, or a list whose first name is that of
            label 0; by default the labels.
        only_images: ids of the images that count; others, which may be in updates too, are ignored. Updates must then
            give ``image_ids``.
        only_labels: the categories that count; others are ignored.
        compatibility: ``"pycocotools"`` loses the matches of annotations with id 0, as pycocotools does.

    ``update(preds, target, image_ids=None)`` takes one dict of tensors per image. ``preds``: ``boxes`` (n, 4),
    ``scores`` and ``labels`` (n,). ``target``: ``boxes``, ``labels``, and if there are any ``iscrowd``, ``area`` (of
    the segmentation; default: of the box) and ``ids``. Other keys are ignored. Image ids are whole numbers of any size
    or strings.

    ``compute()`` gives ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``; -1 where no truth counts.

    Example:
        >>> boxes = torch.tensor([[10.0, 10.0, 60.0, 60.0]])
        >>> metric = BoxAP()
        >>> metric.update(
        ...     [{"boxes": boxes, "scores": torch.tensor([0.9]), "labels": torch.tensor([3])}],
        ...     [{"boxes": boxes, "labels": torch.tensor([3])}],
        ... )
        >>> float(metric.compute()["AP"])
        1.0
    """

    promises = (
        ("preds", "scores", "numbers"),
        ("preds", "labels", "labels"),
        ("target", "labels", "labels"),
    )

    def __init__(
        self,
        max_detections: Sequence[int] = (1, 10, 100),
        *,
        iou_thresholds: Sequence[float] | Tensor | None = None,
        recall_thresholds: Sequence[float] | Tensor | None = None,
        area_ranges: Mapping[str, Sequence[float]] | None = None,
        box_format: str = "xyxy",
        class_agnostic: bool = False,
        class_metrics: bool = False,
        class_names: Names | None = None,
        only_images: Sequence[Id] | None = None,
        only_labels: Sequence[int] | None = None,
        compatibility: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            {"found_labels": (), "found_scores": (), "found_boxes": (4,)},
            {"true_labels": (), "true_area": (), "true_crowd": (), "true_ids": (), "true_boxes": (4,)},
            by_limit=True,
            class_metrics=class_metrics,
            class_names=class_names,
            only_images=only_images,
            only_labels=only_labels,
            **kwargs,
        )
        self._protocol = box_protocol(max_detections, iou_thresholds, recall_thresholds, area_ranges)
        check_box_format("BoxAP", box_format)
        check_compatibility("BoxAP", compatibility)
        check_flag("BoxAP", "class_agnostic", class_agnostic)
        self.box_format, self.class_agnostic, self.compatibility = box_format, class_agnostic, compatibility
        self.max_detections, self.iou_thresholds = max_detections, iou_thresholds
        self.recall_thresholds, self.area_ranges = recall_thresholds, area_ranges

    def _found(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {
            "found_scores": batch.rows("scores"),
            "found_boxes": as_xywh(batch.rows("boxes", 4), self.box_format),
            "found_labels": batch.rows("labels"),
        }

    def _true(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {
            "true_boxes": as_xywh(batch.rows("boxes", 4), self.box_format),
            "true_labels": batch.rows("labels"),
            "true_area": batch.column("area", torch.nan),
            "true_crowd": batch.column("iscrowd", 0),
            "true_ids": batch.column("ids", -1),
        }

    def _evaluated(self) -> tuple[Curves, np.ndarray | None]:
        columns, found_images, true_images, images = self._joined()
        seen, found_categories, true_categories = self._categories(columns)
        labels = None if self.class_agnostic else seen
        if self.class_agnostic:
            found_categories, true_categories = torch.zeros_like(found_categories), torch.zeros_like(true_categories)
        self._warn_of_tiny(columns["true_area"], true_images, " and count as small or not at all")
        curves = box_curves(
            BoxDetections(found_images, found_categories, columns["found_scores"], columns["found_boxes"]),
            BoxTruths(
                true_images,
                true_categories,
                columns["true_boxes"],
                columns["true_area"],
                columns["true_crowd"] != 0,
                columns["true_ids"] == 0,
            ),
            self._protocol,
            images=images,
            categories=1 if labels is None else max(1, len(labels)),
            compatibility=self.compatibility,
        )
        return curves, labels
