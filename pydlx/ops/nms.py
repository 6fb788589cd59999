"""Non-maximum suppression of boxes by their overlap and of poses by their OKS; hard, or soft (arXiv 1704.04503).

Repeatedly, the remaining row with the highest score is taken and the scores of the others are lowered according to
their similarity s with it:

    hard      the row is dropped if s > threshold
    linear    score *= 1 - s if s > threshold
    gaussian  score *= exp(-s^2 / sigma)

A row is dropped as soon as its score is below the score threshold. NaN counts as larger than any number. Of rows with
equal scores the one with the highest original score is taken, then the one with the lowest index. Where s is NaN the
score is unchanged, so a row with NaN coordinates does not suppress others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_device, check_floating, check_integers, check_not_nan, check_one_of, check_positive
from pydlx.ops.oks import oks_reference, sigmas_of

METHODS = ("gaussian", "linear", "hard")  # numbered alike in csrc/nms/nms.h
_GAUSSIAN, _LINEAR, _HARD = range(3)


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    sigma: float = 0.5,
    *,
    method: str = "gaussian",
    iou_threshold: float = 0.5,
    score_threshold: float = 0.001,
    pixel_offset: float = 0.0,
    labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Suppress boxes that overlap boxes with higher scores (Bodla et al., arXiv 1704.04503).

    On CUDA a call for a batch does not wait for the device; one without a batch dimension does, to count the rows
    that are left.

    Args:
        boxes: (n, 4) or (B, n, 4) as x1, y1, x2, y2. float64 or float32; 16-bit dtypes are computed in float32.
        scores: (n,) or (B, n).
        sigma: Width of the decay with ``"gaussian"``.
        method: ``"gaussian"``, ``"linear"``, or ``"hard"`` for ordinary NMS.
        iou_threshold: Largest overlap at which ``"linear"`` and ``"hard"`` leave a box unchanged.
        score_threshold: Boxes whose score falls below it are dropped; ``-inf`` keeps all.
        pixel_offset: Added to widths and heights: 1 if x2 and y2 are the last pixels inside a box, as CornerNet's are.
        labels: (n,) or (B, n), integers: only boxes of the same label suppress each other.

    Returns:
        Indices of the remaining boxes, in the order in which they were taken, and their lowered scores: (m,) each. For
        a batch (B, n) each, padded with index -1 and score 0. There is no gradient.

    Raises:
        TypeError: If boxes or scores are not floating-point, or labels not integers.
        ValueError: If a shape or an option does not fit, or an input requires a gradient.
    """
    name = "soft_nms"
    check_one_of(name, "method", method, METHODS)
    check_positive(name, "sigma", sigma)
    check_not_nan(name, "iou_threshold", iou_threshold)
    check_not_nan(name, "score_threshold", score_threshold)
    check_not_nan(name, "pixel_offset", pixel_offset)
    _check(name, "boxes", boxes, scores, trailing=1, wanted="(n, 4) or (B, n, 4)")
    if boxes.shape[-1] != 4:
        raise ValueError(f"{name}: boxes must have shape (n, 4) or (B, n, 4), got {tuple(boxes.shape)}")
    _autograd.refuse_derivative(name, boxes, scores)
    if labels is not None:
        check_integers(name, "labels", labels)
        if labels.shape != scores.shape:
            raise ValueError(f"{name}: labels must have shape {tuple(scores.shape)}, got {tuple(labels.shape)}")
        check_device(name, "labels", labels, "boxes", boxes)
        labels = labels.long()
    options = (METHODS.index(method), float(sigma), float(iou_threshold), float(score_threshold), float(pixel_offset))
    op = _box_op if _native.use_native(boxes, "box_nms") else box_nms_reference

    dtype = _wide(boxes, scores)
    return _in_a_batch(op, boxes.to(dtype), scores, dtype, labels, *options)


def oks_nms(
    keypoints: Tensor, scores: Tensor, area: Tensor, sigmas: Tensor | Sequence[float], threshold: float = 0.9
) -> Tensor:
    """Drop poses that are similar to poses with higher scores, by their OKS over all points.

    The OKS of two poses uses the mean of their areas. On CUDA a call for a batch does not wait for the device; one
    without a batch dimension does, to count the remaining rows.

    Args:
        keypoints: (n, K, 2) or (B, n, K, 2).
        scores: (n,) or (B, n).
        area: (n,) or (B, n), not negative.
        sigmas: K positive numbers, see :func:`pydlx.ops.oks`.
        threshold: A pose is dropped if its OKS with a kept pose of higher score is above this.

    Returns:
        Indices of the remaining poses, by descending score: (m,), int64; for a batch (B, n), padded with -1.

    Raises:
        TypeError: If keypoints, scores or area are not floating-point.
        ValueError: If a shape does not fit.
    """
    check_not_nan("oks_nms", "threshold", threshold)
    options = (_HARD, 1.0, float(threshold), -torch.inf)
    order, _ = _pose_nms("oks_nms", keypoints, scores, area, sigmas, options)
    return order


