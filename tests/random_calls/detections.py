"""Calls of the ops on boxes, poses and their matching."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

_STRIDES = ("contiguous", "sliced", "stepped", "transposed", "unaligned", "flipped", "negated")


def oks(draw: Draw) -> Call:
    """Leading dimensions that broadcast, truths with few or no visible points, with and without boxes."""
    points = draw.choice((1, 2, 5, 17, 133))
    detections, truths = draw.sizes(1200, (6, 4, 64, 100), (5, 8, 64))
    detections, truths = (0 if draw.chance(20) else rows for rows in (detections, truths))
    lead = [draw.whole(1, 3) for _ in range(draw.whole(0, 2))]
    lead_truth, lead_pred = lead, [draw.choice((1, size)) for size in lead]
    if draw.chance(2):
        lead_truth, lead_pred = lead_pred, lead_truth
    dtype = draw.choice(FLOATS)
    arguments = {"pred": _poses(draw, "pred", (*lead_pred, detections, points, 2), dtype)}
    arguments |= _truths(draw, (*lead_truth, truths), points, dtype)
    needs = ("pred", "truth", "area")
    return Call("oks", arguments, draw.layouts, needs, **draw.gradient(), slack=4)


def ragged_oks(draw: Draw) -> Call:
    """Groups of up to 9 poses, and once of 70."""
    groups, points = draw.size(5, 64), draw.choice((1, 2, 17))
    most = draw.choice((0, 3, 9, 70 if groups < 6 else 9))
    pred_offsets, truth_offsets = draw.offsets(groups, most), draw.offsets(groups, draw.whole(0, 9))
    dtype = draw.choice((torch.float64, torch.float32))
    arguments = {"pred": _poses(draw, "pred", (int(pred_offsets[-1]), points, 2), dtype)}
    arguments |= _truths(draw, (int(truth_offsets[-1]),), points, dtype)
    arguments |= {"boxes": arguments.get("boxes"), "pred_offsets": pred_offsets, "truth_offsets": truth_offsets}
    return Call("ragged_oks", arguments, draw.layouts, slack=4)


def _poses(draw: Draw, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Within a few pixels of one pose, so that many are alike."""
    pose = draw.uniform(shape[-2:], 0, 60)
    return draw.laid_out(name, (pose + draw.uniform(shape, -4, 4)).to(dtype), _STRIDES)


def _truths(draw: Draw, rows: tuple[int, ...], points: int, dtype: torch.dtype) -> dict[str, Any]:
    visibility = draw.labels((*rows, points), 0, draw.choice((1, 2, 3)))
    if draw.chance(3):
        visibility = visibility.double() if draw.chance(2) else visibility > 0
    truth = _poses(draw, "truth", (*rows, points, 2), dtype)
    arguments = {
        "truth": truth.masked_fill(visibility.unsqueeze(-1) <= 0, math.nan),
        "visibility": draw.laid_out("visibility", visibility, ("contiguous", "sliced", "transposed")),
        "area": draw.laid_out("area", draw.uniform(rows, 50, 4000).to(dtype), _STRIDES),
        "sigmas": draw.uniform((points,), 0.02, 0.2).tolist(),
    }
    if draw.chance(2):
        corner = draw.uniform((*rows, 4), 5, 50)
        arguments["boxes"] = draw.laid_out("boxes", corner.to(dtype), _STRIDES)
    return arguments


def soft_nms(draw: Draw) -> Call:
    """Boxes on a grid of pixels, in batches or not, with labels or not."""
    shape = _rows(draw)
    dtype = draw.choice((torch.float64, torch.float64, *FLOATS))
    corner, sides = draw.labels((*shape, 2), 0, 40), draw.labels((*shape, 2), 1, 30)
    boxes = torch.cat([corner, corner + sides], -1).to(dtype)
    arguments: dict[str, Any] = {
        "boxes": draw.laid_out("boxes", boxes, _STRIDES),
        "scores": draw.laid_out("scores", draw.uniform(shape).to(dtype), _STRIDES),
        "sigma": draw.choice((0.1, 0.5, 2.0)),
        "method": draw.choice(("gaussian", "linear", "hard")),
        "iou_threshold": draw.choice((0.3217, 0.50013, 0.7419)),
        "score_threshold": draw.choice((0.001, 0.3001, -torch.inf if dtype == torch.float64 else 0.01)),
        "pixel_offset": draw.choice((0.0, 1.0)),
    }
    if draw.chance(2):
        arguments["labels"] = draw.laid_out("labels", draw.labels(shape, -2, 3), ("contiguous", "sliced", "transposed"))
    return Call("soft_nms", arguments, draw.layouts, slack=4, discrete=True)


