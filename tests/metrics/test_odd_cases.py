"""The odd cases of COCO's format as four evaluators see them; the table in docs/metrics.md holds these rows."""

import contextlib
import importlib
import io
import json
import math
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from pydlx.metrics import evaluate_boxes, evaluate_keypoints, evaluate_masks

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
PEERS = {"pycocotools": "2.0.11", "hotcoco": "1.3.0", "faster_coco_eval": "1.8.0"}
BOX = [10.0, 10.0, 40.0, 40.0]
SQUARE = [[10.0, 10.0, 50.0, 10.0, 50.0, 50.0, 10.0, 50.0]]
POSE = [value for k in range(17) for value in (10.0 + 2 * k, 10.0 + 2 * (k % 5), 2.0)]
COUNTS = [10 * 101, *([40, 60] * 39), 40, 100 * 100 - 10 * 101 - 39 * 100 - 40]


def scene(truth=None, found=None, without=(), **more):
    """One object, found exactly; what is odd replaces fields of either."""
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "area": 1600.0,
        "bbox": BOX,
        "segmentation": SQUARE,
        "keypoints": POSE,
        "num_keypoints": 17,
    }
    annotation = {key: value for key, value in {**annotation, **(truth or {})}.items() if key not in without}
    detection = {"image_id": 1, "category_id": 1, "score": 0.9, **(found or {"bbox": BOX})}
    data = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [annotation],
    }
    return SimpleNamespace(
        **{"truth": data, "found": [detection], "kind": "bbox", "max_detections": None, "area_ranges": None, **more}
    )


RLE_LIST = {"segmentation": {"size": [100, 100], "counts": COUNTS}}
FIVE = {"keypoints": POSE[:15], "num_keypoints": 5}
OWN_RANGES = {"all": (0, 1e10), "odd": (0, 2000)}

# What is odd: the scene, and AP (or what is said, or raised) of pycocotools, hotcoco, faster-coco-eval and pydlx.
CASES = {
    "annotation id 0": (scene({"id": 0}), 0, 1, 0, 1),
    "annotation id -1": (scene({"id": -1}), 1, "ValueError", 0, 1),
    "no `area`": (scene(without=["area"]), "KeyError", 1, 1, 1),
    "no `iscrowd`": (scene(without=["iscrowd"]), "KeyError", 1, 1, 1),
    "no `num_keypoints`": (
        scene(found={"keypoints": POSE}, without=["num_keypoints"], kind="keypoints"),
        *("KeyError", 1, -1, 1),
    ),
    "`ignore: 1` on a truth": (scene({"ignore": 1}), 1, 1, 1, 1),
    "maxDets [1, 10, 300]": (scene(max_detections=[1, 10, 300]), -1, 1, 1, 1),
    "no results at all": (scene(found=None, **{}), 0, 0, 0, 0),
    "a score that is NaN": (scene(found={"bbox": BOX, "score": math.nan}), 1, "ValueError", "ValueError", "ValueError"),
    "polygons as results": (scene(found={"segmentation": SQUARE}, kind="segm"), "TypeError", 1, "TypeError", 1),
    "run lengths as a list, as results": (scene(found=RLE_LIST, kind="segm"), "TypeError", 1, "RuntimeError", 1),
    "five keypoints, sigmas at their defaults": (
        scene(FIVE, {"keypoints": POSE[:15]}, kind="keypoints"),
        *("ValueError", 1, "ValueError", "ValueError"),
    ),
    "a detection on an unlisted image": (
        scene(found={"bbox": BOX, "image_id": 2}),
        *("AssertionError", 0, "AssertionError", "ValueError"),
    ),
}
CASES["no results at all"][0].found = []


def of_pydlx(case):
    evaluate = {"bbox": evaluate_boxes, "segm": evaluate_masks, "keypoints": evaluate_keypoints}[case.kind]
    options = {} if case.max_detections is None else {"max_detections": case.max_detections}
    if case.area_ranges is not None:
        options["area_ranges"] = case.area_ranges
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(evaluate(case.truth, case.found, **options).values())


def of_peer(name, case, folder):
    if name == "faster_coco_eval":
        module = pytest.importorskip(name)
        classes = module.COCO, module.COCOeval_faster
    elif name == "hotcoco":
        os.environ.setdefault("RAYON_NUM_THREADS", "2")
        module = pytest.importorskip(name)
        classes = module.COCO, module.COCOeval
    else:
        pytest.importorskip(name)
        classes = (
            importlib.import_module("pycocotools.coco").COCO,
            importlib.import_module("pycocotools.cocoeval").COCOeval,
        )
    for file, content in (("truth.json", case.truth), ("found.json", case.found)):
        (folder / file).write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = classes[0](str(folder / "truth.json"))
        evaluation = classes[1](data, data.loadRes(str(folder / "found.json")), case.kind)
        if case.max_detections is not None:
            evaluation.params.maxDets = case.max_detections
        if case.area_ranges is not None:
            evaluation.params.areaRng = [list(bounds) for bounds in case.area_ranges.values()]
            evaluation.params.areaRngLbl = list(case.area_ranges)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def outcome(run):
    """AP, or the name of what is raised."""
    try:
        return pytest.approx(run()[0], abs=1e-9)
    except Exception as error:  # noqa: BLE001 whatever a peer raises is its answer
        return type(error).__name__


@pytest.mark.parametrize("what", CASES)
def test_pydlx(what):
    case, *expected = CASES[what]
    assert outcome(lambda: of_pydlx(case)) == expected[3]


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("what", CASES)
def test_peers(what, name, tmp_path):
    case, *expected = CASES[what]
    found = outcome(lambda: of_peer(name, case, tmp_path))
    assert found == expected[list(PEERS).index(name)]
