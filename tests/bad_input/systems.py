"""Calls of metrics, blending, visualisation and data."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

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
    labels,
    number,
    numbers,
    path,
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

SOURCE, TARGET = np.full((6, 5, 3), 0.5), np.full((9, 10, 3), 0.25)
MASK = np.ones((6, 5))


def picture(x: np.ndarray, *wrong: Any) -> Argument:
    return Argument(x, [None, "x", 3, x.astype(complex), x.astype(str), x[:0], x[0, 0], x.astype(int), *wrong])


SCENE = {
    "source": picture(SOURCE, SOURCE * NAN),
    "target": picture(TARGET, TARGET * NAN),
    "mask": Argument(MASK, [None, "x", 3, MASK[:3], MASK * 0, MASK * NAN, MASK * 2]),
    "offset": Argument(
        (1, 2), ["12", 3, (1,), (1, 2, 3), (1.5, 0), (NAN, 0), (True, False), (90, 0)], [[np.int64(1), 2], None]
    ),
    "center": Argument(None, ["12", 3, (1,), (1, 2, 3), (1.5, 0), (NAN, 0), (True, False), (3, 3)]),
    "alpha": flag(True),
}
RECOLOURING = pydlx.create_model("blending_gan", image_size=8, width=2, bottleneck=3)
BLEND = {
    **SCENE,
    "method": word("gaussian-poisson"),
    "rounding": word("nearest"),
    "clip": flag(False),
    "threshold": number(0.5, -1, 1).without_none(),
    "return_report": flag(False),
    "feather": whole(2, -1),
    "beta": Argument(1.0, [None, "1", 0, -1, NAN, math.inf, np.ones((2, 2)), -TARGET[..., 0]], [np.float64(1)]),
    "sigma": number(0.5, -1, math.inf),
    "formulation": word("official"),
    "taps": word("upstream"),
    "pyramid": word("aspect"),
    "levels": count(1, 9).without_none(),
    "colour": Argument(TARGET, ["x", 3, TARGET * NAN, TARGET.astype(complex)], [None]),
    "network": anything(RECOLOURING, 3, NAN, [RECOLOURING], nn.Linear(1, 1), {}),
    "official_pyramid": flag(True),
    "iterations": count(10),
    "seed": whole(0, -1),
}
OF_GP_GAN = set(pydlx.blending.method_options("gp-gan"))
OF_BOTH = OF_GP_GAN & set(pydlx.blending.method_options("gaussian-poisson"))


def blend_twice(**given: Any) -> None:
    """Once by the given method without the options of gp-gan alone, and by gp-gan without those that it lacks."""
    pydlx.blending.blend(**{name: value for name, value in given.items() if name not in OF_GP_GAN - OF_BOTH})
    lacking = set(pydlx.blending.method_options("gaussian-poisson")) - OF_BOTH
    pydlx.blending.blend(**{name: value for name, value in given.items() if name not in lacking} | {"method": "gp-gan"})


BLENDING = {
    "blend": Call(BLEND, run=blend_twice),
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
CAMVID = Path(FOLDER.name, "camvid")
VOC = Path(FOLDER.name, "voc")
for picture, label_map in (
    (CAMVID / "train/images/a.npy", CAMVID / "train/labels/a.npy"),
    (VOC / "JPEGImages/a.npy", VOC / "SegmentationClass/a.npy"),
):
    for file, content in ((picture, np.ones((2, 2, 3), np.uint8)), (label_map, np.ones((2, 2), np.uint8))):
        file.parent.mkdir(parents=True)
        np.save(file, content)
(VOC / "ImageSets/Segmentation").mkdir(parents=True)
(VOC / "ImageSets/Segmentation/val.txt").write_text("a")
CIFAR, STL = Path(FOLDER.name, "cifar"), Path(FOLDER.name, "stl")
for place, name, length, names in (
    (CIFAR, "data_batch_1.bin", 3073, "batches.meta.txt"),
    (STL, "unlabeled_X.bin", 27648, "class_names.txt"),
):
    place.mkdir()
    (place / name).write_bytes(bytes(length))
    (place / names).write_text("cat")
BOXES = Path(FOLDER.name, "boxes.json")
BOXES.write_text(json.dumps({**COCO, "images": []} | {"annotations": []}))
LABELLED = pydlx.data.camvid(CAMVID, "train")
CENTRE = pydlx.data.RandomRegions("centre")
SCENE = Path(FOLDER.name, "scenes", "a")
SCENE.mkdir(parents=True)
for shot in "ab":
    np.save(SCENE / f"{shot}.npy", np.ones((2, 2, 3), np.uint8))
DATA = {
    "ImageLabelFolders": Call(
        {
            "images": path(CAMVID / "train/images"),
            "labels": path(CAMVID / "train/labels"),
            "num_classes": count(2),
            "ignore_index": whole(255),
            "void": anything([0], None, 5, "x", [0.5], ["a"], [True]),
            "names": anything(None, 5, "x"),
            "class_names": anything(None, 5, "x", ["one"]),
        }
    ),
    "CocoBoxes": Call(
        {"annotations": path(BOXES), "images": path(FOLDER.name), "keep_empty": flag(True)}, speaks=("read_coco_truth",)
    ),
    "camvid": Call({"folder": path(CAMVID), "split": word("train")}),
    "voc": Call({"folder": path(VOC), "split": word("val")}),
    "class_pixels": Call({"dataset": anything(LABELLED, None, 5, "x", [3]), "num_classes": count(2)}),
    "PhotographFolders": Call({"folder": path(CAMVID / "train/images"), "check": flag(True)}),
    "cifar10": Call({"folder": path(CIFAR), "split": word("train")}),
    "stl10": Call({"folder": path(STL), "split": word("unlabeled")}),
    "median_frequency_weights": Call(
        {"pixels": labels(torch.tensor([1, 2]), torch.tensor([[1]]), torch.tensor([-1, 2]), torch.tensor([0, 0]))}
    ),
    "RandomComposites": Call(
        {
            "regions": anything(CENTRE, None, 5, "x", np.ones((4, 4))),
            "size": count(8, 3),
            "zoom": number(1.5, 0.5, -1),
            "light": number(0.5, -1),
            "scene_light": number(0.5, -1),
        }
    ),
    "RandomRegions": Call({"kind": word("centre"), "masks": anything(None, 5, "x", [1])}),
    "ScenePairs": Call(
        {"folder": path(Path(FOLDER.name, "scenes")), "pairs": count(3), "seed": whole(0), "part": word("all")}
    ),
    "random_light": Call({"strength": number(0.5, -1)}),
    "Photographs": Call({"folder": path(CAMVID / "train/images"), "check": flag(True)}),
    "read_label_map": Call({"path": path(LABEL_FILE)}),
    "LabelMapPairs": Call({"truth": path(FOLDER.name), "prediction": path(FOLDER.name)}),
}
DATA |= {"read_image": Call({"path": path(LABEL_FILE), "to_srgb": flag(True)}), "write_image": WRITE_IMAGE}
VISUALIZE |= {
    "label_colours": Call({"num_classes": count(2, 257)}),
    "colour_labels": Call(
        {
            "labels": anything(np.ones((2, 3), np.int64), None, 5, "x", np.ones((2, 3)), np.ones(2, np.int64)),
            "num_classes": count(2),
            "image": anything(np.ones((2, 3, 3), np.uint8), 5, "x", np.ones((2, 3, 3)), np.ones((2, 3), np.uint8)),
            "opacity": number(0.5, -1, 2),
        }
    ),
    "chain_grid": Call(
        {
            "chain": anything(
                [SET, SET], None, 5, "x", [], [5], [SET.long()], [SET[0]], [SET[:0]], [SET[:, :2]], [SET, SET[:1]]
            ),
            "columns": count(2),
            "scale": count(1),
        }
    ),
    "draw_boxes": Call(
        {
            "image": anything(np.ones((9, 9, 3), np.uint8), None, 5, "x", np.ones((9, 9, 3)), np.ones(9, np.uint8)),
            "boxes": anything(np.ones((1, 4)), None, 5, "x", np.ones(4), np.ones((1, 5)), np.ones((1, 4), complex)),
            "labels": anything([0], None, 5, "x", [0.5], [-1], [0, 0]),
            "scores": anything([0.5], 5, "x", ["a"], [0.5, 0.5]),
            "class_names": anything(["a"], 5, "x", []),
        }
    ),
}
MODELS = {
    "create_model": Call({"name": word("fcn8s")}, run=lambda name: pydlx.create_model(name, backbone="slim_vgg")),
    "list_models": Call({"pattern": anything("fcn*", None, 5, ["x"], torch.ones(2))}),
}
