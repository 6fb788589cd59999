"""``pydlx predict``: label or find what pictures show, with a trained model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pydlx._checks import check_one_of
from pydlx.cli.progress import counting
from pydlx.data.pairs import PICTURES
from pydlx.files import read_image, replacing, write_image
from pydlx.models import load_model
from pydlx.models.detection import CornerNet, detect
from pydlx.models.segmentation import FCN, segment
from pydlx.visualize import colour_labels, draw_boxes

_EXAMPLE = """\
examples:
  pydlx predict runs/camvid/best.ckpt street.jpg --out predictions
  pydlx predict runs/corner/best.ckpt photographs/ --out predictions --threshold 0.4

Writes for a segmentation NAME.png, the label map, and NAME_coloured.jpg; for a detection NAME_boxes.jpg; and
predictions.json of all pictures: the share of each class, or the boxes.
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
    return parser


def run(args: argparse.Namespace) -> int:
    """Predicts for all pictures; those that cannot be read are named at the end, and the code is then 2."""
    model: Any = load_model(args.checkpoint).to(torch.device(args.device))
    pictures = [path for given in args.pictures for path in _pictures(given)]
    check_one_of("predict", "pictures", None if pictures else "none", (None,))
    args.out.mkdir(parents=True, exist_ok=True)
    found, skipped = {}, []
    for path in counting(pictures, "predicting"):
        try:
            image = read_image(path)
        except OSError as error:
            skipped.append(str(error))
            continue
        found[str(path)] = _predict(model, _rgb(image), args.out / path.stem, args.threshold)
    with replacing(args.out / "predictions.json") as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{len(found)} pictures, written to {args.out}")
    if skipped:
        raise OSError(f"{len(skipped)} of {len(pictures)} pictures cannot be read, the first: {skipped[0]}")
    return 0
