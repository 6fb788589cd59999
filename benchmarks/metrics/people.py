"""Seeded data sets of people and of what a detector might have found of them, in COCO's format."""

from __future__ import annotations

from typing import Any

import numpy as np

KEYPOINTS = 17
_CANVAS = 640.0
_CHUNK = 20_000


def people(images: int, truths: int, detections: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A crowd of `truths` people on so many images, and `detections` of them.

    A third of the detections are people with their keypoints shifted by 1, 3 or 10 % of the size; the others are
    anywhere. Some people have no visible keypoint, some are crowd regions.

    Returns:
        Annotations and results, as ``json.load`` gives them.
    """
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, images, truths))
    size = np.exp(rng.uniform(np.log(20), np.log(300), truths))
    points = (
        rng.uniform(0, _CANVAS, (truths, 1, 2)) + rng.uniform(-0.5, 0.5, (truths, KEYPOINTS, 2)) * size[:, None, None]
    )
    visible = rng.choice([0, 1, 2], (truths, KEYPOINTS), p=[0.35, 0.1, 0.55])
    visible[rng.random(truths) < 0.3] = 0
    crowd = rng.random(truths) < 0.01
    annotations = [
        {
            "id": number + 1,
            "image_id": int(image[number]) + 1,
            "category_id": 1,
            "iscrowd": int(crowd[number]),
            "area": float(0.5 * size[number] ** 2),
            "bbox": np.concatenate([points[number].min(0), np.ptp(points[number], axis=0)]).tolist(),
            "num_keypoints": int((visible[number] > 0).sum()),
            "keypoints": _triples(points[number], visible[number]),
        }
        for number in range(truths)
    ]
    truth = {
        "images": [{"id": number + 1, "width": int(_CANVAS), "height": int(_CANVAS)} for number in range(images)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    found: list[dict[str, Any]] = []
    while len(found) < detections:
        found += _detections(rng, min(_CHUNK, detections - len(found)), images, image, size, points)
    return truth, found


def _detections(
    rng: np.random.Generator, count: int, images: int, image: np.ndarray, size: np.ndarray, points: np.ndarray
) -> list[dict[str, Any]]:
    person = rng.integers(0, len(image), count)
    right = rng.random(count) < 1 / 3
    shift = rng.choice([0.01, 0.03, 0.1], count) * size[person]
    near = points[person] + rng.normal(0, 1, (count, KEYPOINTS, 2)) * shift[:, None, None]
    anywhere = rng.uniform(0, _CANVAS, (count, 1, 2)) + rng.uniform(-60, 60, (count, KEYPOINTS, 2))
    where = np.where(right[:, None, None], near, anywhere)
    on = np.where(right, image[person], rng.integers(0, images, count))
    score = np.where(right, rng.beta(4, 2, count), rng.beta(1, 4, count)).round(4)
    return [
        {
            "image_id": int(on[number]) + 1,
            "category_id": 1,
            "score": float(score[number]),
            "keypoints": _triples(where[number], np.ones(KEYPOINTS)),
        }
        for number in range(count)
    ]


def _triples(points: np.ndarray, visible: np.ndarray) -> list[float]:
    return np.column_stack([points.round(2), visible]).ravel().tolist()
