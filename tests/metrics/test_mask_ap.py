"""COCO's evaluation of masks: side by side with pycocotools and hotcoco, from files and from tensors."""

import json

import numpy as np
import pytest
import torch
from metrics.coco_samples import peer_numbers
from metrics.test_box_ap import NAMES, PEERS, numbers

import pydlx
from pydlx.data.mask_spans import (
    GOOD,
    NO_TEXT,
    WRONG_LENGTHS,
    chosen_spans,
    mask_areas,
    polygon_spans,
    rle_spans,
    run_spans,
)
from pydlx.metrics import MaskAP, evaluate_masks

H, W = 60, 80


def runs_of(mask):
    """Run lengths down the columns, the first one outside."""
    flat = mask.T.reshape(-1).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    return np.diff([0, *edges]).tolist()


def spans_of(mask):
    """Where runs inside of a mask begin and end, found pixel by pixel."""
    steps = np.diff(np.concatenate([[0], mask.T.reshape(-1).astype(int), [0]]))
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], 1)


def disc(x, y, radius):
    rows, columns = np.mgrid[:H, :W]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def masks_at_random(seed):
    """Blobs of three categories on five images as dense masks, some crowds, with detections near most of them."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for number in range(1, 41):
        place = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(2, 30)
        image, category = int(rng.integers(1, 6)), int(rng.choice([2, 3, 7]))
        crowd = int(rng.random() < 0.15)
        record = {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd}
        truths.append((record, disc(*place)))
        for _ in range(int(rng.integers(0, 5))):
            near = disc(*(np.array(place) + rng.normal(0, 2, 3)))
            score = round(float(rng.random()), 1)
            found.append(({"image_id": image, "category_id": category, "score": score}, near))
    return truths, found


def as_files(truths, found):
    """The same in COCO's format, run lengths as pycocotools compresses them."""
    coder = pytest.importorskip("pycocotools.mask")

    def coded(mask):
        rle = coder.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": [H, W], "counts": rle["counts"].decode()}

    return (
        {
            "images": [{"id": i, "height": H, "width": W} for i in range(1, 6)],
            "categories": [{"id": c, "name": f"c{c}"} for c in (2, 3, 7)],
            "annotations": [
                record | {"segmentation": coded(mask), "area": float(mask.sum()), "bbox": [0, 0, 1, 1]}
                for record, mask in truths
            ],
        },
        [record | {"segmentation": coded(mask)} for record, mask in found],
    )


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", range(3))
def test_masks_as_peers_see_them(seed, name, tmp_path):
    truth, detections = as_files(*masks_at_random(seed))
    expected = peer_numbers(name, tmp_path, truth, detections, "segm")
    assert 0.05 < expected[0] < 0.95
    assert numbers(evaluate_masks(truth, detections)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("boxes", [False, True])
def test_objects_of_coco(boxes, shared_data, tmp_path):
    """Polygons and crowds of real data; the detections are other objects' outlines, moved, as run lengths."""
    coder = pytest.importorskip("pycocotools.mask")
    truth = json.loads((shared_data / "coco_mini" / "annotations" / "instances_val2017.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    detections = []
    for i, annotation in enumerate(a for a in truth["annotations"] if not a["iscrowd"]):
        height, width = sizes[annotation["image_id"]]
        moved = [(np.array(polygon) + 3 * (i % 4)).tolist() for polygon in annotation["segmentation"]]
        rle = coder.merge(coder.frPyObjects(moved, height, width))
        detection = {key: annotation[key] for key in ("image_id", "category_id")}
        detection |= {
            "score": round(1 - (37 * i % 619) / 1000, 3),
            "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
        }
        if boxes:
            detection["bbox"] = [annotation["bbox"][0], annotation["bbox"][1], 40.0, 30.0]
        detections.append(detection)
    expected = peer_numbers("pycocotools", tmp_path, truth, detections, "segm")
    assert 0.2 < expected[0] < 0.9
    assert numbers(evaluate_masks(truth, detections)) == pytest.approx(expected, abs=1e-12)


def test_polygons_are_drawn_as_pycocotools_draws_them(kernels):
    coder = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for trial in range(120):
        height, width = rng.integers(1, 90, 2).tolist()
        shape = np.array([width, height]) * rng.choice([0.5, 1, 3])
        polygons = [rng.uniform(-0.3, 1.3, (int(rng.integers(3, 12)), 2)) * shape for _ in range(rng.integers(1, 4))]
        if trial % 3:
            polygons = [polygon.round(trial % 3 - 1) for polygon in polygons]
        if trial % 4 == 0:  # corners that repeat
            polygons = [np.concatenate([polygon, polygon[-1:], polygon[:1]]) for polygon in polygons]
        code = coder.merge(coder.frPyObjects([polygon.ravel().tolist() for polygon in polygons], height, width))
        corners = np.cumsum([0, *map(len, polygons)])
        size = np.array([[height, width]])
        spans, offsets = polygon_spans(np.concatenate(polygons), corners, np.array([0, len(polygons)]), size)
        assert spans.tolist() == spans_of(coder.decode(code)).tolist()
        assert offsets.tolist() == [0, len(spans)]
        text = np.frombuffer(code["counts"], dtype=np.uint8)
        again, _, faults = rle_spans(text, np.array([0, len(text)]), np.array([height * width]))
        assert again.tolist() == spans.tolist()
        assert faults.tolist() == [GOOD]


@pytest.mark.parametrize(
    ("text", "pixels", "fault"),
    [
        *[(b"00", 0, GOOD), (b"0", 1, WRONG_LENGTHS), (b"5", 5, GOOD), (b"E", 5, WRONG_LENGTHS), (b"o", 5, NO_TEXT)],
        *[(b"5 ", 5, NO_TEXT), (b"5\x7f", 5, NO_TEXT), (b"OOOOOOOOOOOOOO1", 9, WRONG_LENGTHS)],
        *[(b"", 3, WRONG_LENGTHS), (b"o" * 14, 9, NO_TEXT), (b"1O", 0, WRONG_LENGTHS)],
    ],
)
def test_text_that_is_no_mask(text, pixels, fault, kernels):
    both = np.frombuffer(text + b"32", dtype=np.uint8)
    ends = np.array([0, len(text), len(text) + 2])
    spans, offsets, faults = rle_spans(both, ends, np.array([pixels, 5]))
    assert faults.tolist() == [fault, GOOD]
    assert spans.tolist() == [[3, 5]]
    assert offsets.tolist() == [0, 0, 1]


def test_run_lengths_that_are_not_compressed():
    lengths = np.array([2, 3, 0, 1, 4, 0, 5, 3, 3])
    spans, offsets, faults = run_spans(lengths, np.array([0, 5, 7, 9]), np.array([10, 5, 7]))
    assert spans.tolist() == [[2, 5], [5, 6], [0, 5]]
    assert offsets.tolist() == [0, 2, 3, 3]
    assert faults.tolist() == [GOOD, GOOD, WRONG_LENGTHS]


def tensors(truths, found, form="dense"):
    """Predictions and targets as `MaskAP` takes them."""
    coder = pytest.importorskip("pycocotools.mask")

    def image(records, number, keys):
        rows = [(record, mask) for record, mask in records if record["image_id"] == number]
        masks = [mask for _, mask in rows]
        if form == "dense":
            masks = torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, H, W, dtype=torch.bool)
        elif form == "counts":
            masks = [{"size": (H, W), "counts": runs_of(mask)} for mask in masks]
        else:
            masks = [coder.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
        return {"masks": masks} | {new: torch.tensor([record[key] for record, _ in rows]) for new, key in keys.items()}

    keys = {"labels": "category_id"}
    return (
        [image(found, number, keys | {"scores": "score"}) for number in range(1, 6)],
        [image(truths, number, keys | {"iscrowd": "iscrowd", "ids": "id"}) for number in range(1, 6)],
    )


@pytest.mark.parametrize("form", ["dense", "counts", "code"])
def test_tensors_give_what_files_give(form):
    data = masks_at_random(1)
    preds, target = tensors(*data, form)
    metric = MaskAP(class_metrics=True, class_names={2: "cat", 7: "cow"})
    metric.update(preds[:2], target[:2])
    metric.update(preds[2:], target[2:])
    found = {name: float(value) for name, value in metric.compute().items()}
    evaluation = evaluate_masks(*as_files(*data))
    assert list(found) == [*NAMES, "AP/cat", "AP/3", "AP/cow"]
    assert [found[name] for name in NAMES] == pytest.approx(list(evaluation.values()), abs=1e-12)
    assert list(found.values())[12:] == pytest.approx(list(evaluation.per_category.values()), abs=1e-12)
    assert metric.summary() == evaluation.summary()


@pytest.mark.parametrize("nothing", [torch.zeros(0, H, W, dtype=torch.bool), np.zeros((0, H, W), bool), []])
def test_images_without_masks(nothing):
    one = {"masks": torch.ones(1, H, W, dtype=torch.bool), "labels": torch.ones(1), "scores": torch.ones(1)}
    none = {"masks": nothing, "labels": torch.ones(0), "scores": torch.ones(0)}
    metric = MaskAP()
    metric.update([none, one, none], [none, one, one])
    assert float(metric.compute()["AR100"]) == 0.5


def test_some_images_and_labels_alone(tmp_path):
    data = masks_at_random(2)
    truth, detections = as_files(*data)
    chosen = {"image_ids": [1, 4, 5], "category_ids": [3, 7]}
    part = {
        **truth,
        "images": [image for image in truth["images"] if image["id"] in (1, 4, 5)],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in (1, 4, 5) and a["category_id"] != 2],
    }
    of_part = [d for d in detections if d["image_id"] in (1, 4, 5) and d["category_id"] != 2]
    expected = peer_numbers("pycocotools", tmp_path, part, of_part, "segm")
    assert numbers(evaluate_masks(truth, detections, **chosen)) == pytest.approx(expected, abs=1e-12)
    metric = MaskAP(only_images=[1, 4, 5], only_labels=[3, 7])
    metric.update(*tensors(*data), image_ids=range(1, 6))
    assert numbers(metric.compute()) == pytest.approx(expected, abs=1e-12)
    assert metric.labels().tolist() == [3, 7]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(1, H, W), r'\["masks"\] must be bool of shape \(n, H, W\), got Tensor of torch.float32'),
        (torch.zeros(2, H, W, dtype=torch.bool), r'\["masks"\] must have 1 masks, got 2'),
        ([{"size": [2, 2], "counts": [3]}], r'\["masks"\]\[0\] must have run lengths of 2 x 2 pixels in all'),
        ([{"size": [2, 2], "counts": b"\x00"}], r'\["masks"\]\[0\] must have counts in COCO.s code'),
        ([[[0, 0, 1, 1, 2, 0]]], r'\["masks"\]\[0\] must be of an image that has height and width'),
        ([3], r'\["masks"\]\[0\] must be polygons or run lengths'),
        ("x", r'\["masks"\] must be a bool tensor or a list of masks'),
    ],
)
def test_bad_masks(masks, message):
    good = {"masks": torch.ones(1, H, W, dtype=torch.bool), "labels": torch.ones(1), "scores": torch.ones(1)}
    with pytest.raises(ValueError, match=rf"^MaskAP: target\[0\]{message}"):
        MaskAP().update([good], [good | {"masks": masks}])


