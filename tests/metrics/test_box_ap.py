"""COCO's box evaluation: published numbers, and side by side with pycocotools and hotcoco."""

import json
import warnings

import numpy as np
import pytest
import torch
from metrics.coco_samples import peer_numbers

from pydlx.data import AnnotationWarning
from pydlx.metrics import BoxAP, evaluate_boxes

NAMES = ["AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL"]
PEERS = ("pycocotools", "hotcoco")


def numbers(results):
    assert list(results) == NAMES
    return [float(value) for value in results.values()]


@pytest.fixture
def objects(shared_data):
    path = shared_data / "coco_mini" / "annotations" / "instances_val2017.json"
    return path, [a for a in json.loads(path.read_text())["annotations"] if not a["iscrowd"]]


def found(annotation, box, score):
    return {key: annotation[key] for key in ("image_id", "category_id")} | {"bbox": box, "score": score}


def test_objects_of_coco(objects):
    path, annotations = objects
    detections = []
    for i, annotation in enumerate(annotations):
        x, y, w, h = annotation["bbox"]
        shift = 0.04 * (i % 8)
        detections.append(found(annotation, [x + shift * w, y + shift * h, w, h], round(1 - (37 * i % 619) / 1000, 3)))
        if i % 5 == 0:
            detections.append(found(annotation, [x + 0.6 * w, y, w, h], round(1 - (53 * i % 619) / 1000, 3)))
    expected = [
        *(0.2621019880295172, 0.5550649732248054, 0.1562983625143888),
        *(0.2856473700924314, 0.313370752392256, 0.2595082083000086),
        *(0.2332708159927465, 0.3618327103618378, 0.36817950496422996),
        *(0.3588960692085692, 0.3792966794501321, 0.3494528875379939),
    ]
    assert numbers(evaluate_boxes(path, detections)) == pytest.approx(expected, abs=1e-12)


def test_objects_of_coco_found_exactly(objects):
    path, annotations = objects
    detections = [found(annotation, annotation["bbox"], 1 - i / 1000) for i, annotation in enumerate(annotations)]
    expected = [1.0] * 6 + [0.7080234923727047, 0.9890822559578692] + [1.0] * 4
    assert numbers(evaluate_boxes(path, detections)) == pytest.approx(expected, abs=1e-12)


def boxes_at_random(seed):
    """Objects of four categories, some crowds, on ten images, and detections with tied scores, half of them near."""
    rng = np.random.default_rng(seed)
    truth = {
        "images": [{"id": 7 * i} for i in range(1, 11)],
        "categories": [{"id": c, "name": f"c{c}"} for c in (2, 3, 5, 90)],
        "annotations": [],
    }
    for number in range(1, 121):
        size = np.exp(rng.uniform(np.log(10), np.log(200), 2))
        box = [*rng.integers(0, 300, 2).tolist(), *size.round().tolist()]
        truth["annotations"].append(
            {
                "id": number,
                "image_id": int(7 * rng.integers(1, 11)),
                "category_id": int(rng.choice([2, 3, 5])),
                "iscrowd": int(rng.random() < 0.1),
                "bbox": box,
                "area": float(box[2] * box[3] * rng.uniform(0.4, 1)),
            }
        )
    detections = []
    for _ in range(900):
        annotation = truth["annotations"][rng.integers(0, 120)]
        box = np.array(annotation["bbox"]) + rng.integers(-8, 9, 4) * (rng.random() < 0.7)
        detection = found(annotation, np.maximum(box, 1).tolist(), round(rng.random(), 1))
        if rng.random() < 0.2:
            detection["category_id"] = 90
        detections.append(detection)
    return truth, detections


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", range(5))
def test_boxes_as_peers_see_them(seed, name, tmp_path):
    truth, detections = boxes_at_random(seed)
    expected = peer_numbers(name, tmp_path, truth, detections, "bbox")
    assert 0.05 < expected[0] < 0.95
    assert numbers(evaluate_boxes(truth, detections)) == pytest.approx(expected, abs=1e-12)


def batch(truth, detections):
    """Predictions and targets as `BoxAP` takes them, boxes as xywh."""

    def tensors(records, image, fields):
        rows = [record for record in records if record["image_id"] == image]
        return {
            name: torch.tensor([row[key] for row in rows], dtype=torch.float64).reshape(-1, *shape)
            for name, key, shape in fields
        }

    common = [("boxes", "bbox", (4,)), ("labels", "category_id", ())]
    extra = [("area", "area", ()), ("iscrowd", "iscrowd", ()), ("ids", "id", ())]
    images = [image["id"] for image in truth["images"]]
    return (
        [tensors(detections, image, [*common, ("scores", "score", ())]) for image in images],
        [tensors(truth["annotations"], image, common + extra) for image in images],
    )


