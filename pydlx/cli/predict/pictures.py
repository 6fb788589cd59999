"""``pydlx predict`` with models that label or find what pictures show."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pydlx.cli.inputs import check_file
from pydlx.cli.outputs import check_folder, say, write_text
from pydlx.cli.progress import counting
from pydlx.data.pairs import PICTURES
from pydlx.files import read_rgb, write_image
from pydlx.models.detection import CornerNet, Detections, detect
from pydlx.models.segmentation import FCN, segment
from pydlx.visualize import colour_labels, draw_boxes


def predict(model: Any, args: argparse.Namespace) -> int:
    """Predicts for all pictures; those that cannot be read are counted at the end, and the exit code is then 2."""
    if args.out is None:
        raise ValueError("--out must name a folder for what is found in pictures")
    check_folder(args.out, "--out")
    pictures = [path for given in args.inputs for path in _pictures(Path(given))]
    names = [path.stem for path in pictures]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"INPUT: pictures must have different names without suffix, got {repeated!r} twice")
    results = None if args.annotations is None else _CocoResults(args.annotations, model, pictures)
    predicted = _predictor(model, args, results)
    found: dict[str, Any] = {}
    skipped: list[str] = []
    for path in counting(pictures, "predicting"):
        try:
            image = read_rgb(path)
        except (OSError, ValueError) as error:
            skipped.append(str(error))
            continue
        found[str(path)] = predicted(image, path)
    if not found:
        raise OSError(f"INPUT: none of {len(pictures)} pictures can be read, the first: {skipped[0]}")
    _write_json(args.out / "predictions.json", found, indent=2)
    if results is not None:
        _write_json(args.out / "coco_results.json", results.entries)
    say(f"{len(found)} of {len(pictures)} pictures, written to {args.out}")
    if skipped:
        raise OSError(f"INPUT: {len(skipped)} of {len(pictures)} pictures cannot be read, the first: {skipped[0]}")
    return 0


def _pictures(given: Path) -> list[Path]:
    """The file, or those of the folder."""
    check_file(given, "INPUT", or_folder=True)
    if not given.is_dir():
        return [given]
    found = sorted(path for path in given.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise FileNotFoundError(f"INPUT: the folder '{given}' holds no pictures")
    return found


class _CocoResults:
    """What a detector finds in pictures that a COCO file lists, as entries of a COCO result file."""

    def __init__(self, file: Path, model: Any, pictures: list[Path]) -> None:
        # Not at the head of this file: it needs packages that other predictions can do without.
        from pydlx.data.coco import read_coco_listing

        if not isinstance(model, CornerNet):
            raise ValueError(f"--annotations must go with a detector, got {model.model_name}")
        listing = read_coco_listing(file)
        self.entries: list[dict[str, Any]] = []
        self._category_ids = listing.category_ids
        if (listed := len(listing.category_ids)) != model.num_classes:
            raise ValueError(f"--annotations must list {model.num_classes} categories as the model, got {listed}")
        self._image_ids = {Path(name).name: key for key, name in listing.file_names.items()}
        uses = Counter(Path(name).name for name in listing.file_names.values())
        for path in pictures:
            if uses[path.name] != 1:
                raise ValueError(f"'{file}' must list every picture once, got '{path}' {uses[path.name]} times")

    def add(self, path: Path, found: Detections) -> None:
        """Takes the boxes of a picture."""
        from pydlx.data.coco import coco_results

        boxes, scores, labels = (x.numpy() for x in found)
        self.entries += coco_results(self._image_ids[path.name], self._category_ids, boxes, scores, labels)


def _predictor(model: Any, args: argparse.Namespace, results: _CocoResults | None) -> Callable[[np.ndarray, Path], Any]:
    """(image, its path) to what predictions.json says of it."""
    if isinstance(model, FCN):
        return lambda image, path: _labels(model, image, args.out, f"{path.stem}.png")

    threshold = 0.3 if args.threshold is None else args.threshold

    def boxes(image: np.ndarray, path: Path) -> list[dict[str, Any]]:
        found = Detections(
            *(x.cpu() for x in detect(model, image, scales=(1.0 if args.scale is None else args.scale,)))
        )
        if results is not None:
            results.add(path, found)
        return _boxes(found, image, args.out / "boxes" / f"{path.stem}.png", threshold)

    return boxes


def _labels(model: FCN, image: np.ndarray, out: Path, file: str) -> dict[str, float]:
    labels = segment(model, image).cpu().numpy()
    classes = model.num_classes
    for folder in ("label_maps", "coloured"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_image(out / "label_maps" / file, labels.astype(np.uint8))
    write_image(out / "coloured" / file, colour_labels(labels, classes, image))
    shares = np.bincount(labels.ravel(), minlength=classes) / labels.size
    return {str(c): round(float(share), 6) for c, share in enumerate(shares) if share > 0}


def _boxes(found: Detections, image: np.ndarray, drawn: Path, threshold: float) -> list[dict[str, Any]]:
    boxes, scores, labels = (x[found.scores >= threshold] for x in found)
    drawn.parent.mkdir(parents=True, exist_ok=True)
    write_image(drawn, draw_boxes(image, boxes.numpy(), labels.tolist(), scores.tolist()))
    return [
        {"class": label, "score": round(score, 6), "box": [round(value, 3) for value in box]}
        for label, score, box in zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True)
    ]


def _write_json(path: Path, content: Any, indent: int | None = None) -> None:
    write_text(path, json.dumps(content, indent=indent) + "\n")
