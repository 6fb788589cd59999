"""``pydlx predict``: label or find what pictures show, with a trained model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pydlx.cli.progress import counting
from pydlx.data.pairs import PICTURES
from pydlx.files import read_rgb, replacing, write_image
from pydlx.models import load_model
from pydlx.models.detection import CornerNet, detect
from pydlx.models.segmentation import FCN, segment
from pydlx.visualize import colour_labels, draw_boxes

_EXAMPLE = """\
example:
  pydlx predict runs/camvid/best.ckpt street.jpg --out predictions
  pydlx predict runs/corner/best.ckpt photographs/ --out predictions --threshold 0.4

Writes label_maps/NAME.png, as pydlx eval segmentation takes it, and coloured/NAME.png; or of a detector
boxes/NAME.png; and of all pictures predictions.json: the share of each class, or the boxes as x1, y1, x2, y2.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``predict`` to the command line."""
    parser = subparsers.add_parser(
        "predict",
        help="label or find what pictures show",
        description="Apply a trained model to pictures.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of pydlx train, or of pydlx.models.save_model")
    parser.add_argument("pictures", type=Path, nargs="+", help="files, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is written")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threshold", type=float, default=0.3, help="least score of a box (default 0.3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="by what pictures are enlarged or reduced to find boxes (default 1)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Predicts for all pictures; those that cannot be read are counted at the end, and the exit code is then 2."""
    model: Any = load_model(args.checkpoint).to(torch.device(args.device))
    predict = _predictor(model, args.threshold, args.scale)
    pictures = [path for given in args.pictures for path in _pictures(given)]
    names = [path.stem for path in pictures]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"pictures must have different names without suffix, got {repeated!r} twice")
    for folder in ("label_maps", "coloured") if isinstance(model, FCN) else ("boxes",):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    skipped: list[str] = []
    for path in counting(pictures, "predicting"):
        try:
            image = read_rgb(path)
        except (OSError, ValueError) as error:
            skipped.append(str(error))
            continue
        found[str(path)] = predict(image, args.out, f"{path.stem}.png")
    with replacing(args.out / "predictions.json") as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{len(found)} of {len(pictures)} pictures, written to {args.out}")
    if skipped:
        raise OSError(f"{len(skipped)} of {len(pictures)} pictures cannot be read, the first: {skipped[0]}")
    return 0


def _pictures(given: Path) -> list[Path]:
    """The file, or those of the folder."""
    if not given.is_dir():
        return [given]
    found = sorted(path for path in given.iterdir() if path.suffix.lower() in PICTURES)
    if not found:
        raise FileNotFoundError(f"'{given}' holds no pictures")
    return found


def _predictor(model: Any, threshold: float, scale: float) -> Callable[[np.ndarray, Path, str], Any]:
    """(image, folder, name of the results' files) to what predictions.json says of it."""
    if isinstance(model, FCN):
        return lambda image, out, file: _labels(model, image, out, file)
    if isinstance(model, CornerNet):
        return lambda image, out, file: _boxes(model, image, out, file, threshold, scale)
    raise ValueError(f"{model.model_name} does not predict from pictures alone")


def _labels(model: FCN, image: np.ndarray, out: Path, file: str) -> dict[str, float]:
    labels = segment(model, image).cpu().numpy()
    classes = model.num_classes
    write_image(out / "label_maps" / file, labels.astype(np.uint8))
    write_image(out / "coloured" / file, colour_labels(labels, classes, image))
    shares = np.bincount(labels.ravel(), minlength=classes) / labels.size
    return {str(c): round(float(share), 6) for c, share in enumerate(shares) if share > 0}


def _boxes(
    model: CornerNet, image: np.ndarray, out: Path, file: str, threshold: float, scale: float
) -> list[dict[str, Any]]:
    boxes, scores, labels = (x.cpu() for x in detect(model, image, scales=(scale,)))
    kept = scores >= threshold
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    drawn = draw_boxes(image, boxes.numpy(), labels.tolist(), scores.tolist())
    write_image(out / "boxes" / file, drawn)
    return [
        {"class": label, "score": round(score, 6), "box": [round(value, 3) for value in box]}
        for label, score, box in zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True)
    ]