def oks_nms(draw: Draw) -> Call:
    """Poses of a few people."""
    return Call("oks_nms", _people(draw) | {"threshold": draw.choice((0.5, 0.9))}, draw.layouts, discrete=True)


def soft_oks_nms(draw: Draw) -> Call:
    """Poses of a few people."""
    arguments = _people(draw)
    lowest = -torch.inf if arguments["scores"].dtype == torch.float64 else 0.001
    arguments |= {"threshold": draw.choice((0.3, 0.9)), "score_threshold": draw.choice((lowest, 0.001, 0.1))}
    return Call("soft_oks_nms", arguments, draw.layouts, slack=4, discrete=True)


def _rows(draw: Draw) -> tuple[int, ...]:
    rows = 0 if draw.chance(20) else draw.size(30, 64, 256)
    return (rows,) if draw.chance(2) else (draw.whole(0 if draw.chance(10) else 1, 3), rows)


def _people(draw: Draw) -> dict[str, Any]:
    shape, points = _rows(draw), draw.choice((1, 5, 17))
    dtype = draw.choice((torch.float64, torch.float64, *FLOATS))
    people = draw.uniform((3, points, 2), 0, 60)
    keypoints = people[draw.labels(shape, 0, 3)] + draw.uniform((*shape, points, 2), -3, 3)
    return {
        "keypoints": draw.laid_out("keypoints", keypoints.to(dtype), _STRIDES),
        "scores": draw.laid_out("scores", draw.uniform(shape).to(dtype), _STRIDES),
        "area": draw.laid_out("area", draw.uniform(shape, 200, 4000).to(dtype), _STRIDES),
        "sigmas": draw.uniform((points,), 0.02, 0.2).tolist(),
    }


