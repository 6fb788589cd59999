"""Valid arguments of every registered op, and further wrong values of each, for ``test_direct_calls``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

HUGE = 2**62
OTHER_FLOATS = ("dtype float*",)
OTHER_LABELS = ("dtype int*", "dtype uint8", "dtype bool")
ONE_TENSOR = ("device", "shape *")


def ints(*values: int) -> Tensor:
    return torch.tensor(values)


@dataclass
class Call:
    """Valid arguments of an op, in the schema's order.

    Attributes:
        arguments: By name.
        wrong: More wrong values, by argument.
        right: By argument, patterns of kinds that are right here.
        right_on_gpu: The same for CUDA kernels, whose launchers do not look at values.
    """

    arguments: dict[str, Any]
    wrong: dict[str, list[Any]] = field(default_factory=dict)
    right: dict[str, tuple[str, ...]] = field(default_factory=dict)
    right_on_gpu: dict[str, tuple[str, ...]] = field(default_factory=dict)


torch.manual_seed(0)
IMAGE = torch.randn(2, 3, 5, 6)
WINDOW = [2, 2, 1, 1, 0, 0, 1, 1]  # kernel, stride, padding, dilation of both axes
BAD_WINDOWS = [[], [2], WINDOW[:-1], [*WINDOW, 1]]
BAD_WINDOWS += [[*WINDOW[:i], value, *WINDOW[i + 1 :]] for i in (0, 2, 4, 6) for value in (-1, HUGE)]
BAD_WINDOWS += [[0, *WINDOW[1:]], [*WINDOW[:2], 0, *WINDOW[3:]], [*WINDOW[:4], 2, *WINDOW[5:]], [7, *WINDOW[1:]]]

SEQUENCES = torch.randn(3, 4, 5)
MASK = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
INDEX = torch.arange(15).view(3, 5) % 12

PLANES = torch.randn(2, 1, 6, 7)
HOLE = torch.zeros(2, 6, 7, dtype=torch.bool)
HOLE[:, 2:4, 2:5] = True

BOXES = torch.tensor([[0.0, 0, 4, 4], [1, 1, 4, 4], [2, 0, 3, 5]]).double()
TRUTHS, CROWD = BOXES[:2] + 0.5, torch.tensor([False, True])
FOUND_OFFSETS, TRUE_OFFSETS = ints(0, 2, 3), ints(0, 1, 2)
BAD_OFFSETS = [ints(0, 1, 4), ints(1, 2, 3), ints(0, 4, 3), ints(0, -1, 3), ints(), ints(0, HUGE, 3)]
SPANS = torch.tensor([[0, 3], [2, 9], [5, 8]], dtype=torch.int32)
SCORES = torch.tensor([0.9, 0.8, 0.7]).double()

POSES, TRUE_POSES = torch.rand(2, 3, 4, 2), torch.rand(2, 2, 4, 2)
VISIBLE, AREA, SIGMAS = torch.ones(2, 2, 4, dtype=torch.bool), torch.ones(2, 2), torch.full((4,), 0.1)
TRUE_BOXES = torch.ones(2, 2, 4)

MATCH = {
    "similarity": torch.rand(3).double(),
    "scores": SCORES,
    "detection_offsets": FOUND_OFFSETS,
    "truth_offsets": TRUE_OFFSETS,
    "detection_outside": torch.zeros(2, 3, dtype=torch.bool),
    "truth_ignored": torch.zeros(2, 2, dtype=torch.bool),
    "truth_crowd": CROWD,
    "truth_unrecorded": ~CROWD,
    "thresholds": torch.tensor([0.5, 0.7]).double(),
    "max_detections": 2,
}
CURVES = {
    "outcome": torch.ones(2, 2, 3, dtype=torch.uint8),
    "rank": ints(0, 1, 0),
    "scores": SCORES,
    "category_offsets": FOUND_OFFSETS,
    "positives": torch.ones(2, 2, dtype=torch.int64),
    "recall_thresholds": torch.linspace(0, 1, 5).double(),
    "max_detections": [1, 2],
}
OKS = {"pred": POSES, "truth": TRUE_POSES, "visible": VISIBLE, "area": AREA, "sigmas": SIGMAS, "boxes": TRUE_BOXES}
RAGGED_OKS = {
    "pred": POSES[0],
    "truth": TRUE_POSES[0],
    "visible": VISIBLE[0],
    "area": AREA[0],
    "sigmas": SIGMAS,
    "boxes": TRUE_BOXES[0],
    "pred_offsets": FOUND_OFFSETS,
    "truth_offsets": TRUE_OFFSETS,
    "pair_offsets": ints(0, 2, 3),
    "pairs": 3,
}
BAD_PAIRS = [ints(0, 1, 3), ints(0, 3, 3), ints(1, 2, 3), ints(-1, 2, 3), ints()]
LABELS = torch.randint(3, (2, 4, 5))
SSIM = {
    "x": torch.rand(2, 1, 9, 8),
    "y": torch.rand(2, 1, 9, 8),
    "window": 7,
    "sigma": 1.5,
    "covariance": 1.0,
    "c1": 1e-4,
    "c2": 9e-4,
    "luminance": True,
    "map": False,
}
BAD_SSIM_WINDOWS = {"window": [-1, 0, 4, 9, 35, HUGE, HUGE + 1]}

POOLED = {"x": IMAGE, "window": WINDOW, "ceil_mode": False, "straight_through": False}
TRANSFORM = {"x": IMAGE, "type": 2, "sine": False, "axes": [2, 3], "norm": 0, "adjoint": False}
SUPPRESSION = {"method": 0, "sigma": 0.5, "threshold": 0.5, "score_threshold": 0.0}
UNKNOWN_METHODS = {"method": [-1, 3, HUGE]}
POOL_MODES = {"mode": [-1, 4, HUGE], "k": [-1, 0, -HUGE]}
POOL_GRADIENT = dict.fromkeys(("grad", "x", "index", "ends", "mask", "shape"))
# An attention RNN: two sequences of three steps, four rows of memory, and sizes that differ.
READ = {
    "queries": torch.randn(2, 3, 5),
    "keys": torch.randn(2, 4, 5),
    "score": torch.randn(5),
    "query_weight": torch.randn(5, 6),
    "inputs": torch.randn(2, 3, 18),
    "values": torch.randn(2, 4, 18),
    **dict.fromkeys(("gate_inputs", "gate_values", "gate_weight", "weight_ih", "bias_ih")),
    "weight_hh": torch.randn(18, 6),
    "bias_hh": torch.randn(18),
    "lengths": ints(3, 2),
    "mask": MASK[:2],
    "lstm": False,
    "reverse": False,
}
READ_GATED = {
    **READ,
    "inputs": torch.randn(2, 3, 7),
    "values": torch.randn(2, 4, 8),
    "gate_inputs": torch.randn(2, 3, 15),
    "gate_weight": torch.randn(15, 8),
    "weight_ih": torch.randn(24, 15),
    "bias_ih": torch.randn(24),
    "weight_hh": torch.randn(24, 6),
    "bias_hh": torch.randn(24),
    "lstm": True,
    "reverse": True,
}
READ_FOLDED = {**READ_GATED, "gate_values": torch.randn(2, 4, 15), "gate_weight": None}
NO_GATE = {"gate_inputs": [None], "weight_ih": [None], "bias_ih": [None], "lstm": [False]}
READINGS = [
    (READ, 4 * 6 + 5, {"lstm": [True], "weight_ih": [torch.randn(18, 15)], "gate_values": [torch.randn(2, 4, 15)]}),
    (READ_GATED, 5 * 6 + 5 + 15 + 8, {**NO_GATE, "gate_weight": [None], "gate_values": [READ_FOLDED["gate_values"]]}),
    (READ_FOLDED, 5 * 6 + 5 + 15 + 8, {**NO_GATE, "gate_values": [None], "gate_weight": [READ_GATED["gate_weight"]]}),
]
LABELLED = {"scores": SEQUENCES[:, :, 0], "labels": MASK, "mask": ~MASK}
SOFT = torch.rand(3, 4)
POINTED = {
    "query": torch.randn(2, 3, 5, 4),
    "key": torch.randn(2, 3, 5, 4),
    "cells": ints(3, 40, 149).expand(2, 3),
    "mask": torch.ones(2, 5, dtype=torch.bool),
    **dict.fromkeys(("start_bias", "end_bias")),
    "rotary": True,
    "triangle": True,
    "scale": None,
}
SHARED = {
    "query": torch.randn(2, 1, 5, 4),
    "key": torch.randn(2, 1, 5, 4),
    "start_bias": torch.randn(2, 3, 5),
    "end_bias": torch.randn(2, 3, 5),
}
BAD_CELLS = {"cells": [ints(3, 2, HUGE).expand(2, 3)]}
BAD_SHAPES = {"shape": [[], [12], [3, 4, 5, 1], [3, 4, 6], [3, -4, 5]]}

CALLS = {
    "soft_pool": [
        Call(
            POOLED,
            {"window": BAD_WINDOWS, "x": [IMAGE[0, 0], IMAGE[None, None]]},
            {"x": (*ONE_TENSOR, *OTHER_FLOATS, "dims *")},
        )
    ],
    "_soft_pool_backward": [Call({"grad": torch.randn(2, 3, 4, 5), **POOLED}, {"window": BAD_WINDOWS})],
    "sequence_pool": [
        Call(
            {"x": SEQUENCES, "ends": ends, "mask": mask, "mode": mode, "k": 2},
            POOL_MODES,
            {"x": ("shape 2", *(("shape 1", "dims less") if mask is None else ()), *OTHER_FLOATS)},
        )
        for ends, mask, mode in ((ints(4, 2, 1), None, 0), (None, MASK, 3), (None, MASK, 2))
    ]
    + [
        Call(
            {"x": SEQUENCES[0], "ends": ints(1, 4), "mask": None, "mode": 1, "k": 1},
            {**POOL_MODES, "mask": [MASK], "ends": [None]},
            {"x": ("shape *", *OTHER_FLOATS), "ends": ("shape *",)},
        )
    ],
    "_sequence_pool_backward": [
        Call(
            {**POOL_GRADIENT, "grad": torch.randn(3, 5), "index": INDEX, "shape": [3, 4, 5]},
            BAD_SHAPES,
            {"grad": OTHER_FLOATS},
        ),
        Call(
            {**POOL_GRADIENT, "grad": torch.randn(3, 5), "x": SEQUENCES, "mask": MASK, "shape": [3, 4, 5]},
            {"shape": [*BAD_SHAPES["shape"], [3, 5, 5], [4, 4, 5]], "ends": [ints(4, 2, 1)]},
        ),
        Call(
            {**POOL_GRADIENT, "grad": torch.randn(2, 5), "ends": ints(1, 4), "shape": [4, 5]},
            {"shape": [[], [4], [4, 6], [4, -5]], "ends": [None]},
            {"grad": OTHER_FLOATS},
        ),
    ],
    "decode_spans": [
        Call(
            {"start": SEQUENCES[0], "end": SEQUENCES[1], "mask": SEQUENCES[2] > 0, "max_length": 2, "top_k": 3},
            {"max_length": [0, -1, -HUGE], "top_k": [0, -1, HUGE, -HUGE]},
        )
    ],
    "dual_softmax": [
        Call(
            {"similarity": SEQUENCES, "context_mask": MASK, "question_mask": SEQUENCES[:, 0] > 0},
            {},
            {"similarity": OTHER_FLOATS},
        )
    ],
    "_dual_softmax_backward": [
        Call(
            {
                **dict.fromkeys(("grad_question", "grad_context", "over_question", "over_context"), SEQUENCES),
                "context_mask": MASK,
                "question_mask": SEQUENCES[:, 0] > 0,
            }
        )
    ],
    "zlpr_loss": [
        Call(LABELLED, {}, {"scores": OTHER_FLOATS, "labels": ("dtype float32",)}),
        Call({**LABELLED, "labels": SOFT}, {}, {"scores": ("dtype float16",), "labels": ("dtype bool",)}),
    ],
    "_zlpr_loss_backward": [
        Call(
            {"grad": torch.randn(3, 2), "parts": torch.rand(3, 2), **LABELLED, "labels": labels},
            {},
            {"scores": ("dtype float16",), "labels": (f"dtype {other}",)},
        )
        for labels, other in ((MASK, "float32"), (SOFT, "bool"))
    ],
    "global_pointer_loss": [
        Call({**POINTED, **shared}, BAD_CELLS, {"cells": ("shape 1",)}, {"cells": ("value *",)})
        for shared in ({}, SHARED)
    ],
    "_global_pointer_loss_backward": [
        Call(
            {"grad": torch.randn(2, 3, 2), "parts": torch.rand(2, 3, 2), **POINTED, **shared},
            BAD_CELLS,
            {"cells": ("shape 1",)},
            {"cells": ("value *",)},
        )
        for shared in ({}, SHARED)
    ],
    "attention_rnn": [Call(reading, wrong) for reading, _, wrong in READINGS],
    "_attention_rnn_backward": [
        Call(
            {
                "grad": torch.randn(2, 3, 6),
                "y": torch.randn(2, 3, 6),
                "attention": torch.rand(2, 3, 4),
                "kept": torch.rand(2, 3, width),
                **reading,
            },
            wrong,
        )
        for reading, width, wrong in READINGS
    ],
    "corner_pool": [
        Call({"x": IMAGE, "direction": 0}, {"direction": [-1, 4, HUGE]}, {"x": (*ONE_TENSOR, *OTHER_FLOATS)})
    ],
    "_corner_pool_backward": [Call({"grad": IMAGE, "x": IMAGE + 1, "direction": 2}, {"direction": [-1, 4, HUGE]})],
    "corner_pool_pair": [Call({"vertical": IMAGE, "horizontal": IMAGE + 1, "top_left": True})],
    "_corner_pool_pair_backward": [
        Call({"grad": IMAGE, "vertical": IMAGE + 1, "horizontal": IMAGE + 2, "top_left": True})
    ],
    "dct": [
        Call(
            TRANSFORM,
            {"type": [-1, 1, 4, HUGE], "axes": [[4], [-1], [0, HUGE]], "norm": [-1, 3, HUGE], "sine": [True]},
            {"x": (*ONE_TENSOR, "dims more", "dtype float64")},
        )
    ],
    "poisson": [
        Call(
            {"rhs": IMAGE, "dirichlet": False, "screening": 0.0},
            {"rhs": [IMAGE[0, 0, 0]]},
            {"rhs": (*ONE_TENSOR, "dims *", "dtype float64")},
        )
    ],
    "gaussian_poisson": [
        Call(
            {"rhs": IMAGE, "colour": IMAGE + 1, "formulation": 0, "beta": 1.0, "centre": 0.8, "side": 0.1},
            {"formulation": [-1, 3, HUGE]},
        )
    ],
    "masked_poisson": [
        Call(
            {"rhs": PLANES, "mask": HOLE, "initial": PLANES * 0, "tolerance": 1e-6, "max_iterations": 50},
            {"max_iterations": [-1, 0, -HUGE]},
        )
    ],
    "ragged_mask_iou": [
        Call(
            {
                "spans": SPANS,
                "span_offsets": ints(0, 1, 2, 3),
                "heights": ints(4, 4, 4),
                "true_spans": SPANS[:2],
                "true_span_offsets": ints(0, 1, 2),
                "true_heights": ints(4, 4),
                "crowd": CROWD,
                "detection_offsets": FOUND_OFFSETS,
                "truth_offsets": TRUE_OFFSETS,
            },
            {
                "heights": [ints(4, 0, 4), ints(4, -1, 4), ints(4, 4, HUGE)],
                "true_heights": [ints(4, 0), ints(HUGE, 4)],
                "detection_offsets": BAD_OFFSETS,
                "truth_offsets": BAD_OFFSETS,
            },
        )
    ],
    "ragged_box_iou": [
        Call(
            {
                "boxes": BOXES,
                "truths": TRUTHS,
                "crowd": CROWD,
                "detection_offsets": FOUND_OFFSETS,
                "truth_offsets": TRUE_OFFSETS,
            },
            {"detection_offsets": BAD_OFFSETS, "truth_offsets": BAD_OFFSETS},
        )
    ],
    "match_detections": [
        Call(
            MATCH,
            {"detection_offsets": BAD_OFFSETS, "truth_offsets": BAD_OFFSETS, "max_detections": [-1, -HUGE]},
            {"thresholds": ("shape *",)},
        )
    ],
    "precision_curves": [
        Call(
            CURVES,
            {"category_offsets": BAD_OFFSETS, "max_detections": [[]]},
            {"recall_thresholds": ("shape *",), "outcome": ("shape 1",)},
        )
    ],
    "oks": [Call(OKS, {}, {"pred": ("shape 1",)})],
    "_oks_backward": [Call({"grad": torch.randn(2, 3, 2), **OKS, "wants_pred": True, "wants_truth": True})],
    "oks_ragged": [
        Call(
            RAGGED_OKS,
            {
                "pred_offsets": BAD_OFFSETS,
                "truth_offsets": BAD_OFFSETS,
                "pair_offsets": BAD_PAIRS,
                "pairs": [-1, 2, 4],
            },
            right_on_gpu={
                "pred": ("shape 0",),
                "pred_offsets": ("value *",),
                "truth_offsets": ("value *",),
                "pair_offsets": ("value *",),
                "pairs": ("value *",),
            },
        )
    ],
    "confusion_matrix": [
        Call(
            {"pred": LABELS, "target": LABELS, "num_classes": 3, "ignore_index": 1, "per_image": True},
            {"num_classes": [-1, 0, 32768, HUGE]},
            {"pred": OTHER_LABELS, "target": OTHER_LABELS},
        ),
        Call(
            {
                "pred": torch.randn(2, 3, 4, 5),
                "target": LABELS,
                "num_classes": 3,
                "ignore_index": None,
                "per_image": False,
            },
            {"num_classes": [-1, 0, 2, 4]},
            {"pred": OTHER_FLOATS, "target": OTHER_LABELS},
        ),
    ],
    "decode_corners": [
        Call(
            {
                **{
                    f"{head}_{corner}": torch.rand(2, channels, 4, 5)
                    for head, channels in (("heat", 3), ("tag", 1), ("offset", 2))
                    for corner in ("tl", "br")
                },
                "top_k": 6,
                "kernel_size": 3,
                "tag_threshold": 0.5,
                "max_detections": 20,
            },
            {"top_k": [-1, 0, -HUGE], "kernel_size": [-1, 0, 2, HUGE], "max_detections": [-1, 0, -HUGE]},
        )
    ],
    "box_nms": [
        Call(
            {
                "boxes": torch.rand(2, 3, 4),
                "scores": torch.rand(2, 3),
                "labels": torch.zeros(2, 3, dtype=torch.int64),
                **SUPPRESSION,
                "pixel_offset": 0.0,
            },
            UNKNOWN_METHODS,
        )
    ],
    "pose_nms": [
        Call(
            {"points": POSES, "scores": torch.rand(2, 3), "area": torch.ones(2, 3), "sigmas": SIGMAS, **SUPPRESSION},
            UNKNOWN_METHODS,
        )
    ],
    "ssim": [Call(SSIM, BAD_SSIM_WINDOWS), Call({**SSIM, "map": True}, BAD_SSIM_WINDOWS)],
    "_ssim_backward": [
        Call({"grad": grad, **SSIM, "map": grad.dim() == 4, "wants_x": True, "wants_y": True}, BAD_SSIM_WINDOWS)
        for grad in (torch.randn(2, 1), torch.randn(2, 1, 3, 2))
    ],
}
