"""Average precision of keypoints against hotcoco and pycocotools, from arrays and from files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pydlx.benchmarks.case import NATIVE, Candidate, Case, Item, Quantity, Setting, at_least, at_most, installed
from pydlx.benchmarks.metrics import coco_peers
from pydlx.benchmarks.metrics.coco_peers import HOTCOCO, PYCOCOTOOLS
from pydlx.benchmarks.metrics.people import people

# Images, people, detections: as many as a detector finds on COCO's val2017; fewer for what takes seconds; and many.
_EVERYONE = (5_000, 10_944, 104_125)
_FEW = (500, 1_094, 10_412)
_MANY = (20_000, 200_000, 1_000_000)

# Linux counts a parent's memory into its children's getrusage, but not into their VmHWM.
_PROBE = """
import re, sys
from pathlib import Path
from pydlx.metrics import evaluate_keypoints
evaluate_keypoints(*sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""

Sizes = tuple[int, int, int]


def cases(setting: Setting) -> Iterator[Item]:
    """Evaluation alone, then with the files, then what that takes of memory (with ``--full``)."""
    if setting.device.type != "cpu" or not installed("torchmetrics"):
        return
    yield Case(f"{_text(_EVERYONE)}, from arrays", array_candidates, (at_most(0.7, HOTCOCO),))
    if not installed("msgspec"):  # what reads JSON here
        return
    yield Case(
        f"{_text(_EVERYONE)}, from JSON", lambda: file_candidates(_EVERYONE, (HOTCOCO,)), (at_most(0.9, HOTCOCO),)
    )
    yield Case(
        f"{_text(_FEW)}, from JSON",
        lambda: file_candidates(_FEW, (HOTCOCO, PYCOCOTOOLS)),
        (at_least(10, PYCOCOTOOLS),),
    )
    if setting.full:
        yield Case(
            f"{_text(_EVERYONE)}, from JSON, pycocotools",
            lambda: file_candidates(_EVERYONE, (PYCOCOTOOLS,)),
            (at_least(10, PYCOCOTOOLS),),
        )
        yield Quantity(f"memory, {_MANY[1]} annotations, {_MANY[2]} detections", "GB", 2.0, _gigabytes)


def _text(sizes: Sizes) -> str:
    return f"{sizes[0]} images, {sizes[2]} detections"


def array_candidates() -> dict[str, Candidate | None]:
    """Matching and curves of what is in memory."""
    from pydlx.metrics import KeypointAP

    truth, found = people(*_EVERYONE)
    metric = KeypointAP(box_format="xywh")
    metric.update(*batch(truth, found))
    with tempfile.TemporaryDirectory() as folder:
        loaded = coco_peers.load(HOTCOCO, *coco_peers.write_files(folder, truth, found))
    return {
        NATIVE: metric.curves,
        HOTCOCO: loaded and (lambda: coco_peers.evaluate(HOTCOCO, loaded, "keypoints")),
    }


def file_candidates(sizes: Sizes, peers: tuple[str, ...]) -> dict[str, Candidate | None]:
    """All from reading to the ten numbers."""
    from pydlx.metrics import evaluate_keypoints

    folder = tempfile.TemporaryDirectory()
    files = coco_peers.write_files(folder.name, *people(*sizes))

    def run(_: object = folder) -> object:  # the folder lives as long as the candidate
        return evaluate_keypoints(*files)

    return {NATIVE: run, **{name: coco_peers.from_files(name, *files, "keypoints") for name in peers}}


def batch(truth: dict[str, Any], found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and targets as `KeypointAP` takes them, image after image; boxes are xywh."""
    predictions = _by_image(truth, found, {"keypoints": (17, 3), "score": ()})
    fields = {"keypoints": (17, 3), "area": (), "bbox": (4,), "iscrowd": (), "num_keypoints": (), "id": ()}
    targets = _by_image(truth, truth["annotations"], fields)
    names = {"score": "scores", "bbox": "boxes", "id": "ids"}
    return tuple(
        [{names.get(key, key): value for key, value in image.items()} for image in images]
        for images in (predictions, targets)
    )  # type: ignore[return-value]


def _by_image(truth: dict[str, Any], records: list[dict[str, Any]], fields: dict[str, tuple[int, ...]]) -> list[Any]:
    ids = np.array([record["image_id"] for record in records])
    order = ids.argsort(kind="stable")
    ends = np.searchsorted(ids[order], [image["id"] for image in truth["images"]], side="right")
    columns = {
        field: torch.tensor([records[row][field] for row in order], dtype=torch.float64).reshape(-1, *shape)
        for field, shape in fields.items()
    }
    starts = [0, *ends[:-1].tolist()]
    return [
        {field: column[start:end] for field, column in columns.items()}
        for start, end in zip(starts, ends.tolist(), strict=True)
    ]


def _gigabytes() -> float:
    """Most memory of a process that evaluates two large files."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-c", _PROBE, *coco_peers.write_files(folder, *people(*_MANY))],
            capture_output=True,
            text=True,
        )
    if run.returncode:
        raise RuntimeError(f"evaluating large files failed: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout) / 1e6
