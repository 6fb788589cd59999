"""Average precision of masks against hotcoco and pycocotools, from JSON files with run lengths."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from pydlx.benchmarks.case import NATIVE, Candidate, Case, Setting, at_most, installed
from pydlx.benchmarks.metrics import coco_peers
from pydlx.benchmarks.metrics.coco_peers import HOTCOCO, PYCOCOTOOLS

_IMAGES, _TRUTHS, _DETECTIONS, _CATEGORIES = 500, 3_500, 10_000, 10
_HEIGHT, _WIDTH, _CORNERS = 480, 640, 60


def cases(setting: Setting) -> Iterator[Case]:
    """All from reading to the twelve numbers."""
    if setting.device.type == "cpu" and installed("msgspec") and installed("pycocotools"):
        label = f"{_IMAGES} images, {_DETECTIONS} detections, from JSON"
        yield Case(label, candidates, (at_most(0.5, PYCOCOTOOLS), at_most(1, HOTCOCO)))


def candidates() -> dict[str, Candidate | None]:
    """The evaluation of two files, which live as long as the candidates."""
    from pydlx.metrics import evaluate_masks

    folder = tempfile.TemporaryDirectory()
    files = coco_peers.write_files(folder.name, *outlines())

    def run(_: object = folder) -> object:  # the folder lives as long as the candidate
        return evaluate_masks(*files)

    return {NATIVE: run, **{name: coco_peers.from_files(name, *files, "segm") for name in (HOTCOCO, PYCOCOTOOLS)}}


def outlines(seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects with wavy outlines, and detections that are each an object moved and scaled a little."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, [_WIDTH, _HEIGHT], (_TRUTHS, 2))
    radius = np.exp(rng.uniform(np.log(10), np.log(150), _TRUTHS))
    image, category = rng.integers(_IMAGES, size=_TRUTHS), rng.integers(_CATEGORIES, size=_TRUTHS)
    of = rng.integers(_TRUTHS, size=_DETECTIONS)
    moved = centre[of] + rng.normal(0, 0.1, (_DETECTIONS, 2)) * radius[of, None]
    scaled = radius[of] * np.exp(rng.normal(0, 0.15, _DETECTIONS))
    annotations = [
        {
            "id": i + 1,
            "image_id": int(image[i]),
            "category_id": int(category[i]),
            "iscrowd": int(i % 50 == 0),
            "area": float(3 * radius[i] ** 2),
            "bbox": [*(centre[i] - radius[i]).tolist(), *[2 * float(radius[i])] * 2],
            "segmentation": _coded(rng, centre[i], radius[i]),
        }
        for i in range(_TRUTHS)
    ]
    detections = [
        {
            "image_id": int(image[of[i]]),
            "category_id": int(category[of[i]]),
            "score": round(float(rng.random()), 4),
            "segmentation": _coded(rng, moved[i], scaled[i]),
        }
        for i in range(_DETECTIONS)
    ]
    truth = {
        "images": [{"id": i, "height": _HEIGHT, "width": _WIDTH} for i in range(_IMAGES)],
        "categories": [{"id": c, "name": f"category {c}"} for c in range(_CATEGORIES)],
        "annotations": annotations,
    }
    return truth, detections


def _coded(rng: np.random.Generator, centre: np.ndarray, radius: float) -> dict[str, Any]:
    """COCO's compressed run lengths of one outline, by pycocotools."""
    coder: Any = installed("pycocotools.mask")
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    waves = [size * np.sin(count * angle + rng.uniform(0, 6)) for count, size in ((3, 0.2), (7, 0.1), (19, 0.05))]
    points = centre + radius * (1 + np.sum(waves, axis=0))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    (code,) = coder.frPyObjects([points.ravel().tolist()], _HEIGHT, _WIDTH)
    return {"size": [_HEIGHT, _WIDTH], "counts": code["counts"].decode()}
