"""Average precision of object detection, as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_flag
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
    unrecorded,
    validated,
)
from pydlx.metrics.detection_metric import DetectionMetric
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
    thresholds: Sequence[float] | Tensor | None = None,
    recall_thresholds: Sequence[float] | Tensor | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    name: str = "BoxAP",
) -> Protocol:
    """COCO's protocol for boxes, with what is given instead; see `BoxAP`."""
    areas = BOX_AREAS if area_ranges is None else area_ranges
    return validated(name, areas, max_detections, thresholds=thresholds, recalls=recall_thresholds)


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
    covered = truths.boxes[:, 2:].prod(1)

    def similarity(found: Tensor | None, true: Tensor | None, found_offsets: Tensor, true_offsets: Tensor) -> Tensor:
        boxes = detections.boxes if found is None else detections.boxes[found]
        where, crowd = (truths.boxes, truths.crowd) if true is None else (truths.boxes[true], truths.crowd[true])
        return ragged_box_iou(boxes, where, crowd, found_offsets, true_offsets)

    return evaluate(
        Detections(detections.images, detections.categories, detections.scores, detections.boxes[:, 2:].prod(1)),
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


class BoxAP(DetectionMetric):
    """Average precision and recall of detected boxes by intersection over union.

    The protocol is COCO's (https://cocodataset.org/#detection-eval): no pixel is added to widths and heights, crowd
    regions are ignored and overlap by intersection over the detection's area, the 100 best detections of an image and
    category count.

    Args:
        max_detections: limits of detections per image and category; the largest counts, the others give an AR each.
        thresholds: overlaps from which on a detection is right; 0.50, 0.55, ..., 0.95 by default.
        recall_thresholds: where precision is sampled; 0.00, 0.01, ..., 1.00 by default.
        area_ranges: name -> (least, largest) area, both included; ``"all"`` among them. By default all, small (to
            32^2), medium (to 96^2) and large.
        box_format: how boxes are given, ``"xyxy"`` or ``"xywh"``.
        class_agnostic: take all categories for one.
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
        ("preds", "labels", "numbers"),
        ("target", "labels", "numbers"),
    )

    def __init__(
        self,
        max_detections: Sequence[int] = (1, 10, 100),
        *,
        thresholds: Sequence[float] | Tensor | None = None,
        recall_thresholds: Sequence[float] | Tensor | None = None,
        area_ranges: Mapping[str, Sequence[float]] | None = None,
        box_format: str = "xyxy",
        class_agnostic: bool = False,
        compatibility: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__({"detection_rows": (6,)}, {"truth_rows": (8,)}, by_limit=True, box_format=box_format, **kwargs)
        self._protocol = box_protocol(max_detections, thresholds, recall_thresholds, area_ranges)
        check_compatibility("BoxAP", compatibility)
        check_flag("BoxAP", "class_agnostic", class_agnostic)
        self.max_detections, self.class_agnostic, self.compatibility = max_detections, class_agnostic, compatibility
        self.thresholds, self.recall_thresholds, self.area_ranges = thresholds, recall_thresholds, area_ranges

    def _found(self, batch: ImageBatch) -> tuple[Tensor]:
        """Label, score, box (n, 6)."""
        scores = batch.rows("scores")
        boxes = self._boxes(batch.rows("boxes", 4))
        return (torch.cat([torch.stack([batch.rows("labels"), scores], 1), boxes], 1),)

    def _true(self, batch: ImageBatch) -> tuple[Tensor]:
        """Label, area, crowd, id, box (n, 8)."""
        boxes = self._boxes(batch.rows("boxes", 4))
        columns = [
            batch.rows("labels"),
            batch.column("area", torch.nan),
            batch.column("iscrowd", 0),
            batch.column("ids", -1),
        ]
        return (torch.cat([torch.stack(columns, 1), boxes], 1),)

    def curves(self) -> Curves:
        """Precision over recall of the states as they are, category after category (`labels`)."""
        states, found, true, images = self._joined()
        rows, truths = states["detection_rows"], states["truth_rows"]
        labels, categories, truth_categories = self._categories(rows[:, 0], truths[:, 0])
        if self.class_agnostic:
            categories, truth_categories = torch.zeros_like(categories), torch.zeros_like(truth_categories)
        self._warn_of_tiny(truths[:, 1], true, " and count as small or not at all")
        return box_curves(
            BoxDetections(found, categories, rows[:, 1].contiguous(), rows[:, 2:].contiguous()),
            BoxTruths(
                true,
                truth_categories,
                truths[:, 4:].contiguous(),
                truths[:, 1].contiguous(),
                truths[:, 2] != 0,
                truths[:, 3] == 0,
            ),
            self._protocol,
            images=images,
            categories=1 if self.class_agnostic else max(1, len(labels)),
            compatibility=self.compatibility,
        )

    def labels(self) -> Tensor:
        """The categories in the states as they are, ascending, in the order that the curves have them."""
        states, *_ = self._joined()
        return self._categories(states["detection_rows"][:, 0], states["truth_rows"][:, 0])[0].long()