def test_tensors_give_what_files_give():
    truth, detections = boxes_at_random(0)
    metric = BoxAP(box_format="xywh")
    predictions, targets = batch(truth, detections)
    metric.update(predictions[:3], targets[:3])
    metric.update(predictions[3:], targets[3:])
    assert numbers(metric.compute()) == pytest.approx(numbers(evaluate_boxes(truth, detections)), abs=1e-12)
    assert metric.labels().tolist() == [2, 3, 5, 90]


def test_all_categories_as_one(tmp_path):
    truth, detections = boxes_at_random(2)
    pooled = [
        {**truth, "annotations": [a | {"category_id": 2} for a in truth["annotations"]]},
        [d | {"category_id": 2} for d in detections],
    ]
    expected = peer_numbers("pycocotools", tmp_path, *pooled, "bbox")
    assert numbers(evaluate_boxes(truth, detections, class_agnostic=True)) == pytest.approx(expected, abs=1e-12)


def test_by_category():
    truth, detections = boxes_at_random(3)
    evaluation = evaluate_boxes(truth, detections)
    assert list(evaluation.per_category) == ["c2", "c3", "c5", "c90"]
    assert evaluation.per_category["c90"] == -1
    each = [value for value in evaluation.per_category.values() if value > -1]
    assert evaluation["AP"] == pytest.approx(np.mean(each), abs=1e-12)


def renamed(names, ids):
    """The evaluation of four categories that have other names and ids."""
    truth, detections = boxes_at_random(3)
    new = dict(zip((2, 3, 5, 90), ids, strict=True))
    truth["categories"] = [{"id": new[2]}]
    truth["categories"] += [{"id": new[c], "name": name} for c, name in zip((3, 5, 90), names, strict=True)]
    for record in (*truth["annotations"], *detections):
        record["category_id"] = new[record["category_id"]]
    return evaluate_boxes(truth, detections)


@pytest.mark.parametrize(
    ("names", "ids", "expected"),
    [
        (("cat", "dog", "cat"), (2, 3, 5, 90), ["2", "3", "dog", "90"]),
        (("cat", None, ""), (2, 3, 5, 90), ["2", "cat", "5", "90"]),
        (("2", "5", "cow"), (2, 3, 5, 90), ["2", "3", "5", "90"]),
        (("cat", "dog", "cat"), ("a", "b", "c", "d"), ["a", "b", "dog", "d"]),
        (("cat", None, "cat"), (1, 2, 3, "3"), ["1", "2", "3", "'3'"]),
    ],
)
def test_categories_without_a_name_of_their_own_go_by_their_ids(names, ids, expected):
    evaluation = renamed(names, ids)
    values = evaluate_boxes(*boxes_at_random(3)).per_category.values()
    assert evaluation.per_category == dict(zip(expected, values, strict=True))
    assert evaluation.category_names == expected


def test_limits_of_ones_own():
    truth, detections = boxes_at_random(4)
    results = evaluate_boxes(truth, detections, max_detections=(5, 50))
    assert [name for name in results if name.startswith("AR")] == ["AR5", "AR50", "ARS", "ARM", "ARL"]
    assert 0 < results["AR5"] < results["AR50"]


