"""CornerNet's decoding of corner maps to boxes (Law and Deng, arXiv 1808.01244).

1. A pixel of a heat map is a peak if no pixel of the window around it, in the same channel, is higher; the window ends
   at the map's border. The score of a peak is its heat value, that of any other pixel is 0.
2. The K = min(top_k, C H W) pixels with the highest scores, over all (class, y, x) jointly, are the map's corners.
3. Each of the K x K pairs of a top-left and a bottom-right corner is a box. A corner lies at its pixel's (x, y) plus
   the offset there; a pair's score is the mean of both corners' scores. A pair is rejected, with score -1, if the
   classes or the tags differ, the latter by more than tag_threshold, or if the bottom-right corner is left of or above
   the top-left one.
4. The M = min(max_detections, K^2) best pairs are the detections.

The order is fully defined, so that every backend gives the same rows. Scores are sorted in descending order, with NaN
larger than any number (a NaN pixel is a peak, and its neighbours are not). Ties go to the lower index: of pixels by
(class, y, x), of pairs by (rank of the top-left corner, rank of the bottom-right one). Rejected pairs are ties; their
rows keep their boxes. A NaN tag or offset rejects no pair, so that it shows in the result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import check_device, check_floating, check_not_nan, whole
from pydlx.ops.ranking import best

_NAME = "decode_corners"
Detections = tuple[Tensor, Tensor, Tensor, Tensor]


def decode_corners(
    heat_tl: Tensor,
    heat_br: Tensor,
    tag_tl: Tensor,
    tag_br: Tensor,
    offset_tl: Tensor,
    offset_br: Tensor,
    *,
    top_k: int = 100,
    kernel_size: int = 3,
    tag_threshold: float = 0.5,
    max_detections: int = 1000,
) -> Detections:
    """Decode the outputs of CornerNet's heads to boxes (arXiv 1808.01244).

    The top_k highest peaks of each heat map, over all classes jointly, are its corners. The score of a pair of a
    top-left and a bottom-right corner is the mean of both; it is -1 for pairs of different classes, with tags more than
    tag_threshold apart, or with the bottom-right corner left of or above the top-left one. Rows are sorted by
    descending score, NaN first; ties go to the lower index.

    On CUDA the call does not wait for the device.

    Args:
        heat_tl: (B, C, H, W), probability (after the sigmoid) that a pixel is the top-left corner of a box of a class.
            float64, float32, float16 or bfloat16; any strides, but contiguous maps are not copied.
        heat_br: The same for bottom-right corners.
        tag_tl: (B, 1, H, W), embeddings, which are similar at the two corners of a box.
        tag_br: (B, 1, H, W).
        offset_tl: (B, 2, H, W), x then y, added to a corner's pixel coordinates.
        offset_br: (B, 2, H, W).
        top_k: Number of corners of each kind that are paired.
        kernel_size: Side of the window whose maximum a peak is; odd. With 1 every pixel is a peak.
        tag_threshold: Largest distance of tags at which two corners may belong to one box.
        max_detections: Number of rows of the result; there are fewer if there are fewer pairs.

    Returns:
        boxes (B, M, 4) as x1, y1, x2, y2 in pixels of the maps, scores (B, M), corner_scores (B, M, 2), top-left then
        bottom-right, and labels (B, M), int64, sorted by descending score. If there are too few valid pairs, rejected
        ones with score -1 follow. Floating-point results are float64 if a map is, else float32: bfloat16 could not
        even hold the coordinate 257. There is no gradient.

    Raises:
        TypeError: If a map is not floating-point.
        ValueError: If a shape or an option does not fit, or an input requires a gradient.
    """
    check_floating(_NAME, "heat_tl", heat_tl)
    if heat_tl.dim() != 4:
        raise ValueError(f"{_NAME}: heat_tl must have shape (B, C, H, W), got {tuple(heat_tl.shape)}")
    batch, _, height, width = heat_tl.shape
    for name, x, shape in (
        ("heat_br", heat_br, tuple(heat_tl.shape)),
        ("tag_tl", tag_tl, (batch, 1, height, width)),
        ("tag_br", tag_br, (batch, 1, height, width)),
        ("offset_tl", offset_tl, (batch, 2, height, width)),
        ("offset_br", offset_br, (batch, 2, height, width)),
    ):
        check_floating(_NAME, name, x)
        check_device(_NAME, name, x, "heat_tl", heat_tl)
        if x.shape != shape:
            raise ValueError(f"{_NAME}: {name} must have shape {shape} to go with heat_tl, got {tuple(x.shape)}")
    top_k = whole(_NAME, "top_k", top_k, 1)
    kernel_size = whole(_NAME, "kernel_size", kernel_size, 1)
    if kernel_size % 2 == 0:
        raise ValueError(f"{_NAME}: kernel_size must be odd, got {kernel_size}")
    check_not_nan(_NAME, "tag_threshold", tag_threshold)
    max_detections = whole(_NAME, "max_detections", max_detections, 1)
    maps = (heat_tl, heat_br, tag_tl, tag_br, offset_tl, offset_br)
    _autograd.refuse_derivative(_NAME, *maps)
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in maps))
    native = _native.use_native(heat_tl, _NAME) and not _autograd.is_exporting_to_onnx()
    run: Callable[..., Detections] = _op if native else decode_corners_reference
    return run(*(x.to(dtype) for x in maps), top_k, kernel_size, float(tag_threshold), max_detections)


def decode_corners_reference(
    heat_tl: Tensor,
    heat_br: Tensor,
    tag_tl: Tensor,
    tag_br: Tensor,
    offset_tl: Tensor,
    offset_br: Tensor,
    top_k: int,
    kernel_size: int,
    tag_threshold: float,
    max_detections: int,
) -> Detections:
    """The definition: the four steps of the module's docstring, on maps of one dtype."""
    top_k, max_detections = _counts(heat_tl, top_k, max_detections)
    if heat_tl.numel() == 0:
        return _new_detections(heat_tl, max_detections)
    tl = _corners(heat_tl, tag_tl, offset_tl, top_k, kernel_size)
    br = _corners(heat_br, tag_br, offset_br, top_k, kernel_size)
    score_tl, label_tl, x_tl, y_tl, tags_tl = (x.unsqueeze(2) for x in tl)  # (B, K, 1)
    score_br, label_br, x_br, y_br, tags_br = (x.unsqueeze(1) for x in br)  # (B, 1, K)
    rejected = (label_tl != label_br) | ((tags_tl - tags_br).abs() > tag_threshold) | (x_br < x_tl) | (y_br < y_tl)
    scores = ((score_tl + score_br) / 2).masked_fill(rejected, -1)
    scores, pairs = best(scores.flatten(1), max_detections)

    def of_rows(*columns: Tensor) -> list[Tensor]:
        return [x.expand(rejected.shape).flatten(1).gather(1, pairs) for x in columns]

    boxes, corner_scores, (labels,) = of_rows(x_tl, y_tl, x_br, y_br), of_rows(score_tl, score_br), of_rows(label_tl)
    return torch.stack(boxes, -1), scores, torch.stack(corner_scores, -1), labels


