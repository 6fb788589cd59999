"""Intersection over union of boxes, for many images in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_tensor
from pydlx.ops.ragged import check_offsets, check_rows, check_same_groups

_NAME = "ragged_box_iou"


def ragged_box_iou(
    boxes: Tensor, truths: Tensor, crowd: Tensor, detection_offsets: Tensor, truth_offsets: Tensor
) -> Tensor:
    """Overlap of every detection with every truth of its group, as the COCO evaluation defines it.

    ``iou = i / (a + b - i)`` with ``i`` the area of the intersection and ``a``, ``b`` those of detection and truth;
    for a crowd region ``i / a``. No pixel is added to widths or heights (pycocotools' ``maskUtils.iou``).

    Args:
        boxes: (D, 4) detections as x, y, width, height, float64.
        truths: (G, 4) truths likewise.
        crowd: (G,) bool, which truths are crowd regions.
        detection_offsets: (n + 1,) int64; group i holds the detections of ``range(offsets[i], offsets[i + 1])``.
        truth_offsets: (n + 1,) int64, the same for truths.

    Returns:
        (P,) float64: the (detections, truths) matrices of the groups, row-major, one after another. The op runs on the
        CPU and has no gradient.

    Raises:
        TypeError: If an argument is not a tensor.
        ValueError: If a dtype or a shape is wrong, a tensor is not on the CPU, or an input requires a gradient.
    """
    check_tensor(_NAME, "boxes", boxes)
    check_tensor(_NAME, "truths", truths)
    _autograd.refuse_derivative(_NAME, boxes, truths)
    check_rows(_NAME, "boxes", boxes, torch.float64, None, 4)
    check_rows(_NAME, "truths", truths, torch.float64, None, 4)
    check_rows(_NAME, "crowd", crowd, torch.bool, len(truths))
    check_offsets(_NAME, "detection_offsets", detection_offsets, len(boxes))
    check_offsets(_NAME, "truth_offsets", truth_offsets, len(truths))
    check_same_groups(_NAME, detection_offsets, truth_offsets)
    run = _op if _native.use_native(boxes, _NAME) else ragged_box_iou_reference
    return run(boxes, truths, crowd, detection_offsets, truth_offsets)


def ragged_box_iou_reference(
    boxes: Tensor, truths: Tensor, crowd: Tensor, detection_offsets: Tensor, truth_offsets: Tensor
) -> Tensor:
    """The definition, one group at a time."""
    d, g = detection_offsets.tolist(), truth_offsets.tolist()
    groups = [
        _box_iou(boxes[d[i] : d[i + 1]], truths[g[i] : g[i + 1]], crowd[g[i] : g[i + 1]]).flatten()
        for i in range(len(d) - 1)
    ]
    return torch.cat([boxes.new_empty(0), *groups])


def _box_iou(boxes: Tensor, truths: Tensor, crowd: Tensor) -> Tensor:
    a, b = boxes[:, None], truths[None]
    sides = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = sides.clamp(min=0).prod(-1)
    area = a[..., 2] * a[..., 3]
    union = torch.where(crowd, area, area + b[..., 2] * b[..., 3] - shared)
    return torch.where(shared > 0, shared / union, 0)


def _fake(boxes: Tensor, truths: Tensor, crowd: Tensor, detection_offsets: Tensor, truth_offsets: Tensor) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size())


_op = _native.register(
    "ragged_box_iou(Tensor boxes, Tensor truths, Tensor crowd, Tensor detection_offsets, Tensor truth_offsets) "
    "-> Tensor",
    reference=ragged_box_iou_reference,
    fake=_fake,
)
