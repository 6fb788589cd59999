"""Every public function refuses a wrong argument with one sentence that names the function and the argument.

Each public name has an entry with a valid call, and for each of its arguments what is wrong in its place. A name, or an
argument, without an entry fails.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pydlx

NAN = math.nan
MODULES = ("pydlx", *(f"pydlx.{part}" for part in ("ops", "nn", "losses", "metrics", "blending", "data", "visualize")))

# What functions return, and a warning: they are not made by users.
RESULTS = {
    "pydlx.NativeLibraryWarning",
    "pydlx.nn.Geometry",
    "pydlx.nn.LayerGeometry",
    "pydlx.metrics.Evaluation",
    "pydlx.blending.BlendReport",
    "pydlx.visualize.Excitation",
}


@dataclass
class Argument:
    """A valid value, what is wrong in its place, and what else is right."""

    value: Any
    wrong: list[Any]
    right: list[Any] = field(default_factory=list)

    def without_none(self) -> Argument:
        """The same, where None is right."""
        return Argument(self.value, [w for w in self.wrong if w is not None], [*self.right, None])


@dataclass
class Call:
    """How a public name is called; `speaks` are other names that its messages may begin with."""

    arguments: dict[str, Argument]
    run: Callable[..., Any] | None = None
    speaks: tuple[str, ...] = ()


def tensor(x: Tensor, *wrong: Any, alone: bool = False) -> Argument:
    """A floating-point tensor; not on another device than the call's others, if there are others."""
    return Argument(
        x, [None, "x", 3, x.long(), x > 0, x.to(torch.complex64), *([] if alone else [x.to("meta")]), *wrong]
    )


def image(x: Any, *wrong: Any) -> Argument:
    """An image of numbers."""
    return Argument(x, [None, "x", 3, [1.0], x.to(torch.complex64), x.to("meta"), x[..., :-1], *wrong])


def labels(x: Tensor, *wrong: Any) -> Argument:
    return Argument(x, [None, "x", 3, x + 0.5, x.to(torch.complex64), x.to("meta"), *wrong], [x.int()])


def whole(value: int, *wrong: Any) -> Argument:
    return Argument(
        value, [None, "2", 1.5, NAN, True, torch.ones(2), [1, 2], *wrong], [np.int64(value), np.uint8(value)]
    )


def count(value: int, *wrong: Any) -> Argument:
    """A positive whole number."""
    return whole(value, 0, -1, *wrong)


def number(value: float, *wrong: Any) -> Argument:
    return Argument(
        value, [None, "0.5", NAN, True, 1j, torch.ones(2), [0.5], *wrong], [np.float64(value), np.float32(value)]
    )


def word(value: str) -> Argument:
    return Argument(value, ["no such word", "", 7, NAN, [value], torch.ones(2), np.ones(2)])


def flag(value: bool) -> Argument:
    return Argument(value, [None, "yes", 2, NAN, torch.ones(2)], [np.bool_(value)])


def numbers(value: Any, *wrong: Any) -> Argument:
    return Argument(value, [None, "0.5", 1j, ["a"], [None], {}, *wrong], [np.array(value), torch.tensor(value)])


def sizes(value: Any, least: int) -> Argument:
    wrong = [None, "2", 1.5, True, NAN, least - 1, (1,) * 4, (), torch.ones(2), (1.5, 2), ("1", 2), 2**40]
    return Argument(value, wrong, [np.int64(value), torch.Size([value] * 2), [value, np.int32(value)]])


def path(value: Any) -> Argument:
    return Argument(value, [None, 5, NAN, ["a"], torch.ones(2)], [str(value)])


def anything(value: Any, *wrong: Any) -> Argument:
    return Argument(value, list(wrong))


torch.manual_seed(0)
IMAGE = torch.rand(1, 2, 12, 12)
PICTURE = torch.rand(3, 12, 12)
POSES, SIGMAS = torch.rand(2, 3, 4, 2), torch.full((4,), 0.1)
VISIBLE, AREA = torch.ones(2, 3, 4), torch.ones(2, 3)
BOXES, SCORES = torch.rand(5, 4), torch.rand(5)
LABELS = torch.randint(3, (2, 6, 5))
HOLE = torch.zeros(12, 12, dtype=torch.bool)
HOLE[4:7, 4:7] = True
OFFSETS = torch.tensor([0, 2, 3])