def _corners(heat: Tensor, tag: Tensor, offset: Tensor, top_k: int, kernel_size: int) -> tuple[Tensor, ...]:
    """Score, class, x, y and tag of the K corners, (B, K) each."""
    dtype = _wide(heat)
    height, width = heat.shape[2:]
    heat = heat.to(dtype)
    kernel_size = min(kernel_size, 2 * max(height, width) + 1)
    peak = (heat == F.max_pool2d(heat, kernel_size, 1, kernel_size // 2)) | heat.isnan()
    scores, index = best(torch.where(peak, heat, 0.0).flatten(1), top_k)
    labels, place = _divided(index, height * width)
    rows, columns = _divided(place, width)
    x, y, tags = (values.to(dtype).flatten(1).gather(1, place) for values in (offset[:, 0], offset[:, 1], tag[:, 0]))
    return scores, labels, columns + x, rows + y, tags


def _divided(index: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder, without ``%``: ONNX export supports it for fixed sizes only."""
    quotient = index // by
    return quotient, index - quotient * by


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _counts(heat: Tensor, top_k: int, max_detections: int) -> tuple[int, int]:
    """K and M."""
    top_k = min(top_k, heat.shape[1] * heat.shape[2] * heat.shape[3])
    return top_k, min(max_detections, top_k * top_k)


def _new_detections(heat: Tensor, rows: int) -> Detections:
    batch, dtype = heat.shape[0], _wide(heat)
    return (
        heat.new_empty((batch, rows, 4), dtype=dtype),
        heat.new_empty((batch, rows), dtype=dtype),
        heat.new_empty((batch, rows, 2), dtype=dtype),
        heat.new_empty((batch, rows), dtype=torch.int64),
    )


def _fake(heat: Tensor, *others: Any) -> Detections:
    top_k, _, _, max_detections = others[-4:]
    return _new_detections(heat, _counts(heat, top_k, max_detections)[1])


_op = _native.register(
    "decode_corners(Tensor heat_tl, Tensor heat_br, Tensor tag_tl, Tensor tag_br, Tensor offset_tl, Tensor offset_br, "
    "SymInt top_k, SymInt kernel_size, float tag_threshold, SymInt max_detections) -> (Tensor, Tensor, Tensor, "
    "Tensor)",
    reference=decode_corners_reference,
    fake=_fake,
    batching=_autograd.folded,
)
