"""Calls of the metrics."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

import pydlx
from bad_input.arguments import (
    NAN,
    Argument,
    Call,
    anything,
    count,
    flag,
    image,
    number,
    numbers,
    whole,
    word,
)
from bad_input.operators import KEYPOINT_SIGMAS, PICTURE, SSIM_OPTIONS

IMAGES = {"preds": image(PICTURE), "target": image(PICTURE * 0.9, PICTURE[0])}
MATRIX = torch.tensor([[3, 1], [1, 5]])
THRESHOLDS = numbers([0.5, 0.75], [], [-1], [2], [NAN], 0.5).without_none()
IDS = Argument([1], [5, "x", [0.5]], [None])
AP_OPTIONS = {
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
            "segmentation": [[0, 0, 5, 0, 5, 5, 0, 5]],
            "area": 25,
            "iscrowd": 0,
            "keypoints": [1, 1, 2] * 17,
            "num_keypoints": 17,
        }
    ],
}
FOUND = [
    {
        "image_id": 1,
        "category_id": 1,
        "score": 0.9,
        "bbox": [0, 0, 5, 5],
        "segmentation": [[0, 0, 5, 0, 5, 5, 0, 5]],
        "keypoints": [1, 1, 1] * 17,
    }
]
OUTPUT = {"boxes": torch.ones(1, 4), "labels": torch.ones(1), "scores": torch.ones(1)}
FILES = {
    "truth": anything(COCO, None, 5, NAN, torch.ones(2)),
    "detections": anything(FOUND, None, 5, NAN, torch.ones(2)),
}
FILE_OPTIONS = {
    **{name: given for name, given in AP_OPTIONS.items() if name != "box_format"},
    "image_ids": IDS,
    "category_ids": IDS,
}
CLASS_OPTIONS = {
    **AP_OPTIONS,
    "class_metrics": flag(False),
    "class_names": Argument(["a", "b"], [5, "x"], [None, {1: "a"}]),
    "only_images": IDS,
    "only_labels": Argument([1], [5, "x", ["a"]], [None]),
}
MASK_OPTIONS = {name: given for name, given in CLASS_OPTIONS.items() if name != "box_format"}
BOX_LIMITS = Argument([1, 10], [None, "12", 100, [], [0], [-1], [1.5], [True], torch.tensor(1)], [(np.int64(1),)])
KEYPOINT_LIMIT = Argument(20, [None, "12", [], 0, -1, 1.5, True, NAN, [1.5]], [np.int64(20), [np.int64(20)]])
KEYPOINT_FILES = {
    **FILES,
    "layout": word("coco"),
    "sigmas": Argument([0.1] * 17, [w for w in KEYPOINT_SIGMAS.wrong if w is not None], [None]),
    "max_detections": KEYPOINT_LIMIT,
    "use_area": flag(True).without_none(),
    "oks_thresholds": THRESHOLDS,
    **FILE_OPTIONS,
    "per_keypoint": flag(False),
    "skip_bad": flag(False),
}
BOX_FILES = {
    **FILES,
    "max_detections": BOX_LIMITS,
    "iou_thresholds": THRESHOLDS,
    **FILE_OPTIONS,
    "class_agnostic": flag(False),
    "skip_bad": flag(False),
}
IMAGE_OPTIONS = {name: given for name, given in SSIM_OPTIONS.items() if name != "reduction"}
SIMILARITY = {**IMAGE_OPTIONS, "data_range": IMAGE_OPTIONS["data_range"].without_none()}
SET = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SETS = {
    name: anything(SET, None, "x", 3, [1.0], SET.long(), SET.to(torch.complex64), SET.to("meta"), SET[0], SET[:0])
    for name in ("real", "fake")
}
POINTS = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
WINDOWS = {
    name: anything(POINTS, None, "x", 3, [1.0], POINTS.long(), POINTS[0], POINTS[:0], POINTS.to("meta"))
    for name in ("samples", "test")
}


class MeanColours(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean((2, 3))


FEATURES = {
    **{name: Argument(given.value, [*given.wrong, SET[:1]]) for name, given in SETS.items()},
    "features": anything(MeanColours(), 5, "x", torch.ones(2)),
    "weights": anything(None, 5, NAN, ["a"]),
}
CURVE = pydlx.metrics.evaluate_boxes(COCO, FOUND).curves["boxes"]

SQUAD = [{"paragraphs": [{"qas": [{"id": "a", "answers": [{"text": "x"}]}, {"id": "b", "answers": ["y"]}]}]}]
NOT_A_SOURCE = (None, 5, NAN, torch.ones(2))
QUESTIONS = {
    "data": anything(SQUAD, *NOT_A_SOURCE, [], [5], {}, {"data": 5}, [{"qas": 5}], [{"qas": [{"id": 5}]}]),
    "predictions": anything({"a": "x", "b": ""}, *NOT_A_SOURCE, [], {"a": 5}, {5: "a"}),
}
PROBABILITIES = anything({"a": 0.1, "b": 1}, 5, NAN, torch.ones(2), {"a": 0.5}, {"a": "x", "b": 0}, {"a": NAN, "b": 0})
FREE = [{"question_id": 1, "query_id": 1, "answers": ["x"], "question_type": "ENTITY"}]
FREE_ANSWERS = {
    name: anything(FREE, *NOT_A_SOURCE, [5], [{}], {"a": "b"}, [{"question_id": 1, "query_id": 1, "answers": [5]}])
    for name in ("data", "predictions")
}
ONE_ANSWER = {
    "prediction": anything("x", None, 5, NAN, ["x"], torch.ones(2)),
    "golds": anything(["x", "y"], None, 5, NAN, "x", ["x", 5], [None], []),
}
TEXTS = anything(["a b", "c"], None, 5, NAN, "ab", [5, "x"], [["a"], ["b"]], torch.ones(2))
REFERENCES = anything([["a"], ["c", "d"]], None, 5, NAN, "ab", ["a", "b"], [["a"]], [["a"], [5]], [["a"], []])

DREAM = [[["t"], [{"question": "q", "choice": ["a", "b"], "answer": "a"}], "x"]]
METRICS = {
    "squad_score": Call(
        {
            **QUESTIONS,
            "version": word("2.0"),
            "na_probs": PROBABILITIES,
            "na_threshold": number(0.5),
            "missing": word("zero").without_none(),
        }
    ),
    "squad_curves": Call(
        {
            **QUESTIONS,
            "na_probs": Argument(PROBABILITIES.value, [None, *PROBABILITIES.wrong]),
            "missing": word("zero").without_none(),
        }
    ),
    "squad_answer_scores": Call({**ONE_ANSWER, "version": word("1.1")}),
    "SquadScore": Call({"version": word("1.1")}),
    "cmrc_score": Call({**QUESTIONS, "words": word("builtin").without_none()}),
    "cmrc_answer_scores": Call({**ONE_ANSWER, "words": word("builtin").without_none()}),
    "CmrcScore": Call({"words": word("builtin").without_none()}),
    "cmrc2017_score": Call(
        {name: anything({"a": "x"}, *NOT_A_SOURCE, [], {"a": 5}, {5: "x"}) for name in ("data", "predictions")}
    ),
    "dream_score": Call(
        {
            "data": anything(
                DREAM, *NOT_A_SOURCE, [], [3], [[[], 5, "x"]], [[[], [{"choice": ["a"]}], "x"]], DREAM * 2
            ),
            "predictions": anything({"x-0": "a"}, *NOT_A_SOURCE, [], {"x-0": 5}, {"y-0": "a"}, {"x-0": "c"}),
        }
    ),
    "bleu": Call({"candidates": TEXTS, "references": REFERENCES, "n": count(4, 17)}),
    "BleuScore": Call({"n": count(4, 17)}),
    "rouge_l": Call({"candidates": TEXTS, "references": REFERENCES}),
    "RougeLScore": Call({}),
    "dureader_score": Call({**FREE_ANSWERS, "task": word("main")}),
    "marco_score": Call({**FREE_ANSWERS, "tokenizer": anything(str.split, 5, "x", NAN)}),
    "plot_answer_curves": Call(
        {
            "curves": anything(
                pydlx.metrics.squad_curves(SQUAD, {"a": "x", "b": ""}, {"a": 0.1, "b": 0.5}),
                None,
                5,
                NAN,
                [],
                {"exact": 5},
                {"exact": (1, 2, 3)},
            ),
            "path": anything(None, 5, NAN, ["a"]),
            "ax": anything(None, 5, "ax"),
        }
    ),
    **{name: Call(IMAGES) for name in ("mse", "rmse", "mae")},
    "psnr": Call({**IMAGES, "data_range": SSIM_OPTIONS["data_range"]}),
    **{name: Call({"level": word("dataset")}) for name in ("MSE", "RMSE", "MAE")},
    "PSNR": Call({"data_range": SSIM_OPTIONS["data_range"].without_none(), "level": word("dataset")}),
    "SSIM": Call(SIMILARITY),
    "MSSSIM": Call({**SIMILARITY, "weights": numbers([0.5, 0.5], [], 0.5)}),
    "ssim": Call({**IMAGES, **IMAGE_OPTIONS}),
    "ms_ssim": Call({**IMAGES, **IMAGE_OPTIONS, "weights": numbers([0.5, 0.5], [], 0.5)}),
    "std": Call(
        {"image": Argument(PICTURE, [None, "x", 3, PICTURE > 0, PICTURE.to(torch.complex64)]), "ddof": whole(1, -1)}
    ),
    "sliced_wasserstein": Call(
        {
            **SETS,
            "smallest": count(16, 1),
            "patch": count(7, 17),
            "patches": count(2),
            "projections": count(2),
            "normalise": word("real"),
            "seed": whole(0),
        }
    ),
    "parzen_log_likelihood": Call(
        {
            **WINDOWS,
            "sigma": number(0.5, 0, -1, math.inf).without_none(),
            "validation": anything(POINTS, "x", 3, POINTS.long(), POINTS[:, :2], POINTS[0]),
            "chunk": count(2),
        }
    ),
    "fid": Call(FEATURES),
    "kid": Call({**FEATURES, "seed": whole(0)}),
    "segmentation_scores": Call(
        {
            "matrix": Argument(MATRIX, [None, "x", 3, MATRIX[0], MATRIX[:1], MATRIX.to(torch.complex64)]),
            "zero_division": Argument("drop", [None, "x", -1, 2, ["drop"], torch.ones(2)], [0, 1.0, NAN]),
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
            "zero_division": Argument("drop", [None, "x", -1, 2, ["drop"], torch.ones(2)], [0, 1.0, NAN]),
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
    "BoxAP": Call(
        {
            "max_detections": BOX_LIMITS,
            "iou_thresholds": THRESHOLDS,
            **CLASS_OPTIONS,
            "class_agnostic": flag(False),
        }
    ),
    "MaskAP": Call(
        {
            "max_detections": BOX_LIMITS,
            "iou_thresholds": THRESHOLDS,
            **MASK_OPTIONS,
            "class_agnostic": flag(False),
        }
    ),
    "KeypointAP": Call(
        {
            "sigmas": KEYPOINT_SIGMAS,
            "max_detections": KEYPOINT_LIMIT,
            "use_area": flag(True),
            "oks_thresholds": THRESHOLDS,
            **CLASS_OPTIONS,
        }
    ),
    "from_torchvision": Call(
        {
            "outputs": anything([OUTPUT], None, 5, "x", [5], [{"boxes": OUTPUT["boxes"]}]),
            "mask_threshold": anything(0.5, None, "x"),
        }
    ),
    "from_ultralytics": Call({"results": anything([], None, 5, "x", [5])}),
    "from_mmpose": Call({"samples": anything([], None, 5, "x", [5]), "keypoint_threshold": anything(0.2, None, "x")}),
    "from_detectron2": Call({"outputs": anything([], None, 5, "x", [5], [{}])}),
    "evaluate_keypoints": Call(KEYPOINT_FILES, speaks=("coco_subset",)),
    "evaluate_boxes": Call(BOX_FILES, speaks=("coco_subset",)),
    "evaluate_masks": Call(BOX_FILES, speaks=("coco_subset",)),
}
