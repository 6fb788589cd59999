"""Small data sets with what is awkward in COCO's evaluation, and runs of it by others."""

from __future__ import annotations

import json

import pytest

from pydlx.benchmarks.metrics import coco_peers


def pose(dx=0.0, visible=2):
    """COCO's 17 keypoints on a grid, moved to the right by dx."""
    points = [(100 + 10 * (i % 5) + dx, 100 + 12 * (i // 5), visible) for i in range(17)]
    return [float(value) for point in points for value in point]


def person(number, dx=0.0, image=1, *, visible=2, **fields):
    """An annotation of that pose, of area 10000."""
    annotation = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": 10000.0,
        "bbox": [90.0, 90.0, 80.0, 80.0],
        "num_keypoints": 17 if visible else 0,
        "keypoints": pose(dx, visible),
    }
    return annotation | fields


def found(dx=0.0, score=0.9, image=1, **fields):
    """A detection of that pose."""
    return {"image_id": image, "category_id": 1, "score": score, "keypoints": pose(dx)} | fields


def data_set(*annotations, images=1):
    """Annotations as a COCO file."""
    return {
        "images": [{"id": number + 1, "width": 640, "height": 480} for number in range(images)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": list(annotations),
    }


def peer_numbers(name, folder, truth, detections, kind="keypoints"):
    """What pycocotools or hotcoco makes of it; skips where that is not installed."""
    paths = folder / "truth.json", folder / "found.json"
    for path, content in zip(paths, (truth, detections), strict=True):
        path.write_text(json.dumps(content))
    loaded = coco_peers.load(name, *map(str, paths))
    if loaded is None:
        pytest.skip(f"{name} is not installed")
    return coco_peers.evaluate(name, loaded, kind)