def test_masks_of_other_sizes_are_refused():
    good = {"masks": torch.ones(1, H, W, dtype=torch.bool), "labels": torch.ones(1), "scores": torch.ones(1)}
    metric = MaskAP()
    metric.update([good], [good | {"masks": torch.ones(1, H, W + 1, dtype=torch.bool)}])
    with pytest.raises(
        ValueError, match=r"^MaskAP: masks of an image must have one size, got \(60, 80\) and \(60, 81\)"
    ):
        metric.compute()


def test_bad_segmentations_of_files():
    truth, detections = as_files(*masks_at_random(0))
    expected = evaluate_masks(truth, detections)
    truth["annotations"].append(truth["annotations"][0] | {"id": 99, "segmentation": {"size": [H, W], "counts": "0"}})
    detections.append(detections[0] | {"segmentation": {"size": [H, W + 1], "counts": [H * (W + 1)]}})
    with pytest.raises(ValueError, match=r"^truth: annotation of id 99: segmentation must have run lengths of 60 x 80"):
        evaluate_masks(truth, detections)
    evaluation = evaluate_masks(truth, detections, skip_bad=True)
    assert evaluation == pytest.approx(expected, abs=1e-12)
    assert "segmentation must have the image's size [60, 80], got [60, 81]" in evaluation.skipped[1]


def test_backends_agree():
    data = as_files(*masks_at_random(0))
    with pydlx.backend("reference"):
        expected = evaluate_masks(*data)
    assert evaluate_masks(*data) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_spans_of_chosen_masks(backend):
    spans = np.arange(14, dtype=np.int32).reshape(7, 2)
    offsets = np.array([0, 3, 3, 6, 7])
    with pydlx.backend(backend):
        chosen, starts = chosen_spans(spans, offsets, np.array([3, 0, 1, 0]))
        assert mask_areas(spans * spans, offsets).tolist() == [15, 0, 51, 25]
        nothing, start = chosen_spans(spans, offsets, np.zeros(0, dtype=np.int64))
        with pytest.raises(IndexError):  # an offset behind the last span
            chosen_spans(spans, np.array([0, 9]), np.array([0]))
    assert chosen.tolist() == spans[[6, 0, 1, 2, 0, 1, 2]].tolist() and starts.tolist() == [0, 1, 4, 4, 7]
    assert nothing.shape == (0, 2) and start.tolist() == [0]
