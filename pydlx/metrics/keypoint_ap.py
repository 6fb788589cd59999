"""Average precision of keypoint detection, as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, is_whole, numbers
from pydlx.data.annotations import Id
from pydlx.metrics.coco_protocol import (
    ALL,
    EVERYTHING,
    LARGE,
    MEDIUM,
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
from pydlx.metrics.keypoint_sigmas import COCO_SIGMAS
from pydlx.ops.oks import ragged_oks

KEYPOINT_AREAS: Mapping[str, tuple[float, float]] = {ALL: EVERYTHING, "medium": MEDIUM, "large": LARGE}

# What an object's segmentation covers of its box, on average, where data has no areas.
_BOX_COVERED = 0.53


@dataclass(frozen=True)
class KeypointDetections:
    """D detections of a whole data set: images, categories (D,) int64; scores, area (D,) and points (D, K, 2) float64.

    ``area`` is that of the box where there is one, else of the extent of all points (`extent`); it decides which area
    range a detection is wrong in.
    """

    images: Tensor
    categories: Tensor
    scores: Tensor
    area: Tensor
    points: Tensor


@dataclass(frozen=True)
class KeypointTruths:
    """G truths of a whole data set.

    Attributes:
        images: (G,) int64.
        categories: (G,) int64.
        points: (G, K, 2) float64.
        visibility: (G, K); a keypoint counts where it is above 0.
        area: (G,) float64, of the segmentation; NaN where unknown.
        boxes: (G, 4) float64 as x, y, width, height.
        crowd: (G,) bool.
        num_keypoints: (G,) int64; a truth with 0 is ignored, whatever its visibility says.
        has_id_0: (G,) bool or None; which annotations have the id 0.
    """

    images: Tensor
    categories: Tensor
    points: Tensor
    visibility: Tensor
    area: Tensor
    boxes: Tensor
    crowd: Tensor
    num_keypoints: Tensor
    has_id_0: Tensor | None = None


def extent(points: Tensor) -> Tensor:
    """Area (n,) of the boxes around all points (n, K, 2)."""
    if not len(points):
        return points.new_zeros(0)
    low, high = points.aminmax(dim=1)
    return (high - low).prod(-1)


def keypoint_protocol(
    max_detections: int | Sequence[int] = 20,
    oks_thresholds: Sequence[float] | Tensor | None = None,
    recall_thresholds: Sequence[float] | Tensor | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    name: str = "KeypointAP",
) -> Protocol:
    """COCO's protocol for keypoints, with what is given instead; see `KeypointAP`."""
    limits: Any = [max_detections] if is_whole(max_detections) else max_detections
    areas = KEYPOINT_AREAS if area_ranges is None else area_ranges
    return validated(name, areas, limits, recall_thresholds, oks_thresholds=oks_thresholds)


def keypoint_curves(
    detections: KeypointDetections,
    truths: KeypointTruths,
    sigmas: Tensor,
    protocol: Protocol,
    *,
    images: int,
    categories: int,
    use_area: bool,
    compatibility: str | None,
) -> Curves:
    """Precision over recall of a whole data set; see `KeypointAP` for the rules."""
    area = truths.area
    if not use_area or bool(area.isnan().any()):
        covered = _BOX_COVERED * truths.boxes[:, 2] * truths.boxes[:, 3]
        area = torch.where(area.isnan(), covered, area) if use_area else covered

    def similarity(
        found: np.ndarray | None, true: np.ndarray | None, found_offsets: Tensor, true_offsets: Tensor
    ) -> Tensor:
        where, visible, size, boxes = (
            taken(values, true) for values in (truths.points, truths.visibility, area, truths.boxes)
        )
        points = taken(detections.points, found)
        return ragged_oks(points, where, visible, size, sigmas, boxes, found_offsets, true_offsets)

    return evaluate(
        Detections(detections.images, detections.categories, detections.scores, detections.area),
        Truths(
            truths.images,
            truths.categories,
            area,
            truths.crowd,
            truths.num_keypoints == 0,
            unrecorded(truths.has_id_0, compatibility),
        ),
        similarity,
        protocol,
        images,
        categories,
    )


def one_keypoint(
    detections: KeypointDetections, truths: KeypointTruths, keypoint: int
) -> tuple[KeypointDetections, KeypointTruths]:
    """The rows with one keypoint alone; truths where it is not visible are ignored."""
    only = slice(keypoint, keypoint + 1)
    visible = truths.visibility[:, only].contiguous()
    counted = torch.where(truths.num_keypoints > 0, (visible[:, 0] > 0).long(), 0)
    return (
        replace(detections, points=detections.points[:, only].contiguous()),
        replace(truths, points=truths.points[:, only].contiguous(), visibility=visible, num_keypoints=counted),
    )


