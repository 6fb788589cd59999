"""Average precision of keypoint detection, as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_flag, is_whole, numbers
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
    unrecorded,
    validated,
)
from pydlx.metrics.detection_metric import DetectionMetric
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
    thresholds: Sequence[float] | Tensor | None = None,
    recall_thresholds: Sequence[float] | Tensor | None = None,
    area_ranges: Mapping[str, Sequence[float]] | None = None,
    name: str = "KeypointAP",
) -> Protocol:
    """COCO's protocol for keypoints, with what is given instead; see `KeypointAP`."""
    limits: Any = [max_detections] if is_whole(max_detections) else max_detections
    areas = KEYPOINT_AREAS if area_ranges is None else area_ranges
    return validated(name, areas, limits, thresholds=thresholds, recalls=recall_thresholds)


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

    def similarity(found: Tensor | None, true: Tensor | None, found_offsets: Tensor, true_offsets: Tensor) -> Tensor:
        points = detections.points if found is None else detections.points[found]
        rows = (truths.points, truths.visibility, area, truths.boxes)
        where, visible, size, boxes = rows if true is None else (values[true] for values in rows)
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
        thresholds: OKS from which on a detection is right; 0.50, 0.55, ..., 0.95 by default.
        recall_thresholds: where precision is sampled; 0.00, 0.01, ..., 1.00 by default.
        area_ranges: name -> (least, largest) area, both included; ``"all"`` among them. By default all, medium (32^2
            to 96^2) and large (from 96^2).
        box_format: how boxes are given, ``"xyxy"`` or ``"xywh"``.
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
        ("preds", "labels", "numbers"),
        ("target", "keypoints", "finite"),
        ("target", "labels", "numbers"),
    )

    def __init__(
        self,
        sigmas: Sequence[float] | Tensor = COCO_SIGMAS,
        max_detections: int = 20,
        use_area: bool = True,
        *,
        thresholds: Sequence[float] | Tensor | None = None,
        recall_thresholds: Sequence[float] | Tensor | None = None,
        area_ranges: Mapping[str, Sequence[float]] | None = None,
        box_format: str = "xyxy",
        compatibility: str | None = None,
        **kwargs: Any,
    ) -> None:
        spread = checked_sigmas("KeypointAP", sigmas)
        found = {"detection_points": (len(spread), 2), "detection_rows": (3,)}
        true = {"truth_points": (len(spread), 3), "truth_rows": (9,)}
        super().__init__(found, true, by_limit=False, box_format=box_format, **kwargs)
        self._sigmas = spread
        self._protocol = keypoint_protocol(max_detections, thresholds, recall_thresholds, area_ranges)
        check_compatibility("KeypointAP", compatibility)
        check_flag("KeypointAP", "use_area", use_area)
        self.sigmas, self.max_detections, self.use_area = tuple(spread.tolist()), max_detections, use_area
        self.thresholds, self.recall_thresholds, self.area_ranges = thresholds, recall_thresholds, area_ranges
        self.compatibility = compatibility

    def _found(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Points (n, K, 2), and label, score, area (n, 3)."""
        scores = batch.rows("scores")
        points = batch.rows("keypoints", len(self._sigmas), 2, widths=(3,))
        labels = batch.column("labels", torch.nan)
        boxes = batch.rows_if_given("boxes", 4)
        area = torch.where(batch.is_given("boxes"), self._boxes(boxes)[:, 2:].prod(1), extent(points))
        return points, torch.stack([labels, scores, area], 1)

    def _true(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Points (n, K, 3), and label, area, crowd, num_keypoints, id, box (n, 9)."""
        points = batch.rows("keypoints", len(self._sigmas), 3)
        for number, image in enumerate(batch.images):
            if "boxes" not in image and ("area" not in image or not self.use_area):
                needed = '"area" or "boxes"' if self.use_area else '"boxes" (use_area=False)'
                raise ValueError(f"KeypointAP: target[{number}] must have {needed}, got {sorted(image)}")
        boxes = batch.rows_if_given("boxes", 4)
        boxes = torch.where(batch.is_given("boxes")[:, None], self._boxes(boxes), boxes_around(points))
        counted = batch.column("num_keypoints", torch.nan)
        visible = (points[..., 2] > 0).sum(1).double()
        columns = [
            batch.column("labels", torch.nan),
            batch.column("area", torch.nan),
            batch.column("iscrowd", 0),
            torch.where(batch.is_given("num_keypoints"), counted, visible),
            batch.column("ids", -1),
        ]
        return points, torch.cat([torch.stack(columns, 1), boxes], 1)

    def curves(self) -> Curves:
        """Precision over recall of the states as they are, all categories."""
        detections, truths, images, labels = self._rows()
        return self._curves(detections, truths, images, len(labels), self._sigmas)

    def per_keypoint(self) -> Tensor:
        """AP of each keypoint alone, (K,) float64, of the states as they are: by the OKS of that keypoint, over the
        truths where it is visible; -1 where it never is."""
        detections, truths, images, labels = self._rows()
        each = [
            self._curves(*one_keypoint(detections, truths, k), images, len(labels), sigma)
            for k, sigma in enumerate(self._sigmas.split(1))
        ]
        return torch.tensor([curves.average_precision() for curves in each], dtype=torch.float64)

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

    def _rows(self) -> tuple[KeypointDetections, KeypointTruths, int, Tensor]:
        states, found, true, images = self._joined()
        labels, score, area = states["detection_rows"].unbind(1)
        truth_labels, truth_area, crowd, visible, ids, *_ = states["truth_rows"].unbind(1)
        names, categories, truth_categories = self._categories(labels, truth_labels)
        points = states["truth_points"]
        if self.use_area:
            counted = visible != 0
            self._warn_of_tiny(truth_area[counted], true[counted], ", so next to nothing matches")
        return (
            KeypointDetections(found, categories, score.contiguous(), area.contiguous(), states["detection_points"]),
            KeypointTruths(
                true,
                truth_categories,
                points[..., :2].contiguous(),
                points[..., 2].contiguous(),
                truth_area.contiguous(),
                states["truth_rows"][:, 5:].contiguous(),
                crowd != 0,
                visible.long(),
                ids == 0,
            ),
            images,
            names,
        )


def boxes_around(points: Tensor) -> Tensor:
    """x, y, width, height (n, 4) of the visible points of (n, K, 3); all zeros where none is."""
    seen = points[..., 2:] > 0
    low = torch.where(seen, points[..., :2], torch.inf).amin(1)
    high = torch.where(seen, points[..., :2], -torch.inf).amax(1)
    return torch.where(seen.any(1), torch.cat([low, high - low], 1), 0)
