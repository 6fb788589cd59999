"""Inference with CornerNet: from an image to boxes, with optional flipping and several scales.

Law and Deng, "CornerNet: Detecting objects as paired keypoints", arXiv 1808.01244, section 4.2, with the constants of
the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import check_flag, check_not_nan, check_type, numbers, whole
from pydlx.models.detection.cornernet import CornerNet
from pydlx.models.detection.cornernet_images import bgr_pixels, normalized, padded
from pydlx.ops import decode_corners, soft_nms

# Gaussian soft-NMS: the width of the decay, and the score below which a box is dropped.
_SIGMA = 0.5
_MIN_SCORE = 0.001
# Exponent of the weights (1 - decay)^10 when boxes are merged: only boxes that nearly coincide get a large weight.
_MERGE_EXPONENT = 10


class Detections(NamedTuple):
    """Boxes by descending score.

    Attributes:
        boxes: (n, 4) float32 as x1, y1, x2, y2 in pixels of the image.
        scores: (n,) float32, from 0 to 1.
        labels: (n,) int64, classes.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Candidates(NamedTuple):
    """Boxes before non-maximum suppression; `corner_scores` (n, 2) are those of their two corners."""

    boxes: Tensor
    scores: Tensor
    corner_scores: Tensor
    labels: Tensor


@torch.no_grad()
def detect(
    model: CornerNet,
    image: Any,
    *,
    flip: bool = True,
    scales: Sequence[float] = (1.0,),
    merge: bool | None = None,
    top_k: int = 100,
    tag_threshold: float = 0.5,
    max_detections: int = 100,
) -> Detections:
    """Detect objects in an image.

    At each scale the image is padded with black to a size that the network takes, and corners are decoded to boxes
    (:func:`pydlx.ops.decode_corners`). Then Gaussian soft-NMS within each class lowers the scores of boxes that overlap
    better ones (:func:`pydlx.ops.soft_nms`, sigma 0.5, score threshold 0.001, areas with one pixel added to the sides).

    Args:
        model: A `CornerNet` in evaluation mode; the image is moved to its device.
        image: (H, W, 3) uint8 RGB: a NumPy array, a tensor, or anything that NumPy converts to an array.
        flip: Whether to run the horizontally flipped image, too.
        scales: Factors on the size of the image; multi-scale testing in the paper has 0.5, 0.75, 1, 1.25 and 1.5.
        merge: Whether to replace each box by a weighted mean of the boxes that overlap it; by default, as in the paper,
            only with several scales.
        top_k: Number of corners of each kind that are paired.
        tag_threshold: Maximum difference of the tags of a pair.
        max_detections: Number of best boxes to return; boxes that tie with the last one are returned, too.

    Returns:
        The detections by descending score, clipped to the image. Boxes without area are left out.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, the model is in training mode, or it returns features only.
    """
    name = "detect"
    check_type(name, "model", model, CornerNet, "a CornerNet")
    if model.training:
        raise ValueError(f"{name}: model must be in evaluation mode, got it in training mode; call eval()")
    if model.features_only:
        raise ValueError(f"{name}: model must have features_only=False, got True")
    check_flag(name, "flip", flip)
    factors = numbers(name, "scales", scales)
    if not factors or not all(0 < scale < float("inf") for scale in factors):
        raise ValueError(f"{name}: scales must be positive and finite, got {factors}")
    if merge is not None:
        check_flag(name, "merge", merge)
    check_not_nan(name, "tag_threshold", tag_threshold)
    top_k, max_detections = whole(name, "top_k", top_k, 1), whole(name, "max_detections", max_detections, 1)

    parameter = next(model.parameters())
    pixels = bgr_pixels(name, image).to(parameter.device)
    found = [_at_scale(model, pixels, scale, flip, top_k, tag_threshold, parameter.dtype) for scale in factors]
    candidates = Candidates(*map(torch.cat, zip(*found, strict=True)))
    return suppressed(candidates, len(factors) > 1 if merge is None else merge, max_detections)