def decode_corners(draw: Draw) -> Call:
    """Maps of few levels or of many, of one part or several, with more or fewer peaks than corners asked for.

    Positions and tags are multiples of a power of two, so that no dtype rounds what decides.
    """
    batch, classes = 0 if draw.chance(20) else draw.whole(1, 3), draw.whole(1, 4)
    height, width = draw.sizes(6000 // classes, (30, 64), (30, 64, 128))
    dtype = draw.choice((torch.float64, torch.float64, *FLOATS))

    def quantised(name: str, channels: int, levels: int) -> Tensor:
        x = draw.labels((batch, channels, height, width), 0, levels + 1) / float(levels)
        return draw.laid_out(name, x.to(dtype), (*_STRIDES, "channels_last"))

    heat = [quantised(name, classes, draw.choice((1, 4, 128))) for name in ("heat_tl", "heat_br")]
    if draw.chance(4):
        heat[0][draw.true(heat[0].shape, 200)] = draw.choice((math.nan, math.inf, -1.0))
    arguments = {
        "heat_tl": heat[0],
        "heat_br": heat[1],
        "tag_tl": quantised("tag_tl", 1, 8),
        "tag_br": quantised("tag_br", 1, 8),
        "offset_tl": quantised("offset_tl", 2, 2),
        "offset_br": quantised("offset_br", 2, 2),
        "top_k": draw.choice((1, 7, 30, 100)),
        "kernel_size": draw.choice((1, 3, 3, 5, 31)),
        "tag_threshold": draw.choice((0.25, 0.5, math.inf)),
        "max_detections": draw.choice((1, 50, 1000, 20000)),
    }
    return Call("decode_corners", arguments, draw.layouts)


def ragged_box_iou(draw: Draw) -> Call:
    """Boxes on a coarse grid, which often touch or are equal; empty groups; more groups than one task takes."""
    groups = draw.size(6, 64, 130)
    offsets = [draw.offsets(groups, draw.choice((0, 2, 7))) for _ in range(2)]
    rows, truths = (int(ends[-1]) for ends in offsets)
    arguments = {
        "boxes": draw.laid_out("boxes", draw.labels((rows, 4), 0, 9).double(), _STRIDES),
        "truths": draw.laid_out("truths", draw.labels((truths, 4), 0, 9).double(), _STRIDES),
        "crowd": draw.laid_out("crowd", draw.true((truths,), 4), ("contiguous", "sliced")),
        "detection_offsets": offsets[0],
        "truth_offsets": offsets[1],
    }
    return Call("ragged_box_iou", arguments, draw.layouts)


def ragged_mask_iou(draw: Draw) -> Call:
    """Masks of none to many spans on small images, in groups of which some are empty."""
    groups = draw.size(6, 64, 130)
    height = draw.choice((1, 3, 8))
    arguments = {}
    for side in ("", "true_"):
        offsets = draw.offsets(groups, draw.choice((0, 2, 7)))
        masks = int(offsets[-1])
        pixels = draw.true((masks, 9 * height), draw.choice((2, 5))).int()
        steps = torch.nn.functional.pad(pixels, (1, 1)).diff(dim=1)
        begins, ends = ((steps == sign).nonzero() for sign in (1, -1))
        counts = torch.bincount(begins[:, 0], minlength=masks)
        arguments |= {
            f"{side}spans": torch.stack([begins[:, 1], ends[:, 1]], 1).int(),
            f"{side}span_offsets": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            f"{side}heights": torch.full((masks,), height),
            "truth_offsets" if side else "detection_offsets": offsets,
        }
    crowd = draw.laid_out("crowd", draw.true((len(arguments["true_heights"]),), 4), ("contiguous", "sliced"))
    order = ["crowd", "detection_offsets", "truth_offsets"]
    named = {name: value for name, value in arguments.items() if name not in order}
    offsets_by_name = {name: arguments[name] for name in order[1:]}
    return Call("ragged_mask_iou", {**named, "crowd": crowd, **offsets_by_name}, draw.layouts)


def match_detections(draw: Draw) -> Call:
    """Tied scores and similarities, in groups that may be empty."""
    groups, areas = draw.size(6, 64), draw.whole(0, 4)
    detections, truths = (draw.offsets(groups, draw.choice((0, 3, 9))) for _ in range(2))
    pairs, rows, count = int((detections.diff() * truths.diff()).sum()), int(detections[-1]), int(truths[-1])
    thresholds = draw.uniform((draw.whole(0, 4),), 0.2, 1.0)
    arguments = {
        "similarity": draw.laid_out("similarity", draw.labels((pairs,), 0, 11) / 10.0, _STRIDES),
        "scores": draw.laid_out("scores", draw.labels((rows,), 0, 6) / 5.0, _STRIDES),
        "detection_offsets": detections,
        "truth_offsets": truths,
        "detection_outside": draw.laid_out("detection_outside", draw.true((areas, rows), 3), ("contiguous", "sliced")),
        "truth_ignored": draw.laid_out("truth_ignored", draw.true((areas, count), 3), ("contiguous", "transposed")),
        "truth_crowd": draw.true((count,), 8),
        "truth_unrecorded": draw.true((count,), 8) if draw.chance(2) else None,
        "thresholds": thresholds,
        "max_detections": draw.choice((0, 1, 4, 100)),
    }
    arguments |= {name: arguments[name].double() for name in ("similarity", "scores")}
    return Call("match_detections", arguments, draw.layouts)


def precision_curves(draw: Draw) -> Call:
    """Outcomes at random, categories without detections or truths."""
    areas, count, categories = draw.whole(0, 3), draw.whole(1, 3), draw.whole(0, 5)
    offsets = draw.offsets(categories, draw.choice((0, 4, 40)))
    rows = int(offsets[-1])
    outcome = draw.labels((areas, count, rows), 0, 3).to(torch.uint8)
    arguments = {
        "outcome": draw.laid_out("outcome", outcome, ("contiguous", "sliced", "transposed")),
        "rank": draw.labels((rows,), 0, 9),
        "scores": draw.laid_out("scores", (draw.labels((rows,), 0, 12) / 4.0).double(), _STRIDES),
        "category_offsets": offsets,
        "positives": draw.labels((areas, categories), 0, 20),
        "recall_thresholds": torch.linspace(0, 1, draw.choice((1, 5, 101)), dtype=torch.float64),
        "max_detections": draw.choice(([1], [0, 3], [1, 5, 100])),
    }
    return Call("precision_curves", arguments, draw.layouts)