def soft_oks_nms(
    keypoints: Tensor,
    scores: Tensor,
    area: Tensor,
    sigmas: Tensor | Sequence[float],
    threshold: float = 0.9,
    *,
    score_threshold: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Multiply the scores of poses by ``exp(-OKS^2 / threshold)`` for each pose with a higher score.

    The OKS of two poses uses the mean of their areas. On CUDA a call for a batch does not wait for the device; one
    without a batch dimension does, to count the remaining rows.

    Args:
        keypoints: (n, K, 2) or (B, n, K, 2).
        scores: (n,) or (B, n).
        area: (n,) or (B, n), not negative.
        sigmas: K positive numbers, see :func:`pydlx.ops.oks`.
        threshold: The width of the decay, positive.
        score_threshold: Poses whose score falls below it are dropped.

    Returns:
        Indices of the remaining poses, in the order in which they were taken, and their lowered scores: (m,) each. For
        a batch (B, n) each, padded with index -1 and score 0. There is no gradient.

    Raises:
        TypeError: If keypoints, scores or area are not floating-point.
        ValueError: If a shape does not fit, threshold is not positive, or an input requires a gradient.
    """
    check_positive("soft_oks_nms", "threshold", threshold)
    check_not_nan("soft_oks_nms", "score_threshold", score_threshold)
    options = (_GAUSSIAN, float(threshold), 1.0, float(score_threshold))
    _autograd.refuse_derivative("soft_oks_nms", *(x for x in (keypoints, scores, area) if isinstance(x, Tensor)))
    return _pose_nms("soft_oks_nms", keypoints, scores, area, sigmas, options)


def _pose_nms(
    name: str,
    keypoints: Tensor,
    scores: Tensor,
    area: Tensor,
    sigmas: Tensor | Sequence[float],
    options: tuple[int, float, float, float],
) -> tuple[Tensor, Tensor]:
    wanted = "(n, K, 2) or (B, n, K, 2)"
    _check(name, "keypoints", keypoints, scores, trailing=2, wanted=wanted)
    if keypoints.shape[-1] != 2:
        raise ValueError(f"{name}: keypoints must have shape {wanted}, got {tuple(keypoints.shape)}")
    check_floating(name, "area", area)
    check_device(name, "area", area, "keypoints", keypoints)
    if area.shape != scores.shape:
        raise ValueError(f"{name}: area must have shape {tuple(scores.shape)}, got {tuple(area.shape)}")
    dtype = _wide(keypoints, scores)
    spread = sigmas_of(name, sigmas, dtype, keypoints.device)
    if spread.shape != keypoints.shape[-2:-1]:
        raise ValueError(f"{name}: sigmas must hold {keypoints.shape[-2]} numbers, one per point, got {spread.numel()}")
    op = _pose_op if _native.use_native(keypoints, "pose_nms") else pose_nms_reference

    points, scores, area = keypoints.detach().to(dtype), scores.detach(), area.detach().to(dtype)
    return _in_a_batch(op, points, scores, dtype, area, spread, *options)


def _check(name: str, argument: str, items: Tensor, scores: Tensor, trailing: int, wanted: str) -> None:
    for given, tensor in ((argument, items), ("scores", scores)):
        check_floating(name, given, tensor)
    check_device(name, "scores", scores, argument, items)
    if items.dim() not in (trailing + 1, trailing + 2):
        raise ValueError(f"{name}: {argument} must have shape {wanted}, got {tuple(items.shape)}")
    if scores.shape != items.shape[:-trailing]:
        raise ValueError(f"{name}: scores must have shape {tuple(items.shape[:-trailing])}, got {tuple(scores.shape)}")
    if scores.dim() == 1 and (_autograd.is_batched(items) or _autograd.is_batched(scores)):
        raise RuntimeError(
            f"{name}: torch.vmap must map whole batches of {argument}, since single ones keep any number"
        )


def _wide(items: Tensor, scores: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(items.dtype, scores.dtype), torch.float32)


def _in_a_batch(
    op: Callable[..., tuple[Tensor, Tensor, Tensor]],
    items: Tensor,
    scores: Tensor,
    dtype: torch.dtype,
    beside: Tensor | None,
    *others: Any,
) -> tuple[Tensor, Tensor]:
    """Run an op on a batch, or on one set of rows as a batch of one; `beside` is each row's label or area."""
    wide = scores.to(dtype)
    if scores.dim() == 2:
        order, rescored, _ = op(items, wide, beside, *others)
        return order, rescored.to(scores.dtype)
    order, rescored, taken = op(items[None], wide[None], None if beside is None else beside[None], *others)
    count = taken.item()
    if torch.compiler.is_compiling():
        torch._check(count >= 0)
        torch._check(count <= len(scores))
    return order[0, :count], rescored[0, :count].to(scores.dtype)


def _suppress(
    similarities: Callable[[int, int], Tensor],
    scores: Tensor,
    method: int,
    sigma: float,
    threshold: float,
    score_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition, one row at a time; similarities(b, row) gives those of one row with all rows of batch entry b."""
    order = torch.full_like(scores, -1, dtype=torch.int64)
    rescored = torch.zeros_like(scores)
    for b, given in enumerate(scores):
        falling, rows = given.sort(descending=True, stable=True)
        left = torch.where(falling < score_threshold, -torch.inf, falling)
        for place in range(len(left)):
            highest = int(left.argmax())
            if left[highest] == -torch.inf:
                break
            order[b, place], rescored[b, place] = rows[highest], left[highest]
            s = similarities(b, int(rows[highest]))[rows]
            decayed = {
                _GAUSSIAN: torch.where(s.isnan(), left, left * torch.exp(-s.square() / sigma)),
                _LINEAR: torch.where(s > threshold, left * (1 - s), left),
                _HARD: torch.where(s > threshold, -torch.inf, left),
            }[method]
            left = torch.where((left == -torch.inf) | (decayed < score_threshold), -torch.inf, decayed)
            left[highest] = -torch.inf
    return order, rescored, (order >= 0).sum(1)


def box_nms_reference(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None,
    method: int,
    sigma: float,
    threshold: float,
    score_threshold: float,
    pixel_offset: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """boxes (B, n, 4), scores and labels (B, n)."""
    sides = boxes[..., 2:] - boxes[..., :2] + pixel_offset
    sizes = sides.prod(-1)

    def overlaps(b: int, row: int) -> Tensor:
        box, others = boxes[b, row], boxes[b]
        sides = torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2]) + pixel_offset
        shared = sides.clamp(min=0).prod(-1)
        meets = shared > 0
        if labels is not None:
            meets = meets & (labels[b] == labels[b, row])
        return torch.where(meets, shared / (sizes[b, row] + sizes[b] - shared), 0)

    return _suppress(overlaps, scores, method, sigma, threshold, score_threshold)


def pose_nms_reference(
    points: Tensor,
    scores: Tensor,
    area: Tensor,
    sigmas: Tensor,
    method: int,
    sigma: float,
    threshold: float,
    score_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """points (B, n, K, 2), scores and area (B, n), sigmas (K,)."""
    visible = torch.ones(points.shape[1:3], dtype=torch.bool, device=points.device)

    def similarities(b: int, row: int) -> Tensor:
        mean = (area[b] + area[b, row]) / 2
        return oks_reference(points[b, row : row + 1], points[b], visible, mean, sigmas, None)[0]

    return _suppress(similarities, scores, method, sigma, threshold, score_threshold)


def _fake(items: Tensor, scores: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    rows = scores.new_empty(scores.shape, dtype=torch.int64)
    return rows, scores.new_empty(scores.shape), rows.new_empty(scores.shape[:1])


_box_op = _native.register(
    "box_nms(Tensor boxes, Tensor scores, Tensor? labels, int method, float sigma, float threshold, "
    "float score_threshold, float pixel_offset) -> (Tensor, Tensor, Tensor)",
    reference=box_nms_reference,
    fake=_fake,
    batching=_autograd.folded,
)
_pose_op = _native.register(
    "pose_nms(Tensor points, Tensor scores, Tensor area, Tensor sigmas, int method, float sigma, float threshold, "
    "float score_threshold) -> (Tensor, Tensor, Tensor)",
    reference=pose_nms_reference,
    fake=_fake,
)
