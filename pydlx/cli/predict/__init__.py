"""``pydlx predict``: what a trained model finds in pictures or texts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pydlx.cli.device import add_device, device_of
from pydlx.cli.predict import pictures
from pydlx.models import load_model
from pydlx.models.detection import CornerNet
from pydlx.models.segmentation import FCN

_EXAMPLE = """\
example:
  pydlx predict runs/camvid/best.ckpt street.jpg --out predictions
  pydlx predict runs/corner/best.ckpt photographs/ --out predictions --threshold 0.4
  pydlx predict runs/corner/best.ckpt val2017/ --annotations instances_val2017.json --out predictions
  pydlx eval boxes instances_val2017.json predictions/coco_results.json

Pictures: writes label_maps/NAME.png, as pydlx eval segmentation takes it, and coloured/NAME.png; or of a detector
boxes/NAME.png; and of all pictures predictions.json: the share of each class, or the boxes as x1, y1, x2, y2. With
--annotations also coco_results.json, COCO's list of results: there are the boxes of every score, which AP needs.
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
    parser.add_argument("inputs", nargs="+", metavar="input", help="pictures, or folders of them")
    parser.add_argument("--out", type=Path, help="folder for what is written")
    add_device(parser)
    parser.add_argument("--threshold", type=float, default=0.3, help="least score of a box (default 0.3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="by what pictures are enlarged or reduced to find boxes (default 1)"
    )
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="a COCO file that lists the pictures: write coco_results.json"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Predicts with the model of the checkpoint, as its kind does."""
    model: Any = load_model(args.checkpoint).to(device_of(args))
    if isinstance(model, FCN | CornerNet):
        return pictures.predict(model, args)
    hint = "pydlx sample draws with it, or pydlx blend --method gp-gan --checkpoint"
    raise ValueError(f"{model.model_name} neither labels pixels nor finds boxes; {hint}")