def test_one_truth_without_area_leaves_the_others_theirs(tmp_path):
    """A missing area is that of the box: it decides the size class of that truth alone."""
    truth, detections = boxes_at_random(1)
    one = truth["annotations"][4]
    one["area"], one["iscrowd"] = one["bbox"][2] * one["bbox"][3], 0
    expected = peer_numbers("pycocotools", tmp_path, truth, detections, "bbox")
    one["area"] = None
    assert numbers(evaluate_boxes(truth, detections)) == pytest.approx(expected, abs=1e-12)
    predictions, targets = batch(*boxes_at_random(1))
    metric = BoxAP(box_format="xywh")
    image = next(i for i, image in enumerate(truth["images"]) if image["id"] == one["image_id"])
    row = [a["id"] for a in truth["annotations"] if a["image_id"] == one["image_id"]].index(one["id"])
    targets[image]["area"][row], targets[image]["iscrowd"][row] = torch.nan, 0
    metric.update(predictions, targets)
    assert numbers(metric.compute()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"class_agnostic": True},
        {"iou_thresholds": [0.6, 0.9]},
        {"recall_thresholds": [0.0, 0.3]},
        {"area_ranges": {"all": (0, 1e10), "small": (0, 2000)}},
        {"max_detections": (2, 5)},
        {"compatibility": "pycocotools"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_tensors_are_those_of_files(options):
    truth, detections = boxes_at_random(0)
    truth["annotations"][0]["id"] = 0
    truth["annotations"][0]["iscrowd"] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, plain = evaluate_boxes(truth, detections, **options), evaluate_boxes(truth, detections)
        metric = BoxAP(box_format="xywh", **options)
        metric.update(*batch(truth, detections))
        found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(expected, abs=1e-12)
    assert expected != pytest.approx(plain, abs=1e-6)


def test_thresholds_recalls_and_areas_of_ones_own():
    """Two boxes of 40 by 60, of which one is found with an overlap of 0.8: right up to a recall of a half."""
    annotation = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 2400.0}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [{"id": n, "bbox": [100 * n, 20, 40, 60]} | annotation for n in (1, 2)],
    }
    detections = [{"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [100, 20, 40, 48]}]

    def ap(**options):
        return evaluate_boxes(truth, detections, **options)

    assert ap(iou_thresholds=[0.8], recall_thresholds=[0, 0.5, 0.6])["AP"] == pytest.approx(2 / 3)
    assert ap(iou_thresholds=[0.81], recall_thresholds=[0, 0.5, 0.6])["AP"] == 0
    areas = {"all": (0, 1e10), "here": (2400, 2400), "elsewhere": (0, 2399)}
    results = ap(iou_thresholds=[0.8], area_ranges=areas)
    assert (results["AR_here"], results["AR_elsewhere"]) == (0.5, -1)


def test_bad_records_are_skipped():
    truth, detections = boxes_at_random(0)
    expected = evaluate_boxes(truth, detections)
    truth["annotations"].append(truth["annotations"][0] | {"id": 900, "bbox": [1, 2]})
    detections.append(detections[0] | {"image_id": 900})
    with pytest.raises(ValueError, match="bbox must have 4 numbers"):
        evaluate_boxes(truth, detections)
    evaluation = evaluate_boxes(truth, detections, skip_bad=True)
    assert evaluation == expected
    assert len(evaluation.skipped) == 2


def test_areas_that_are_no_areas_are_mentioned():
    truth, detections = boxes_at_random(0)
    for annotation, area in zip(truth["annotations"], (0.2, -1, None), strict=False):
        annotation["area"] = area
    with pytest.warns(AnnotationWarning) as warned:
        evaluate_boxes(truth, detections)
    assert [str(warning.message) for warning in warned] == [
        "2 annotations have an area below 1 square pixel and count as small or not at all (ids 1, 2)",
        "1 annotations have no area, so that their boxes decide their size class (ids 3)",
    ]
    predictions, targets = batch(*boxes_at_random(0))
    targets[1]["area"][:2] = torch.tensor([0.2, 1.5])
    metric = BoxAP(box_format="xywh")
    metric.update(predictions, targets)
    with pytest.warns(AnnotationWarning, match=r"^1 truths have an area below 1 square pixel .* number 1\)$"):
        metric.compute()


def test_a_box_by_corners():
    box = torch.tensor([[10.0, 20, 50, 80]])
    metric = BoxAP()
    metric.update(
        [{"boxes": box + 4, "scores": torch.ones(1), "labels": torch.zeros(1)}],
        [{"boxes": box, "labels": torch.zeros(1)}],
    )
    overlap = 36 * 56 / (2 * 40 * 60 - 36 * 56)
    right = sum(t <= overlap for t in np.linspace(0.5, 0.95, 10)) / 10
    assert 0 < right < 1
    assert float(metric.compute()["AR100"]) == pytest.approx(right)


def test_other_keys_are_not_looked_at():
    truth, detections = boxes_at_random(0)
    images = [
        [{"file_name": f"{i}.jpg", "image_id": i} | image for i, image in enumerate(images)]
        for images in batch(truth, detections)
    ]
    metric = BoxAP(box_format="xywh")
    metric.update(*images, image_ids=[image["file_name"] for image in images[0]])
    assert numbers(metric.compute()) == pytest.approx(numbers(evaluate_boxes(truth, detections)), abs=1e-12)


def test_bad_tensors():
    good = {"boxes": torch.ones(1, 4), "labels": torch.zeros(1)}
    with pytest.raises(ValueError, match=r'preds\[0\] must have "scores"'):
        BoxAP().update([good], [good])
    with pytest.raises(ValueError, match=r'preds\[0\]\["boxes"\] must have the shape \(n, 4\), got \(1, 5\)'):
        BoxAP().update([good | {"scores": torch.ones(1), "boxes": torch.ones(1, 5)}], [good])
    with pytest.raises(ValueError, match=r'preds\[0\]\["labels"\] must have 2 numbers, got 1'):
        BoxAP().update([good | {"scores": torch.ones(2), "boxes": torch.ones(2, 4)}], [good])


@pytest.mark.parametrize("box_format", ["xyxy", "cxcywh"])
def test_box_formats(box_format):
    truth, detections = boxes_at_random(0)
    metric, expected = BoxAP(box_format=box_format), BoxAP(box_format="xywh")
    for images in (sides := batch(truth, detections)):
        for image in images:
            corner, side = image["boxes"].split(2, 1)
            second = [corner + side] if box_format == "xyxy" else [corner + side / 2, side]
            image["other"] = torch.cat([corner, *second] if box_format == "xyxy" else second, 1)
    expected.update(*sides)
    metric.update(*([{**image, "boxes": image["other"]} for image in images] for images in sides))
    assert numbers(metric.compute()) == pytest.approx(numbers(expected.compute()), abs=1e-12)


def test_classes_by_name():
    truth, detections = boxes_at_random(3)
    names = {2: "cat", 3: "dog", 5: "dog"}
    metric = BoxAP(box_format="xywh", class_metrics=True, class_names=names)
    metric.update(*batch(truth, detections))
    found = {name: float(value) for name, value in metric.compute().items()}
    each = list(evaluate_boxes(truth, detections).per_category.values())
    expected = dict(zip(["cat", "dog (3)", "dog (5)", "90"], each, strict=True))
    assert {name: value for name, value in found.items() if "/" in name} == {
        f"AP/{name}": value for name, value in expected.items()
    }
    assert metric.per_class() == expected
    as_list = BoxAP(box_format="xywh", class_metrics=True, class_names=["none", "x", "cat"])
    as_list.update(*batch(truth, detections))
    assert list(as_list.per_class()) == ["cat", "3", "5", "90"]
    early = BoxAP(class_metrics=True, class_names=names, only_labels=[2, 5]).compute()
    assert {name: value.item() for name, value in early.items() if "/" in name} == {"AP/cat": -1, "AP/dog (5)": -1}
    agnostic = BoxAP(box_format="xywh", class_agnostic=True)
    agnostic.update(*batch(truth, detections))
    assert list(agnostic.per_class()) == ["all"]


def test_labels_that_float64_cannot_tell_apart_are_refused():
    boxes = torch.ones(1, 4)
    found = {"boxes": boxes, "scores": torch.ones(1), "labels": torch.tensor([2**53 + 1])}
    with pytest.raises(ValueError, match=r'^BoxAP: preds\[0\]\["labels"\] must be numbers below 2\*\*53$'):
        BoxAP().update([found], [{"boxes": boxes, "labels": torch.ones(1)}])


def test_some_images_and_labels_alone(tmp_path):
    truth, detections = boxes_at_random(1)
    images, categories = [7, 21, 70], [3, 5, 90]
    part = {
        **truth,
        "images": [{"id": image} for image in images],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in images and a["category_id"] in categories],
    }
    of_part = [d for d in detections if d["image_id"] in images and d["category_id"] in categories]
    expected = peer_numbers("pycocotools", tmp_path, part, of_part, "bbox")
    chosen = {"image_ids": images, "category_ids": categories}
    assert numbers(evaluate_boxes(truth, detections, **chosen)) == pytest.approx(expected, abs=1e-12)
    metric = BoxAP(box_format="xywh", only_images=images, only_labels=categories)
    metric.update(*batch(truth, detections), image_ids=[image["id"] for image in truth["images"]])
    assert numbers(metric.compute()) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match=r"^BoxAP: image_ids must be given in every update with only_images$"):
        metric = BoxAP(only_images=images)
        metric.update(*batch(truth, detections))
        metric.compute()


def test_the_lines_of_cocos_tools(tmp_path, capsys):
    """The same text as pycocotools prints."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, detections = boxes_at_random(2)
    for name, content in (("truth", truth), ("found", detections)):
        (tmp_path / name).write_text(json.dumps(content))
    data = COCO(tmp_path / "truth")
    evaluation = COCOeval(data, data.loadRes(str(tmp_path / "found")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    capsys.readouterr()
    evaluation.summarize()
    assert evaluate_boxes(truth, detections).summary() == capsys.readouterr().out.rstrip("\n")
