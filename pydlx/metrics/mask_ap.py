"""Average precision of instance segmentation, as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, described
from pydlx.data.annotations import Id
from pydlx.metrics.box_ap import box_protocol
from pydlx.metrics.coco_protocol import (
    Curves,
    Detections,
    Protocol,
    Truths,
    check_compatibility,
    evaluate,
    taken,
    unrecorded,
)
from pydlx.metrics.detection_metric import DetectionMetric, Names
from pydlx.metrics.image_batch import Image, ImageBatch
from pydlx.metrics.mask_rows import MaskRows, coded_masks, dense_masks, joined
from pydlx.ops.mask_iou import ragged_mask_iou


@dataclass(frozen=True)
class MaskDetections:
    """D detections of a whole data set: images, categories (D,) int64; scores and area (D,) float64; D masks."""

    images: Tensor
    categories: Tensor
    scores: Tensor
    area: Tensor
    masks: MaskRows


@dataclass(frozen=True)
class MaskTruths:
    """G truths of a whole data set: images, categories (G,) int64; area (G,) float64; crowd (G,) bool; G masks.

    ``area`` decides the area range; NaN stands for that of the mask. ``has_id_0`` (G,) is bool or None: which
    annotations have the id 0.
    """

    images: Tensor
    categories: Tensor
    area: Tensor
    crowd: Tensor
    masks: MaskRows
    has_id_0: Tensor | None = None


def mask_curves(
    detections: MaskDetections,
    truths: MaskTruths,
    protocol: Protocol,
    *,
    images: int,
    categories: int,
    compatibility: str | None = None,
) -> Curves:
    """Precision over recall of a whole data set; see `MaskAP` for the rules."""

    def similarity(
        found: np.ndarray | None, true: np.ndarray | None, found_offsets: Tensor, true_offsets: Tensor
    ) -> Tensor:
        pairs = _as_tensors(detections.masks.at(found)), _as_tensors(truths.masks.at(true))
        return ragged_mask_iou(*pairs[0], *pairs[1], taken(truths.crowd, true), found_offsets, true_offsets)

    area = torch.where(truths.area.isnan(), torch.from_numpy(truths.masks.area()), truths.area)
    return evaluate(
        Detections(detections.images, detections.categories, detections.scores, detections.area),
        Truths(
            truths.images,
            truths.categories,
            area,
            truths.crowd,
            torch.zeros_like(truths.crowd),
            unrecorded(truths.has_id_0, compatibility),
        ),
        similarity,
        protocol,
        images,
        categories,
    )


def _as_tensors(masks: MaskRows) -> tuple[Tensor, Tensor, Tensor]:
    """Spans, where those of each mask begin, heights."""
    heights = np.ascontiguousarray(masks.sizes[:, 0])
    return torch.from_numpy(masks.spans), torch.from_numpy(masks.offsets), torch.from_numpy(heights)


class MaskAP(DetectionMetric):
    """Average precision and recall of instance segmentation by intersection over union of masks.

    The protocol is COCO's (https://cocodataset.org/#detection-eval): crowd regions are ignored and overlap by
    intersection over the detection's area, the 100 best detections of an image and category count. All masks are
    compared in the pixels of their image.

    Args:
        max_detections: limits of detections per image and category; the largest counts, the others give an AR each.
        iou_thresholds: overlaps from which on a detection is right; 0.50, 0.55, ..., 0.95 by default.
        recall_thresholds: where precision is sampled; 0.00, 0.01, ..., 1.00 by default.
        area_ranges: name -> (least, largest) area, both included; ``"all"`` among them. By default all, small (to
            32^2), medium (to 96^2) and large.
        class_agnostic: take all categories for one.
        class_metrics: ``compute`` also gives AP of each class that was seen, as ``AP/person``.
        class_names: of the labels, for these and for `per_class`: names by label, or a list whose first name is that of
            label 0; by default the labels.
        only_images: ids of the images that count; others, which may be in updates too, are ignored. Updates must then
            give ``image_ids``.
        only_labels: the categories that count; others are ignored.
        compatibility: ``"pycocotools"`` loses the matches of annotations with id 0, as pycocotools does.

    ``update(preds, target, image_ids=None)`` takes one dict per image. ``preds``: ``masks``, ``scores`` and ``labels``
    (n,). ``target``: ``masks``, ``labels``, and if there are any ``iscrowd``, ``area`` (default: the mask's pixels) and
    ``ids``. ``masks`` are a bool tensor (n, H, W), or a list with an entry for each: polygons ``[[x, y, x, y, ...],
    ...]`` or run lengths ``{"size": [H, W], "counts": ...}``, compressed or not, as pycocotools gives them. Polygons
    take the image's size from ``size`` beside them, ``(H, W)``. Other keys are ignored.

    ``compute()`` gives ``AP AP50 AP75 APS APM APL AR1 AR10 AR100 ARS ARM ARL``; -1 where no truth counts.

    Example:
        >>> masks = torch.zeros(1, 40, 60, dtype=torch.bool)
        >>> masks[0, 10:30, 5:50] = True
        >>> metric = MaskAP()
        >>> metric.update(
        ...     [{"masks": masks, "scores": torch.tensor([0.9]), "labels": torch.tensor([3])}],
        ...     [{"masks": masks, "labels": torch.tensor([3])}],
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
        class_agnostic: bool = False,
        class_metrics: bool = False,
        class_names: Names | None = None,
        only_images: Sequence[Id] | None = None,
        only_labels: Sequence[int] | None = None,
        compatibility: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Spans are rows of their own; `*_span_counts` says how many each mask has.
        super().__init__(
            {"found_labels": (), "found_scores": (), "found_span_counts": (), "found_sizes": (2,), "found_spans": (2,)},
            {
                "true_labels": (),
                "true_area": (),
                "true_crowd": (),
                "true_ids": (),
                "true_span_counts": (),
                "true_sizes": (2,),
                "true_spans": (2,),
            },
            by_limit=True,
            class_metrics=class_metrics,
            class_names=class_names,
            only_images=only_images,
            only_labels=only_labels,
            **kwargs,
        )
        self._protocol = box_protocol(max_detections, iou_thresholds, recall_thresholds, area_ranges, "MaskAP")
        check_compatibility("MaskAP", compatibility)
        check_flag("MaskAP", "class_agnostic", class_agnostic)
        self.class_agnostic, self.compatibility = class_agnostic, compatibility
        self.max_detections, self.iou_thresholds = max_detections, iou_thresholds
        self.recall_thresholds, self.area_ranges = recall_thresholds, area_ranges

    def _found(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {
            "found_scores": batch.rows("scores"),
            "found_labels": batch.rows("labels"),
            **self._masks("found", batch),
        }

    def _true(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {
            "true_labels": batch.rows("labels"),
            "true_area": batch.column("area", torch.nan),
            "true_crowd": batch.column("iscrowd", 0),
            "true_ids": batch.column("ids", -1),
            **self._masks("true", batch),
        }

    def _masks(self, side: str, batch: ImageBatch) -> dict[str, Tensor]:
        assert batch.counts is not None
        parts = [
            _masks_of(f"MaskAP: {batch.kind}[{number}]", image, count)
            for number, (image, count) in enumerate(zip(batch.images, batch.counts, strict=True))
        ]
        masks = joined(parts)
        columns = {"span_counts": np.diff(masks.offsets), "sizes": masks.sizes, "spans": masks.spans}
        return {f"{side}_{name}": torch.from_numpy(column).double() for name, column in columns.items()}

    def _chosen(self, columns: dict[str, Tensor], kept: np.ndarray) -> dict[str, Tensor]:
        """Some of the masks, with their spans."""
        side = next(iter(columns)).partition("_")[0]
        of_span = kept.repeat(columns[f"{side}_span_counts"].numpy().astype(np.int64))
        spans = {f"{side}_spans": torch.from_numpy(columns[f"{side}_spans"].numpy()[of_span])}
        return super()._chosen({name: column for name, column in columns.items() if name not in spans}, kept) | spans

    def _evaluated(self) -> tuple[Curves, np.ndarray | None]:
        columns, found_images, true_images, images = self._joined()
        seen, found_categories, true_categories = self._categories(columns)
        labels = None if self.class_agnostic else seen
        if self.class_agnostic:
            found_categories, true_categories = torch.zeros_like(found_categories), torch.zeros_like(true_categories)
        found, true = (_rows_of(side, columns) for side in ("found", "true"))
        self._check_sizes(found, true, found_images.numpy(), true_images.numpy(), images)
        curves = mask_curves(
            MaskDetections(
                found_images, found_categories, columns["found_scores"], torch.from_numpy(found.area()), found
            ),
            MaskTruths(
                true_images,
                true_categories,
                columns["true_area"],
                columns["true_crowd"] != 0,
                true,
                columns["true_ids"] == 0,
            ),
            self._protocol,
            images=images,
            categories=1 if labels is None else max(1, len(labels)),
            compatibility=self.compatibility,
        )
        return curves, labels

    def _check_sizes(
        self, found: MaskRows, true: MaskRows, found_images: np.ndarray, true_images: np.ndarray, images: int
    ) -> None:
        """Requires that all masks of an image have one size."""
        sizes = np.zeros((images, 2), dtype=np.int64)
        sizes[found_images] = found.sizes
        sizes[true_images] = true.sizes
        for masks, of in ((found, found_images), (true, true_images)):
            if (other := np.flatnonzero((sizes[of] != masks.sizes).any(1))).size:
                first = other[0]
                raise ValueError(
                    f"MaskAP: masks of an image must have one size, got {tuple(masks.sizes[first].tolist())} and "
                    f"{tuple(sizes[of][first].tolist())} for image number {int(of[first])}"
                )


def _rows_of(side: str, columns: Mapping[str, Tensor]) -> MaskRows:
    """The masks of the states of one kind."""
    counts, sizes, spans = (columns[f"{side}_{name}"].numpy() for name in ("span_counts", "sizes", "spans"))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return MaskRows(spans.astype(np.int32), offsets, sizes.astype(np.int64))


def _masks_of(place: str, image: Image, count: int) -> MaskRows:
    """What an image's dict has under ``masks``."""
    if "masks" not in image:
        raise ValueError(f'{place} must have "masks", got {sorted(image)}')
    given = image["masks"]
    if isinstance(given, Tensor | np.ndarray):
        masks = torch.as_tensor(given)
        if masks.dtype not in (torch.bool, torch.uint8) or (masks.dim() != 3 and masks.numel()):
            raise ValueError(f'{place}["masks"] must be bool of shape (n, H, W), got {described(given)}')
        if masks.dim() == 3 and len(masks) and not masks.numel():
            raise ValueError(f'{place}["masks"] must be of images with pixels, got {described(given)}')
        rows = dense_masks(masks.bool()) if masks.dim() == 3 else joined([])
    else:
        size = image.get("size")
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise ValueError(f'{place}["masks"] must be a bool tensor or a list of masks, got {described(given)}')

        def refuse(number: int, reason: str) -> None:
            raise ValueError(f'{place}["masks"][{number}] {reason}')

        rows = coded_masks(given, None if size is None else (int(size[0]), int(size[1])), refuse)
    if len(rows) != count:
        raise ValueError(f'{place}["masks"] must have {count} masks, got {len(rows)}')
    return rows