def _at_scale(
    model: CornerNet,
    pixels: Tensor,
    scale: float,
    flip: bool,
    top_k: int,
    tag_threshold: float,
    dtype: torch.dtype,
) -> Candidates:
    """Detect at one scale of an image (3, H, W); boxes are in pixels of the image itself."""
    height, width = pixels.shape[1:]
    new_height, new_width = max(1, int(height * scale)), max(1, int(width * scale))
    resized = F.interpolate(pixels[None], (new_height, new_width), mode="bilinear", align_corners=False)[0]
    view, left, top = padded(resized, model.size_multiple)
    batch = normalized(view)[None].to(dtype)
    if flip:
        batch = torch.cat((batch, batch.flip(3)))
    heat_tl, heat_br, *others = (x.float() for x in model(batch)[-1])
    boxes, scores, corner_scores, labels = decode_corners(
        heat_tl.sigmoid(), heat_br.sigmoid(), *others, top_k=top_k, tag_threshold=tag_threshold
    )
    map_height, map_width = heat_tl.shape[2:]
    if flip:
        x1, y1, x2, y2 = boxes[1].unbind(-1)
        boxes = torch.stack((boxes[0], torch.stack((map_width - x2, y1, map_width - x1, y2), -1)))

    def twice(x: float, y: float) -> Tensor:
        return torch.tensor([x, y, x, y], dtype=torch.float32, device=boxes.device)

    size = twice(new_width, new_height)
    boxes = boxes * twice(view.shape[2] / map_width, view.shape[1] / map_height) - twice(left, top)
    boxes = boxes.clamp(min=0).minimum(size) * (twice(width, height) / size)
    good = (scores > -1) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    return Candidates(boxes[good], scores[good], corner_scores[good], labels[good])


def suppressed(candidates: Candidates, merge: bool, max_detections: int) -> Detections:
    """Return the best boxes after soft-NMS within each class."""
    boxes, scores, _, labels = candidates
    order, rescored = soft_nms(boxes, scores, _SIGMA, labels=labels, score_threshold=_MIN_SCORE, pixel_offset=1.0)
    if len(rescored) > max_detections:
        best = rescored >= rescored[max_detections - 1]
        order, rescored = order[best], rescored[best]
    return Detections(_merged(candidates, order) if merge else boxes[order], rescored, labels[order])


def _merged(candidates: Candidates, order: Tensor) -> Tensor:
    """Average the boxes of rows `order`, as soft-NMS selected them, with overlapping boxes of their class.

    When a box is selected, every box that is neither selected nor dropped yet takes part in its average, with weight
    (score of the corner) (1 - w)^10, where w is soft-NMS's decay factor. The two corners are averaged separately.
    """
    boxes, scores, corner_scores, labels = candidates
    alike = labels[order, None] == labels
    decay = torch.where(alike, torch.exp(-_overlaps(boxes[order], boxes).square() / _SIGMA), 1)  # (taken, all)
    before = decay.cumprod(0).roll(1, 0)
    before[:1] = 1
    rank = torch.full_like(labels, len(order)).scatter(0, order, torch.arange(len(order), device=order.device))
    turn = torch.arange(len(order), device=order.device)[:, None]
    share = (1 - decay).pow(_MERGE_EXPONENT) * ((scores * before >= _MIN_SCORE) & (rank > turn))
    share = torch.where(rank == turn, 1, share)
    weights = share[:, :, None] * corner_scores  # (taken, all, corner)
    means = torch.einsum("tac,acx->tcx", weights, boxes.view(-1, 2, 2)) / weights.sum(1)[:, :, None]
    return means.flatten(1)


def _overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU (n, m) of boxes (n, 4) and (m, 4), with one pixel added to widths and heights."""
    a, b = boxes[:, None], others[None]
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2]) + 1).clamp(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(-1)[:, None] + (others[:, 2:] - others[:, :2] + 1).prod(-1)
    return shared / (areas - shared)
