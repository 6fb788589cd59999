"""Calls of blending, visualisation, data and models."""

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
    labels,
    number,
    path,
    whole,
    word,
)
from bad_input.metrics import COCO, SET

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
