"""Intersection over union of masks, of many images in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from pydlx import _native
from pydlx._checks import check_tensor
from pydlx.ops.ragged import check_offsets, check_rows, check_same_groups

_NAME = "ragged_mask_iou"


def ragged_mask_iou(
    spans: Tensor,
    span_offsets: Tensor,
    heights: Tensor,
    true_spans: Tensor,
    true_span_offsets: Tensor,
    true_heights: Tensor,
    crowd: Tensor,
    detection_offsets: Tensor,
    truth_offsets: Tensor,
) -> Tensor:
    """Overlap of every detected mask with every true mask of its group, as the COCO evaluation defines it.

    A mask is a row of spans: the pixels ``range(first, end)`` where pixels are counted column after column. Its spans
    rise and do not overlap. ``iou = i / (a + b - i)`` with ``i`` the shared pixels and ``a``, ``b`` those of detection
    and truth; against a crowd region ``i / a``; 0 where nothing is shared.

    Args:
        spans: (S, 2) int32, first pixel and end of each span of the detections, mask after mask.
        span_offsets: (D + 1,) int64; mask i has the spans ``range(offsets[i], offsets[i + 1])``.
        heights: (D,) int64, of each detection's image in pixels.
        true_spans: (S', 2) int32, the same of the truths.
        true_span_offsets: (G + 1,) int64, likewise.
        true_heights: (G,) int64, likewise.
        crowd: (G,) bool, which truths are crowd regions.
        detection_offsets: (n + 1,) int64; group i holds the detections of ``range(offsets[i], offsets[i + 1])``.
        truth_offsets: (n + 1,) int64, the same for truths.

    Returns:
        (P,) float64: group after group the row-major (detections, truths) matrix. Runs on the CPU, has no gradient.

    Raises:
        TypeError: If an argument is not a tensor.
        ValueError: If a dtype or a shape is another, a tensor is not on the CPU, or a height is not
            from 1 to 2**31 - 1.
    """
    check_tensor(_NAME, "spans", spans)
    check_tensor(_NAME, "true_spans", true_spans)
    for side, rows, offsets, sizes in (
        ("", spans, span_offsets, heights),
        ("true_", true_spans, true_span_offsets, true_heights),
    ):
        check_rows(_NAME, f"{side}spans", rows, torch.int32, None, 2)
        check_rows(_NAME, f"{side}heights", sizes, torch.int64, None)
        check_offsets(_NAME, f"{side}span_offsets", offsets, len(rows))
        check_rows(_NAME, f"{side}span_offsets", offsets, torch.int64, len(sizes) + 1)
        if len(wrong := sizes[(sizes < 1) | (sizes >= 2**31)]):
            raise ValueError(f"{_NAME}: {side}heights must be from 1 to 2**31 - 1, got {int(wrong[0])}")
    check_rows(_NAME, "crowd", crowd, torch.bool, len(true_heights))
    check_offsets(_NAME, "detection_offsets", detection_offsets, len(heights))
    check_offsets(_NAME, "truth_offsets", truth_offsets, len(true_heights))
    check_same_groups(_NAME, detection_offsets, truth_offsets)
    run = _op if _native.use_native(spans, _NAME) else ragged_mask_iou_reference
    return run(
        spans,
        span_offsets,
        heights,
        true_spans,
        true_span_offsets,
        true_heights,
        crowd,
        detection_offsets,
        truth_offsets,
    )


def ragged_mask_iou_reference(
    spans: Tensor,
    span_offsets: Tensor,
    heights: Tensor,
    true_spans: Tensor,
    true_span_offsets: Tensor,
    true_heights: Tensor,
    crowd: Tensor,
    detection_offsets: Tensor,
    truth_offsets: Tensor,
) -> Tensor:
    """The definition, one group at a time: spans of either side are compared pair by pair."""
    d, g = detection_offsets.tolist(), truth_offsets.tolist()
    groups = [torch.empty(0, dtype=torch.float64)]
    for i in range(len(d) - 1):
        found, of_found = _rows_of(spans, span_offsets, d[i], d[i + 1])
        true, of_true = _rows_of(true_spans, true_span_offsets, g[i], g[i + 1])
        ends = torch.minimum(found[:, None, 1], true[None, :, 1])
        lengths = (ends - torch.maximum(found[:, None, 0], true[None, :, 0])).clamp(min=0)
        shared = torch.zeros(d[i + 1] - d[i], len(true), dtype=torch.int64).index_add(0, of_found, lengths)
        shared = torch.zeros(len(shared), g[i + 1] - g[i], dtype=torch.int64).index_add(1, of_true, shared)
        areas = [
            torch.zeros(size, dtype=torch.int64).index_add(0, of, rows[:, 1] - rows[:, 0])
            for size, of, rows in ((shared.shape[0], of_found, found), (shared.shape[1], of_true, true))
        ]
        whole = areas[0][:, None] + torch.where(crowd[g[i] : g[i + 1]], 0, areas[1] - shared)
        groups.append(torch.where(shared > 0, shared.double() / whole, 0).flatten())
    return torch.cat(groups)


def _rows_of(spans: Tensor, offsets: Tensor, first: int, end: int) -> tuple[Tensor, Tensor]:
    """The spans of some masks, int64, and the mask that each is of, counted from `first`."""
    counts = offsets[first : end + 1].diff()
    rows = spans[int(offsets[first]) : int(offsets[end])].long()
    return rows, torch.arange(end - first).repeat_interleave(counts)


def _fake(spans: Tensor, *others: Tensor) -> Tensor:
    return spans.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.float64)


_op = _native.register(
    "ragged_mask_iou(Tensor spans, Tensor span_offsets, Tensor heights, Tensor true_spans, Tensor true_span_offsets, "
    "Tensor true_heights, Tensor crowd, Tensor detection_offsets, Tensor truth_offsets) -> Tensor",
    reference=ragged_mask_iou_reference,
    fake=_fake,
)
