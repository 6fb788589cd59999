"""The COCO evaluations of others, which share pycocotools' interface."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydlx.benchmarks.case import Candidate, installed

HOTCOCO, PYCOCOTOOLS = "hotcoco", "pycocotools"


def peer(name: str) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """A peer's COCO and COCOeval, or None where it is not installed."""
    if name == HOTCOCO:
        os.environ.setdefault("RAYON_NUM_THREADS", "2")  # read when it first starts threads
        module = installed(HOTCOCO)
        return module and (module.COCO, module.COCOeval)
    coco, evaluation = installed("pycocotools.coco"), installed("pycocotools.cocoeval")
    return (coco.COCO, evaluation.COCOeval) if coco and evaluation else None


def load(name: str, truth: str, found: str) -> tuple[Any, Any] | None:
    """A peer's data set and results from two files."""
    classes = peer(name)
    if classes is None:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        data = classes[0](truth)
        return data, data.loadRes(found)


def write_files(folder: str, truth: dict[str, Any], found: list[dict[str, Any]]) -> tuple[str, str]:
    """Writes a data set and results as JSON; returns both paths."""
    paths = Path(folder) / "truth.json", Path(folder) / "found.json"
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return str(paths[0]), str(paths[1])


def from_files(name: str, truth: str, found: str, kind: str) -> Candidate | None:
    """A peer's whole evaluation, from reading on; None where it is not installed."""

    def run() -> object:
        loaded = load(name, truth, found)
        return evaluate(name, loaded, kind) if loaded else None

    return run if peer(name) else None


def evaluate(name: str, loaded: tuple[Any, Any], kind: str) -> list[float]:
    """The numbers of a peer, in COCO's order, for ``"keypoints"``, ``"bbox"`` or ``"segm"``."""
    classes = peer(name)
    assert classes is not None
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = classes[1](*loaded, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]