def checked_sigmas(name: str, sigmas: Sequence[float] | Tensor) -> Tensor:
    """(K,) float64, positive."""
    values = numbers(name, "sigmas", sigmas)
    if not values or not all(value > 0 for value in values):
        raise ValueError(f"{name}: sigmas must be positive numbers, one for each keypoint, got {sigmas!r}")
    return torch.tensor(values, dtype=torch.float64, device="cpu")  # also where another device is the default


class KeypointAP(DetectionMetric):
    """Average precision and recall of keypoint detections by object keypoint similarity (OKS).

    The protocol is COCO's (https://cocodataset.org/#keypoints-eval), edge cases included: truths with
    ``num_keypoints`` 0 and crowd regions are ignored, and so are detections that match them; OKS of a truth without
    visible keypoints is measured from its box; the 20 best detections of an image and category count; precision is
    sampled at 101 recalls. It is not comparable with `single_person_ap`, which knows neither scores nor missed people.

    Args:
        sigmas: one per keypoint, which sets their number; `pydlx.metrics` has ``COCO_SIGMAS`` (17, the default),
            ``CROWDPOSE_SIGMAS`` (14) and ``WHOLEBODY_SIGMAS`` (by part).
        max_detections: how many detections of an image and category count, the best ones.
        use_area: measure OKS against the truths' ``area``; else against 0.53 times that of their boxes.
        oks_thresholds: OKS from which on a detection is right; 0.50, 0.55, ..., 0.95 by default.
        recall_thresholds: where precision is sampled; 0.00, 0.01, ..., 1.00 by default.
        area_ranges: name -> (least, largest) area, both included; ``"all"`` among them. By default all, medium (32^2
            to 96^2) and large (from 96^2).
        box_format: how boxes are given: ``"xyxy"`` (two corners), ``"xywh"`` (a corner, width and height) or
            ``"cxcywh"`` (the centre, width and height).
        class_metrics: ``compute`` also gives AP of each class that was seen, as ``AP/person``.
        class_names: of the labels, for these and for `per_class`: names by label, or a list whose first name is that of
            label 0; by default the labels.
        only_images: ids of the images that count; others, which may be in updates too, are ignored. Updates must then
            give ``image_ids``.
        only_labels: the categories that count; others are ignored.
        compatibility: ``"pycocotools"`` loses the matches of annotations with id 0, as pycocotools does.

    ``update(preds, target, image_ids=None)`` takes one dict of tensors per image. ``preds``: ``keypoints``
    (n, K, 2) or (n, K, 3), of which the third number is not used, ``scores`` (n,), and if there are any ``labels``
    (n,) and ``boxes`` (n, 4). ``target``: ``keypoints`` (n, K, 3) as x, y, visibility, ``area`` (n,) or ``boxes`` or
    both, and if there are any ``labels``, ``iscrowd``, ``num_keypoints`` (default: how many are visible) and ``ids``.
    Other keys are ignored. Image ids are whole numbers of any size or strings.

    Labels are the categories, each of which is evaluated alone. Where predictions or targets have none, as beside
    torchvision's keypoint R-CNN, all are of one category; labels that differ beside rows without any raise.

    ``compute()`` gives ``AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL``; -1 where no truth counts.

    Example:
        >>> pose = torch.rand(2, 17, 3) * 100 + 1
        >>> metric = KeypointAP()
        >>> metric.update(
        ...     [{"keypoints": pose[:, :, :2], "scores": torch.tensor([0.9, 0.8])}],
        ...     [{"keypoints": pose, "area": torch.tensor([5000.0, 6000.0])}],
        ... )
        >>> float(metric.compute()["AP"])
        1.0
    """

    promises = (
        ("preds", "scores", "numbers"),
        ("preds", "keypoints", "finite"),
        ("preds", "labels", "labels"),
        ("target", "keypoints", "finite"),
        ("target", "labels", "labels"),
    )

    def __init__(
        self,
        sigmas: Sequence[float] | Tensor = COCO_SIGMAS,
        max_detections: int = 20,
        use_area: bool = True,
        *,
        oks_thresholds: Sequence[float] | Tensor | None = None,
        recall_thresholds: Sequence[float] | Tensor | None = None,
        area_ranges: Mapping[str, Sequence[float]] | None = None,
        box_format: str = "xyxy",
        class_metrics: bool = False,
        class_names: Names | None = None,
        only_images: Sequence[Id] | None = None,
        only_labels: Sequence[int] | None = None,
        compatibility: str | None = None,
        **kwargs: Any,
    ) -> None:
        spread = checked_sigmas("KeypointAP", sigmas)
        count = len(spread)
        super().__init__(
            {"found_labels": (), "found_scores": (), "found_area": (), "found_points": (count, 2)},
            {
                "true_labels": (),
                "true_area": (),
                "true_crowd": (),
                "true_num_keypoints": (),
                "true_ids": (),
                "true_boxes": (4,),
                "true_points": (count, 2),
                "true_visibility": (count,),
            },
            by_limit=False,
            class_metrics=class_metrics,
            class_names=class_names,
            only_images=only_images,
            only_labels=only_labels,
            **kwargs,
        )
        self._sigmas = spread
        self._protocol = keypoint_protocol(max_detections, oks_thresholds, recall_thresholds, area_ranges)
        check_box_format("KeypointAP", box_format)
        check_compatibility("KeypointAP", compatibility)
        check_flag("KeypointAP", "use_area", use_area)
        self.sigmas, self.max_detections, self.use_area = tuple(spread.tolist()), max_detections, use_area
        self.oks_thresholds, self.recall_thresholds, self.area_ranges = oks_thresholds, recall_thresholds, area_ranges
        self.box_format, self.compatibility = box_format, compatibility

    def _found(self, batch: ImageBatch) -> dict[str, Tensor]:
        scores = batch.rows("scores")
        points = batch.rows("keypoints", len(self._sigmas), 2, widths=(3,))
        boxes = as_xywh(batch.rows_if_given("boxes", 4), self.box_format)
        return {
            "found_scores": scores,
            "found_points": points,
            "found_labels": batch.column("labels", torch.nan),
            "found_area": torch.where(batch.is_given("boxes"), boxes[:, 2:].prod(1), extent(points)),
        }

    def _true(self, batch: ImageBatch) -> dict[str, Tensor]:
        points = batch.rows("keypoints", len(self._sigmas), 3)
        for number, image in enumerate(batch.images):
            if "boxes" not in image and ("area" not in image or not self.use_area):
                needed = '"area" or "boxes"' if self.use_area else '"boxes" (use_area=False)'
                raise ValueError(f"KeypointAP: target[{number}] must have {needed}, got {sorted(image)}")
        boxes = as_xywh(batch.rows_if_given("boxes", 4), self.box_format)
        counted = batch.column("num_keypoints", torch.nan)
        visible = (points[..., 2] > 0).sum(1).double()
        return {
            "true_points": points[..., :2].contiguous(),
            "true_visibility": points[..., 2].contiguous(),
            "true_labels": batch.column("labels", torch.nan),
            "true_area": batch.column("area", torch.nan),
            "true_crowd": batch.column("iscrowd", 0),
            "true_num_keypoints": torch.where(batch.is_given("num_keypoints"), counted, visible),
            "true_ids": batch.column("ids", -1),
            "true_boxes": torch.where(batch.is_given("boxes")[:, None], boxes, boxes_around(points)),
        }

    def per_keypoint(self) -> Tensor:
        """AP of each keypoint alone, (K,) float64, of the states as they are: OKS of one point instead of their mean,
        over the truths where it is visible; -1 where it never is."""
        detections, truths, images, labels = self._rows()
        each = [
            self._curves(*one_keypoint(detections, truths, k), images, len(labels), sigma)
            for k, sigma in enumerate(self._sigmas.split(1))
        ]
        return torch.tensor([curves.average_precision() for curves in each], dtype=torch.float64)

    def _evaluated(self) -> tuple[Curves, np.ndarray]:
        detections, truths, images, labels = self._rows()
        return self._curves(detections, truths, images, len(labels), self._sigmas), labels

    def _curves(
        self, detections: KeypointDetections, truths: KeypointTruths, images: int, categories: int, sigmas: Tensor
    ) -> Curves:
        return keypoint_curves(
            detections,
            truths,
            sigmas,
            self._protocol,
            images=images,
            categories=max(1, categories),
            use_area=self.use_area,
            compatibility=self.compatibility,
        )

    def _rows(self) -> tuple[KeypointDetections, KeypointTruths, int, np.ndarray]:
        columns, found_images, true_images, images = self._joined()
        labels, found_categories, true_categories = self._categories(columns)
        found = KeypointDetections(
            found_images,
            found_categories,
            columns["found_scores"],
            columns["found_area"],
            columns["found_points"],
        )
        true = KeypointTruths(
            true_images,
            true_categories,
            columns["true_points"],
            columns["true_visibility"],
            columns["true_area"],
            columns["true_boxes"],
            columns["true_crowd"] != 0,
            columns["true_num_keypoints"].long(),
            columns["true_ids"] == 0,
        )
        if self.use_area:
            counted = true.num_keypoints != 0
            self._warn_of_tiny(true.area[counted], true_images[counted], ", so next to nothing matches")
        return found, true, images, labels


def boxes_around(points: Tensor) -> Tensor:
    """x, y, width, height (n, 4) of the visible points of (n, K, 3); all zeros where none is."""
    seen = points[..., 2:] > 0
    low = torch.where(seen, points[..., :2], torch.inf).amin(1)
    high = torch.where(seen, points[..., :2], -torch.inf).amax(1)
    return torch.where(seen.any(1), torch.cat([low, high - low], 1), 0)
