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
    "no results at all": (scene(), "IndexError", 0, 0, 0),
    "a score that is NaN": (scene(found={"bbox": BOX, "score": math.nan}), 1, "ValueError", "ValueError", "ValueError"),
    "polygons as results": (scene(found={"segmentation": SQUARE}, kind="segm"), "TypeError", 1, "TypeError", 1),
    "run lengths as a list, as results": (scene(found=RLE_LIST, kind="segm"), "TypeError", 1, "RuntimeError", 1),
    "five keypoints, sigmas at their defaults": (
        scene(FIVE, {"keypoints": POSE[:15]}, kind="keypoints"),
        *("ValueError", 1, "ValueError", "ValueError"),
    ),
    "a detection on an unlisted image": (
        scene(),
        *("AssertionError", 1, "AssertionError", "ValueError"),
    ),
}
CASES["no results at all"][0].found = []
CASES["a detection on an unlisted image"][0].found += [{"image_id": 2, "category_id": 1, "score": 0.5, "bbox": BOX}]


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
    except Exception as error:
        return type(error).__name__


def shown(expected):
    return f"`{expected}`" if isinstance(expected, str) else str(expected)


def test_the_docs_have_these_rows():
    text = DOCS.read_text()
    for what, (_, *expected) in CASES.items():
        assert f"| {what} | {' | '.join(map(shown, expected))} |" in text
    for name, version in PEERS.items():
        assert f"{name.replace('_', '-')} {version}" in text


def of_evaluator(name, case, folder):
    return of_pydlx(case) if name == "pydlx" else of_peer(name, case, folder)


@pytest.mark.parametrize("name", [*PEERS, "pydlx"])
def test_an_area_of_1024_is_small_and_medium(name, tmp_path):
    stats = of_evaluator(name, scene({"area": 1024.0}), tmp_path)
    assert stats[3:6] == pytest.approx([1, 1, -1])


@pytest.mark.parametrize(
    ("name", "count"), [("pycocotools", 12), ("hotcoco", None), ("faster_coco_eval", 8), ("pydlx", 8)]
)
def test_own_area_ranges(name, count, tmp_path):
    """pydlx and faster-coco-eval give a number for each range, so that the places of COCO's twelve no longer hold."""
    stats = of_evaluator(name, scene(area_ranges=OWN_RANGES), tmp_path)
    assert count is None or len(stats) == count
    assert stats[0] == pytest.approx(1)


@pytest.mark.parametrize("name", ["pycocotools", "pydlx"])
def test_boxes_beside_masks_give_the_detections_areas(name, tmp_path):
    """A wrong mask of 1600 pixels is a false positive of medium size, unless a box of 40000 stands beside it."""
    case = scene(found={"bbox": BOX, "segmentation": None}, kind="segm")
    coder = pytest.importorskip("pycocotools.mask")
    right, wrong = (
        coder.frPyObjects([outline], 100, 100)[0] for outline in (SQUARE[0], [55, 55, 95, 55, 95, 95, 55, 95])
    )
    case.found = [
        case.found[0] | {"score": score, "bbox": box, "segmentation": mask | {"counts": mask["counts"].decode()}}
        for score, box, mask in ((0.9, [0, 0, 200, 200], wrong), (0.8, BOX, right))
    ]
    assert of_evaluator(name, case, tmp_path)[3:6] == pytest.approx([-1, 1, -1])
    for detection in case.found:
        del detection["bbox"]
    assert of_evaluator(name, case, tmp_path)[3:6] == pytest.approx([-1, 0.5, -1])


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
