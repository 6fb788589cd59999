"""Calls of operators, layers and losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bad_input.arguments import (
    NAN,
    Argument,
    Call,
    anything,
    count,
    flag,
    image,
    labels,
    number,
    numbers,
    sizes,
    tensor,
    whole,
    word,
)

IMAGE = torch.rand(1, 2, 12, 12)
PICTURE = torch.rand(3, 12, 12)
POSES, SIGMAS = torch.rand(2, 3, 4, 2), torch.full((4,), 0.1)
VISIBLE, AREA = torch.ones(2, 3, 4), torch.ones(2, 3)
BOXES, SCORES = torch.rand(5, 4), torch.rand(5)
LABELS = torch.randint(3, (2, 6, 5))
HOLE = torch.zeros(12, 12, dtype=torch.bool)
HOLE[4:7, 4:7] = True
OFFSETS = torch.tensor([0, 2, 3])
SPANS, TEXT = torch.rand(2, 6), torch.rand(2, 5, 3)
POINTER, GOLD = torch.rand(2, 3, 5, 4), torch.tensor([[0, 1, 1, 4], [1, 2, 3, 3]])
TAGS, OFFSET = torch.rand(2, 3), torch.rand(2, 3, 2)

SSIM_OPTIONS = {
    "data_range": number(1.0, 0, -1, math.inf),
    "convention": word("wang2004"),
    "reduction": word("mean"),
    "kernel_size": whole(3, 0, -1, 2, 99).without_none(),
    "sigma": number(0.5, -1, math.inf).without_none(),
    "k1": number(0.01, -1, math.inf),
    "k2": number(0.03, -1, math.inf),
}
READER = {
    "inputs": tensor(torch.rand(2, 3, 4), torch.rand(2, 3), torch.rand(1, 3, 4), torch.rand(2, 3, 4).double()),
    "memory": tensor(torch.rand(2, 5, 6), torch.rand(2, 5), torch.rand(1, 5, 6), torch.rand(2, 0, 6)),
    "memory_weight": tensor(torch.rand(7, 6), torch.rand(6, 6), torch.rand(7, 6).double(), torch.rand(6)),
    "input_weight": tensor(torch.rand(7, 4), torch.rand(4, 7)),
    "bias": tensor(torch.rand(7), torch.rand(6), torch.rand(1, 7)),
    "score": tensor(torch.rand(7), torch.rand(1, 7), torch.rand(0)),
    "weight_ih": tensor(torch.rand(6, 10), torch.rand(8, 10), torch.rand(6, 9)),
    "weight_hh": tensor(torch.rand(6, 2), torch.rand(6), torch.rand(8, 2), torch.rand(0, 0)),
    "bias_ih": tensor(torch.rand(6), torch.rand(8)),
    "bias_hh": tensor(torch.rand(6), torch.rand(8)),
    "state_weight": tensor(torch.rand(7, 2), torch.rand(2, 7)).without_none(),
    "gate_weight": tensor(torch.rand(10, 10), torch.rand(10, 6)).without_none(),
    "cell": word("gru"),
    "lengths": labels(
        torch.tensor([2, 3]), torch.tensor([-1, 3]), torch.tensor([4, 1]), torch.tensor([2])
    ).without_none(),
    "memory_mask": anything(None, "x", torch.ones(2, 5), torch.ones(2, 4, dtype=torch.bool), torch.rand(2, 5) < 0),
    "reverse": flag(False),
}
WINDOW = {
    "kernel_size": sizes(2, 1),
    "stride": sizes(2, 1).without_none(),
    "padding": sizes(1, 0),
    "dilation": sizes(1, 1),
    "ceil_mode": flag(False),
    "gradient": word("exact"),
}
TRANSFORM = {
    "x": tensor(IMAGE, alone=True),
    "type": whole(2, 0, 5),
    "axes": Argument((-2, -1), ["2", 1.5, True, (0, 0), (7,), -9, [NAN]], [None, np.int64(1), [np.int64(1)]]),
    "norm": word("ortho").without_none(),
}
PAIR = {"x": image(IMAGE, IMAGE.double()), "y": image(IMAGE * 0.9, IMAGE.double(), PICTURE)}


def soft_pool(dims: int) -> dict[str, Argument]:
    x = torch.rand(1, 1, *[6] * dims)
    one = {**WINDOW, "kernel_size": Argument(2, WINDOW["kernel_size"].wrong, [np.int64(2)])}
    for name, given in {"stride": 2, "padding": 1, "dilation": 1}.items():
        one[name] = Argument(given, WINDOW[name].wrong, [np.int64(given)])
    return {"x": tensor(x, x[0, 0], x[None, None], alone=True), **one}


def rows(x: Tensor, *wrong: Any) -> Argument:
    """Of the ops of the COCO protocol, which ask for dtypes exactly."""
    return Argument(x, [None, "x", [1.0], x.to(torch.float16), x[None], x.to("meta"), *wrong])


OKS = {
    "pred": tensor(POSES, POSES[..., :1], POSES[0, 0]),
    "truth": Argument(
        POSES, [None, "x", 3, POSES.to("meta"), POSES.to(torch.complex64), POSES[..., :3, :], POSES[0, 0]]
    ),
    "visibility": Argument(VISIBLE, [None, "x", VISIBLE.to("meta"), VISIBLE.to(torch.complex64), VISIBLE[..., :3]]),
    "area": Argument(AREA, [None, "x", 3, AREA.to("meta"), AREA.to(torch.complex64), AREA[:1]]),
    "sigmas": Argument(
        [0.1] * 4, [None, "x", 0.1, ["a"] * 4, [0.1] * 3, [-0.1] * 4, [NAN] * 4, SIGMAS.to("meta")], [SIGMAS]
    ),
    "boxes": Argument(torch.ones(2, 3, 4), ["x", torch.ones(2, 3, 3), torch.ones(2, 3, 4, device="meta")], [None]),
}
POSE_NMS = {
    "keypoints": tensor(POSES[0], POSES[0, ..., :1]),
    "scores": tensor(SCORES[:3], SCORES),
    "area": tensor(AREA[0], AREA),
    "sigmas": OKS["sigmas"],
}

DOUBLES = torch.rand(3, 4).double()
MASK_SPANS = torch.tensor([[0, 3], [2, 9], [5, 8]], dtype=torch.int32)
MATCH = {
    "similarity": rows(torch.rand(3).double()),
    "scores": rows(torch.rand(3).double()),
    "detection_offsets": rows(OFFSETS, OFFSETS + 1, OFFSETS.flip(0)),
    "truth_offsets": rows(torch.tensor([0, 1, 2]), OFFSETS, OFFSETS.flip(0)),
    "detection_outside": rows(torch.zeros(2, 3, dtype=torch.bool)),
    "truth_ignored": rows(torch.zeros(2, 2, dtype=torch.bool)),
    "truth_crowd": rows(torch.zeros(2, dtype=torch.bool)),
    "truth_unrecorded": rows(torch.zeros(2, dtype=torch.bool)).without_none(),
    "thresholds": Argument(torch.tensor([0.5]).double(), [None, "x", [0.5], 0.5, torch.tensor([0.5])]),
    "max_detections": whole(2, -1),
}
CURVES = {
    "outcome": rows(torch.ones(2, 2, 3, dtype=torch.uint8)),
    "rank": rows(torch.tensor([0, 1, 0])),
    "scores": rows(torch.rand(3).double()),
    "category_offsets": rows(OFFSETS, OFFSETS + 1),
    "positives": rows(torch.ones(2, 2, dtype=torch.int64)),
    "recall_thresholds": Argument(torch.tensor([0.5]).double(), [None, "x", [0.5], torch.tensor([0.5])]),
    "max_detections": Argument([1, 2], [None, "12", 3, [], [-1], [1.5], [True], torch.tensor(1)], [(np.int64(1),)]),
}
POISSON_RHS = tensor(IMAGE, IMAGE[0, 0, 0], alone=True)

CORNER_MAPS = {
    f"{head}_{corner}": torch.rand(2, channels, 4, 5)
    for head, channels in (("heat", 3), ("tag", 1), ("offset", 2))
    for corner in ("tl", "br")
}

OPS = {
    "soft_pool1d": Call(soft_pool(1)),
    "soft_pool2d": Call(soft_pool(2)),
    "soft_pool3d": Call(soft_pool(3)),
    "corner_pool": Call({"x": tensor(IMAGE, IMAGE[0, 0], alone=True), "direction": word("top")}),
    "top_left_pool": Call({name: tensor(IMAGE, IMAGE[..., :3], IMAGE.double()) for name in ("top", "left")}),
    "bottom_right_pool": Call({name: tensor(IMAGE, IMAGE[..., :3], IMAGE.double()) for name in ("bottom", "right")}),
    "attention_rnn": Call(READER),
    "sequence_pool": Call(
        {
            "x": tensor(torch.rand(2, 3, 4), torch.rand(2), torch.rand(2, 0, 4), alone=True),
            "mode": word("k-max"),
            "lengths": labels(
                torch.tensor([2, 3]), torch.tensor([0, 3]), torch.tensor([4, 1]), torch.tensor([2])
            ).without_none(),
            "mask": anything(None, "x", torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)),
            "k": count(2),
        }
    ),
    **{name: Call(TRANSFORM) for name in ("dctn", "idctn", "dstn", "idstn")},
    "solve_poisson": Call({"rhs": POISSON_RHS, "boundary": word("neumann"), "screening": number(0.5, -1, math.inf)}),
    "solve_gaussian_poisson": Call(
        {
            "rhs": tensor(IMAGE, IMAGE[0, 0, 0]),
            "colour": tensor(IMAGE, IMAGE[0]),
            "beta": number(1.0, -1, math.inf),
            "sigma": number(0.5, -1, math.inf),
            "formulation": word("official"),
            "normalised": flag(False),
        }
    ),
    "solve_masked_poisson": Call(
        {
            "rhs": tensor(IMAGE, IMAGE.half(), IMAGE[0, 0, 0], IMAGE * NAN),
            "mask": Argument(HOLE, [None, "x", HOLE.float(), HOLE[:3], HOLE.to("meta"), HOLE | True]),
            "tolerance": number(1e-6, 0, -1).without_none(),
            "max_iterations": count(50).without_none(),
            "initial": Argument(IMAGE, ["x", IMAGE[0], IMAGE.double(), IMAGE.to("meta"), IMAGE * NAN], [None]),
        }
    ),
    "ragged_box_iou": Call(
        {
            "boxes": rows(DOUBLES, DOUBLES[:, :3]),
            "truths": rows(DOUBLES[:2], DOUBLES[:2, :3]),
            "crowd": rows(torch.zeros(2, dtype=torch.bool)),
            "detection_offsets": rows(OFFSETS, OFFSETS + 1),
            "truth_offsets": rows(torch.tensor([0, 1, 2]), OFFSETS),
        },
    ),
    "ragged_mask_iou": Call(
        {
            "spans": rows(MASK_SPANS, MASK_SPANS[:, :1]),
            "span_offsets": rows(torch.tensor([0, 1, 2, 3]), OFFSETS),
            "heights": rows(torch.full((3,), 4), torch.zeros(3, dtype=torch.int64)),
            "true_spans": rows(MASK_SPANS[:2], MASK_SPANS[:2, :1]),
            "true_span_offsets": rows(torch.tensor([0, 1, 2]), OFFSETS),
            "true_heights": rows(torch.full((2,), 4), torch.zeros(2, dtype=torch.int64)),
            "crowd": rows(torch.zeros(2, dtype=torch.bool)),
            "detection_offsets": rows(OFFSETS, OFFSETS + 1),
            "truth_offsets": rows(torch.tensor([0, 1, 2]), OFFSETS),
        },
    ),
    "match_detections": Call(MATCH),
    "precision_curves": Call(CURVES),
    "oks": Call(OKS),
    "ragged_oks": Call(
        {
            **{
                name: Argument(given.value[0], [w for w in given.wrong if not isinstance(w, Tensor)])
                for name, given in OKS.items()
                if name != "sigmas"
            },
            "sigmas": OKS["sigmas"],
            "pred_offsets": Argument(OFFSETS, [None, "x", OFFSETS + 1, OFFSETS.float(), OFFSETS.to("meta")]),
            "truth_offsets": Argument(OFFSETS, [None, "x", OFFSETS + 1, OFFSETS[[0, 2]], OFFSETS.to("meta")]),
        }
    ),
    "confusion_matrix": Call(
        {
            "pred": labels(LABELS, LABELS[0], LABELS + 3, LABELS - 3, LABELS.float()),
            "target": labels(LABELS, LABELS[0], LABELS + 3),
            "num_classes": count(3, 40_000),
            "ignore_index": whole(255).without_none(),
            "invalid": word("error"),
            "per_image": flag(False),
        }
    ),
    "decode_spans": Call(
        {
            "start": tensor(SPANS, SPANS[0]),
            "end": tensor(SPANS, SPANS[0], SPANS[:1]),
            "max_length": count(3).without_none(),
            "mask": Argument(SPANS > 0, ["x", SPANS, SPANS[:1] > 0, (SPANS > 0).to("meta")], [None]),
            "top_k": count(2),
        }
    ),
    "trilinear_attention": Call(
        {
            "context": tensor(TEXT, TEXT[0], TEXT[..., :2]),
            "question": tensor(TEXT[:, :4], TEXT[0], TEXT[:1], TEXT[..., :2]),
            "weight": tensor(TEXT.new_ones(9), TEXT.new_ones(8), TEXT),
            "context_mask": anything(None, "x", TEXT[..., 0], TEXT[:, :4, 0] > 0, (TEXT[..., 0] > 0).to("meta")),
            "question_mask": anything(None, "x", TEXT[:, :4, 0], TEXT[..., 0] > 0, (TEXT[:, :4, 0] > 0).to("meta")),
        }
    ),
    "zlpr_loss": Call(
        {
            "scores": tensor(SPANS, SPANS[0]),
            "labels": Argument(
                SPANS > 0.5,
                [None, "x", 3, SPANS + 2, -SPANS, SPANS[:1], SPANS[0] > 0, SPANS.to(torch.complex64), SPANS.to("meta")],
                [SPANS, (SPANS > 0.5).int()],
            ),
            "mask": Argument(SPANS > 0, ["x", SPANS, SPANS[:, 1:] > 0, (SPANS > 0).to("meta")], [None, SPANS[0] > 0]),
            "dim": Argument(
                -1, [None, "x", 1.5, True, 2, -3, (), (0, 0), (1, -1), (0.5,)], [0, (0, 1), [1], np.int64(0)]
            ),
            "reduction": word("mean"),
        }
    ),
    "global_pointer_loss": Call(
        {
            "query": tensor(POINTER, POINTER[0], POINTER[:1], POINTER[..., :3]),
            "key": tensor(POINTER, POINTER[0], POINTER[:, :1], POINTER[..., :0]),
            "spans": Argument(
                GOLD,
                [None, "x", 3, GOLD.float(), GOLD > 0, GOLD[0], GOLD[:, :3], -GOLD, GOLD + 9, GOLD.flip(1)],
                [GOLD.int()],
            ),
            "mask": Argument(POINTER[:, 0, :, 0] > 0, ["x", POINTER[:, 0, :, 0], POINTER[0, 0] > 0], [None]),
            "start_bias": tensor(POINTER[..., 0], POINTER[:, :, 1:, 0], POINTER[:, 0]),
            "end_bias": tensor(POINTER[..., 0], POINTER[:, :, 1:, 0], POINTER[:, 0]),
            "rotary": flag(True),
            "triangle": flag(True),
            "scale": number(0.5).without_none(),
            "reduction": word("mean"),
        }
    ),
    "decode_corners": Call(
        {
            **{name: tensor(x, x[..., :3], x[0], x[:0]) for name, x in CORNER_MAPS.items()},
            "top_k": count(5),
            "kernel_size": count(3, 2, 4),
            "tag_threshold": number(0.5),
            "max_detections": count(9),
        }
    ),
    "soft_nms": Call(
        {
            "boxes": tensor(BOXES, BOXES[:, :3], BOXES[0]),
            "scores": tensor(SCORES, SCORES[:3]),
            "sigma": number(0.5, 0, -1),
            "method": word("gaussian"),
            "iou_threshold": number(0.5),
            "score_threshold": number(0.0),
            "pixel_offset": number(0.0),
            "labels": labels(
                torch.zeros(5, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), torch.zeros(5, dtype=torch.bool)
            ).without_none(),
        }
    ),
    "oks_nms": Call({**POSE_NMS, "threshold": number(0.9)}),
    "soft_oks_nms": Call({**POSE_NMS, "threshold": number(0.9, 0, -1), "score_threshold": number(0.0)}),
    "ssim": Call({**PAIR, **SSIM_OPTIONS}),
    "ms_ssim": Call({**PAIR, **SSIM_OPTIONS, "weights": numbers([0.5, 0.5], [], 0.5)}),
}

SPAN_HEAD = {
    "size": count(6),
    "types": count(3),
    "head_size": count(4, 5),
    "rotary": flag(True),
    "triangle": flag(True),
}
NN = {
    **{
        f"SoftPool{dims}d": Call({name: given for name, given in soft_pool(dims).items() if name != "x"})
        for dims in (1, 2, 3)
    },
    "CornerPool2d": Call({"direction": word("top")}),
    "TopLeftPool2d": Call({}),
    "BottomRightPool2d": Call({}),
    "AttentionRNN": Call(
        {
            **{size: count(3) for size in ("input_size", "memory_size", "hidden_size")},
            "attention_size": count(3).without_none(),
            "cell": word("lstm"),
            "gated": flag(True),
            "recurrent_attention": flag(True),
            "bidirectional": flag(True),
            "share_attention": flag(True),
        }
    ),
    "SequencePool": Call({"mode": word("k-max"), "k": count(2)}),
    "TrilinearAttention": Call({"size": count(3)}),
    "GlobalPointer": Call(SPAN_HEAD),
    "EfficientGlobalPointer": Call({**SPAN_HEAD, "split": word("halves")}),
    "SpatialPyramidPool2d": Call(
        {
            "levels": Argument(
                (2, 1), [None, "21", 3, [], [0], [1.5], [(1, 2, 3)], [True], [NAN]], [[np.int64(2), (1, np.int64(2))]]
            ),
            "mode": word("max"),
            "form": word("adaptive"),
        }
    ),
    "BilinearUpsample2d": Call(
        {
            "channels": count(2),
            "scale": count(2),
            "learned": flag(False),
            "border": word("zero"),
            "kernel_size": count(4).without_none(),
            "dense": flag(False),
            "device": anything(None, "no such device", 1.5),
            "dtype": anything(None, "float32", torch.int64, 5),
        }
    ),
    "bilinear_kernel": Call({"size": count(3), "dtype": anything(None, "float32", torch.int64, 5)}),
    "layer_geometry": Call(
        {
            "layers": anything(nn.Sequential(nn.ReLU()), None, "x", 5, [nn.ReLU()], [("a", 5)]),
            "input_size": Argument(
                (8, 8), [None, "8", 1.5, True, 0, (8, -1), (), (8, NAN), (8, "8")], [np.int64(8), [np.int64(8), 8]]
            ),
        }
    ),
}

KEYPOINT_SIGMAS = Argument([0.1] * 4, [None, "x", 0.1, [], ["a"], [-0.1] * 4, [NAN] * 4], [SIGMAS, np.full(4, 0.1)])

ADAPTIVE = {"gamma": number(1.0, -1, math.inf), "offset": number(1.0, -1, math.inf), "reduction": word("sum")}
PAIRS = {
    "logits": tensor(TAGS, TAGS[0, 0], TAGS[:, :0]),
    "labels": Argument(TAGS > 0, [None, "x", 3, TAGS[0] > 0, TAGS, (TAGS > 0).to("meta")], [(TAGS > 0).double()]),
}
LOSSES = {
    "AdaptiveFocalLoss": Call(ADAPTIVE),
    "AdaptiveThresholdLoss": Call({"reduction": word("sum")}),
    "adaptive_focal_loss": Call({**PAIRS, **ADAPTIVE}),
    "adaptive_threshold_loss": Call({**PAIRS, "reduction": word("sum")}),
    "threshold_labels": Call({"logits": tensor(TAGS, TAGS[0, 0], alone=True), "top_k": count(2).without_none()}),
    "CornerLoss": Call(
        {
            "pull_weight": number(0.1, -1, math.inf),
            "push_weight": number(0.1, -1, math.inf),
            "offset_weight": number(1.0, -1, math.inf),
            "form": word("exact"),
        }
    ),
    "corner_focal_loss": Call({"logits": tensor(TAGS), "target": tensor(TAGS, TAGS[:1])}),
    "corner_tag_loss": Call(
        {
            "tag_tl": tensor(TAGS, TAGS[0]),
            "tag_br": tensor(TAGS, TAGS[:1]),
            "mask": Argument(TAGS > 0, [None, "x", 3, TAGS, TAGS.long(), TAGS[:1] > 0, (TAGS > 0).to("meta")]),
            "form": word("exact"),
        }
    ),
    "corner_offset_loss": Call(
        {
            "offset": tensor(OFFSET, OFFSET[0], OFFSET[..., :1]),
            "target": tensor(OFFSET, OFFSET[:1]),
            "mask": Argument(TAGS > 0, [None, "x", 3, TAGS, TAGS.long(), TAGS[:1] > 0, (TAGS > 0).to("meta")]),
        }
    ),
    "OKSLoss": Call(
        {
            "sigmas": KEYPOINT_SIGMAS,
            "mode": word("linear"),
            "min_area": number(1.0, 0, -1),
            "eps": number(1e-8, 0, -1),
            "reduction": word("mean"),
        }
    ),
    "SSIMLoss": Call(SSIM_OPTIONS),
    "ZLPRLoss": Call({"dim": Argument(-1, [None, "x", 1.5, True, (), (0.5,)], [(0, 1)]), "reduction": word("sum")}),
}