SSIM_OPTIONS = {
    "data_range": number(1.0, 0, -1, math.inf),
    "convention": word("wang2004"),
    "reduction": word("mean"),
    "kernel_size": whole(3, 0, -1, 2, 99).without_none(),
    "sigma": number(0.5, -1, math.inf).without_none(),
    "k1": number(0.01, -1, math.inf),
    "k2": number(0.03, -1, math.inf),
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

OPS = {
    "soft_pool1d": Call(soft_pool(1)),
    "soft_pool2d": Call(soft_pool(2)),
    "soft_pool3d": Call(soft_pool(3)),
    "corner_pool": Call({"x": tensor(IMAGE, IMAGE[0, 0], alone=True), "direction": word("top")}),
    "top_left_pool": Call({name: tensor(IMAGE, IMAGE[..., :3], IMAGE.double()) for name in ("top", "left")}),
    "bottom_right_pool": Call({name: tensor(IMAGE, IMAGE[..., :3], IMAGE.double()) for name in ("bottom", "right")}),
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

NN = {
    **{
        f"SoftPool{dims}d": Call({name: given for name, given in soft_pool(dims).items() if name != "x"})
        for dims in (1, 2, 3)
    },
    "CornerPool2d": Call({"direction": word("top")}),
    "TopLeftPool2d": Call({}),
    "BottomRightPool2d": Call({}),
    "SequencePool": Call({"mode": word("k-max"), "k": count(2)}),
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

LOSSES = {
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
}

IMAGES = {"x": image(PICTURE, PICTURE.double()), "y": image(PICTURE * 0.9, PICTURE.double(), PICTURE[0])}
MATRIX = torch.tensor([[3, 1], [1, 5]])
AP_OPTIONS = {
    "thresholds": numbers([0.5, 0.75], [], [-1], [2], [NAN], 0.5).without_none(),
    "recall_thresholds": numbers([0.0, 1.0], [], [-1], [2], [NAN], 0.5).without_none(),
    "area_ranges": anything(
        {"all": (0, 10)}, "x", 3, {}, {"all": 3}, {"all": (3, 1)}, {"all": (0, NAN)}, {"all": ("a", "b")}
    ),
    "box_format": word("xywh"),
    "compatibility": word("pycocotools").without_none(),
}
SCORES_TABLE = pydlx.metrics.segmentation_scores(MATRIX)
COCO = {
    "images": [{"id": 1, "width": 10, "height": 10}],
    "categories": [{"id": 1, "name": "a"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [0, 0, 5, 5],
            "area": 25,
            "iscrowd": 0,
            "keypoints": [1, 1, 2] * 17,
            "num_keypoints": 17,
        }
    ],
}
FOUND = [{"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [0, 0, 5, 5], "keypoints": [1, 1, 1] * 17}]
FILES = {
    "truth": anything(COCO, None, 5, NAN, torch.ones(2)),
    "detections": anything(FOUND, None, 5, NAN, torch.ones(2)),
}
FILE_OPTIONS = {name: given for name, given in AP_OPTIONS.items() if name != "box_format"}
BOX_LIMITS = Argument([1, 10], [None, "12", 100, [], [0], [-1], [1.5], [True], torch.tensor(1)], [(np.int64(1),)])
KEYPOINT_LIMIT = Argument(20, [None, "12", [], 0, -1, 1.5, True, NAN, [1.5]], [np.int64(20), [np.int64(20)]])
KEYPOINT_FILES = {
    **FILES,
    "layout": word("coco"),
    "sigmas": Argument([0.1] * 17, [w for w in KEYPOINT_SIGMAS.wrong if w is not None], [None]),
    "max_detections": KEYPOINT_LIMIT,
    "use_area": flag(True).without_none(),
    **FILE_OPTIONS,
    "per_keypoint": flag(False),
    "skip_bad": flag(False),
}
BOX_FILES = {
    **FILES,
    "max_detections": BOX_LIMITS,
    **FILE_OPTIONS,
    "class_agnostic": flag(False),
    "skip_bad": flag(False),
}
IMAGE_OPTIONS = {name: given for name, given in SSIM_OPTIONS.items() if name != "reduction"}
CURVE = pydlx.metrics.box_evaluation(COCO, FOUND).curves["boxes"]

METRICS = {
    **{name: Call(IMAGES) for name in ("mse", "rmse", "mae")},
    "psnr": Call({**IMAGES, "data_range": SSIM_OPTIONS["data_range"]}),
    "ssim": Call({**IMAGES, **IMAGE_OPTIONS}),
    "ms_ssim": Call({**IMAGES, **IMAGE_OPTIONS, "weights": numbers([0.5, 0.5], [], 0.5)}),
    "sd": Call(
        {"x": Argument(PICTURE, [None, "x", 3, PICTURE > 0, PICTURE.to(torch.complex64)]), "ddof": whole(1, -1)}
    ),
    "segmentation_scores": Call(
        {
            "matrix": Argument(MATRIX, [None, "x", 3, MATRIX[0], MATRIX[:1], MATRIX.to(torch.complex64)]),
            "absent": word("drop"),
            "average": word("macro"),
        }
    ),
    "scores_table": Call(
        {
            "scores": anything(SCORES_TABLE, None, "x", 5, {}, {"iou": 3}),
            "class_names": anything(["a", "b"], 5, "ab", ["a"], NAN),
        }
    ),
    "ConfusionMetrics": Call(
        {
            "num_classes": count(3, 40_000),
            "ignore_index": whole(255).without_none(),
            "absent": word("drop"),
            "average": word("macro"),
            "level": word("dataset"),
            "invalid": word("error"),
            "class_names": anything(["a", "b", "c"], 5, "abc", ["a"], NAN),
        }
    ),
    "plot_confusion_matrix": Call(
        {
            "matrix": Argument(MATRIX, [None, "x", 3, MATRIX[0], MATRIX[:1], MATRIX.to(torch.complex64)]),
            "class_names": anything(["a", "b"], 5, "ab", ["a"], NAN),
            "normalize": word("truth").without_none(),
            "path": anything(None, 5, NAN, ["a"]),
            "ax": anything(None, 5, "ax"),
        }
    ),
    "plot_precision_recall": Call(
        {
            "curves": anything(CURVE, None, "x", 5, torch.ones(2)),
            "path": anything(None, 5, NAN, ["a"]),
            "category": whole(0, -1, 1).without_none(),
            "area": word("all"),
            "ax": anything(None, 5, "ax"),
        }
    ),
    "single_person_ap": Call(
        {
            "oks": anything([0.9, 0.5], None, "x", 3, [], [NAN], [[0.5]], ["a"], torch.ones(2).to(torch.complex64)),
            "threshold": anything(0.5, None, "0.5", NAN, [], ["a"], [[0.5]], True),
        }
    ),
    "multi_person_ap": Call(
        {
            "oks_matrices": anything([[[0.9, 0.5]]], None, "x", 3, [], [[0.5]], [[[NAN]]], [[["a"]]]),
            "threshold": anything(0.5, None, "0.5", NAN, [], ["a"], [[0.5]], True),
            "matching": word("greedy"),
        }
    ),
    "BoxAP": Call({"max_detections": BOX_LIMITS, **AP_OPTIONS, "class_agnostic": flag(False)}),
    "KeypointAP": Call(
        {"sigmas": KEYPOINT_SIGMAS, "max_detections": KEYPOINT_LIMIT, "use_area": flag(True), **AP_OPTIONS}
    ),
    "evaluate_keypoints": Call(KEYPOINT_FILES),
    "keypoint_evaluation": Call(KEYPOINT_FILES, speaks=("evaluate_keypoints",)),
    "evaluate_boxes": Call(BOX_FILES),
    "box_evaluation": Call(BOX_FILES, speaks=("evaluate_boxes",)),
}

SOURCE, TARGET = np.full((6, 5, 3), 0.5), np.full((9, 10, 3), 0.25)
MASK = np.ones((6, 5))


def picture(x: np.ndarray, *wrong: Any) -> Argument:
    return Argument(x, [None, "x", 3, x.astype(complex), x.astype(str), x[:0], x[0, 0], x.astype(int), *wrong])


SCENE = {
    "source": picture(SOURCE, SOURCE * NAN),
    "target": picture(TARGET, TARGET * NAN),
    "mask": Argument(MASK, [None, "x", 3, MASK[:3], MASK * 0, MASK * NAN, MASK * 2]),
    "offset": Argument(
        (1, 2), [None, "12", 3, (1,), (1, 2, 3), (1.5, 0), (NAN, 0), (True, False), (90, 0)], [[np.int64(1), 2]]
    ),
    "alpha": flag(True),
}
BLEND = {
    **SCENE,
    "method": word("gaussian-poisson"),
    "rounding": word("nearest"),
    "clip": flag(False),
    "threshold": number(0.5, -1, 1).without_none(),
    "return_report": flag(False),
    "beta": Argument(1.0, [None, "1", 0, -1, NAN, math.inf, np.ones((2, 2)), -TARGET[..., 0]], [np.float64(1)]),
    "sigma": number(0.5, -1, math.inf),
    "formulation": word("official"),
    "taps": word("upstream"),
    "pyramid": word("aspect"),
    "levels": count(1, 9).without_none(),
    "colour": Argument(TARGET, ["x", 3, TARGET * NAN, TARGET.astype(complex)], [None]),
}
BLENDING = {
    "blend": Call(BLEND),
    "evaluate_blend": Call(
        {"output": picture(TARGET, TARGET[:3]), **SCENE, "threshold": number(0.5, -1, 1)}, speaks=("blend",)
    ),
    "method_options": Call({"name": word("poisson")}),
    "centred_offset": Call(
        {
            name: Argument((6, 5), [None, "65", 3, (6,), (6.5, 5), (6, NAN), (True, 5), (-1, 5)], [[np.int64(6), 5]])
            for name in ("source_size", "target_size")
        }
    ),
}


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 2, 3), nn.ReLU())


IMAGES_SEEN = torch.rand(2, 3, 8, 8)
NETWORK = Small()
TOP = pydlx.visualize.top_activations(NETWORK, IMAGES_SEEN, "1", k=1)
VISUALIZE = {
    "Deconvnet": Call({"model": anything(NETWORK, None, "x", 5, torch.ones(2))}),
    "top_activations": Call(
        {
            "model": anything(NETWORK, None, "x", 5, torch.ones(2)),
            "images": anything(IMAGES_SEEN, None, "x", 5, [], ["x"], IMAGES_SEEN.long(), IMAGES_SEEN[0, 0]),
            "layer": word("1"),
            "channels": anything([0], 5, "x", [7], [-1], [0.5], [True]),
            "k": count(1),
            "progress": anything(None, "x", 5),
        },
        speaks=("deconvnet",),
    ),
    "grid": Call(
        {
            "excitations": anything(TOP, None, "x", 5, {}, {0: 5}, {0: ["x"]}),
            "columns": count(1),
            "tile": count(8),
            "mean": anything(0.0, None, "x", NAN, [0.1, 0.2], ["a"] * 3, True),
            "std": anything(1.0, None, "x", NAN, [0.1, 0.2], ["a"] * 3, True),
        }
    ),
}


FOLDER = tempfile.TemporaryDirectory()  # goes with this module
LABEL_FILE, NEW_FILE = Path(FOLDER.name, "labels.npy"), Path(FOLDER.name, "new.npy")
np.save(LABEL_FILE, np.ones((2, 2), np.uint8))
WRITE_IMAGE = Call({"path": path(NEW_FILE), "image": anything(SOURCE, None, "x", 3, [[1.0]], SOURCE.astype(object))})
DATA = {
    "read_label_map": Call({"path": path(LABEL_FILE)}),
    "LabelMapPairs": Call({"truth": path(FOLDER.name), "prediction": path(FOLDER.name)}),
}
BLENDING |= {"read_image": Call({"path": path(LABEL_FILE)}), "write_image": WRITE_IMAGE}
VISUALIZE["write_image"] = WRITE_IMAGE

CALLS = {
    "pydlx.backend": Call({"name": word("native")}, run=lambda name: pydlx.backend(name).__enter__()),
    "pydlx.build_info": Call({}),
    **{f"pydlx.ops.{name}": call for name, call in OPS.items()},
    **{f"pydlx.nn.{name}": call for name, call in NN.items()},
    **{f"pydlx.losses.{name}": call for name, call in LOSSES.items()},
    **{f"pydlx.metrics.{name}": call for name, call in METRICS.items()},
    **{f"pydlx.blending.{name}": call for name, call in BLENDING.items()},
    **{f"pydlx.data.{name}": call for name, call in DATA.items()},
    **{f"pydlx.visualize.{name}": call for name, call in VISUALIZE.items()},
}


def public_functions() -> dict[str, Any]:
    """All that can be called of what the packages export, by its full name."""
    exported = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module in MODULES
        for name in importlib.import_module(module).__all__
    }
    return {name: value for name, value in exported.items() if callable(value) and not _is_warning(value)}


def _is_warning(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Warning)


PUBLIC = public_functions()


def call(name: str, change: dict[str, Any]) -> Any:
    entry = CALLS[name]
    given = {argument: known.value for argument, known in entry.arguments.items()} | change
    return (entry.run or PUBLIC[name])(**given)


def test_every_public_name_has_an_entry():
    assert set(PUBLIC) - RESULTS == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_has_an_entry(name):
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    wanted = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert wanted <= set(CALLS[name].arguments)


@pytest.mark.parametrize("name", CALLS)
def test_right_arguments_are_taken(name):
    call(name, {})
    for argument, known in CALLS[name].arguments.items():
        for value in known.right:
            call(name, {argument: value})


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments_are_refused_in_one_sentence(name):
    function = name.rpartition(".")[2]
    speaks = "|".join(map(re.escape, (function, *CALLS[name].speaks)))
    unclear = []
    for argument, known in CALLS[name].arguments.items():
        for value in known.wrong:
            message = None
            try:
                call(name, {argument: value})
            except (TypeError, ValueError) as error:
                message = str(error)
            except Exception as error:
                message = repr(error)
            if message is None or not re.fullmatch(rf"({speaks}): .*\b{argument}\b.*", message):
                unclear.append(f"{argument}={str(value)[:40]!r} ({type(value).__name__}): {message}")
    assert not unclear, "\n".join(["", *unclear])
