"""``pydlx predict``: what a trained model finds in pictures or texts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pydlx.cli.device import add_device, device_of
from pydlx.cli.predict import entities, pictures
from pydlx.models import load_model
from pydlx.models.detection import CornerNet
from pydlx.models.entities import EntityTagger
from pydlx.models.readers import Reader
from pydlx.models.segmentation import FCN

_EXAMPLE = """\
example:
  pydlx predict runs/camvid/best.ckpt street.jpg --out predictions
  pydlx predict runs/corner/best.ckpt photographs/ --out predictions --threshold 0.4
  pydlx predict runs/corner/best.ckpt val2017/ --annotations instances_val2017.json --out predictions
  pydlx eval boxes instances_val2017.json predictions/coco_results.json
  pydlx predict runs/ner/best.ckpt "Anna lives in Rome." article.txt
  pydlx predict runs/ner/best.ckpt --data test.json --out predictions.json
  pydlx eval entities test.json predictions.json

Pictures: writes label_maps/NAME.png, as pydlx eval segmentation takes it, and coloured/NAME.png; or of a detector
boxes/NAME.png; and of all pictures predictions.json: the share of each class, or the boxes as x1, y1, x2, y2. With
--annotations also coco_results.json, COCO's list of results: there are the boxes of every score, which AP needs.

Texts, the names of text files, or - for standard input: shows each with its entities marked, and lists them with their
scores and places; the end is the last character, and not the one past it. With --data it reads a file of texts as the
training does, and writes what it finds to the file --out, as CLUENER's JSON lines.
"""

# Options that only models of one kind take.
_OF_PICTURES = ("scale", "annotations")
_OF_TEXTS = ("data", "json", "flat")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``predict`` to the command line."""
    parser = subparsers.add_parser(
        "predict",
        help="label or find what pictures show, or find entities in texts",
        description="Apply a trained model to pictures or texts.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of pydlx train, or of pydlx.models.save_model")
    parser.add_argument("inputs", nargs="+", metavar="input", help="pictures, or folders of them; texts, or text files")
    parser.add_argument("--out", type=Path, help="folder for what is found in pictures; with --data a file")
    add_device(parser)
    parser.add_argument("--threshold", type=float, help="least score: of a box 0.3 by default, of a span 0.5")
    pictures_only = parser.add_argument_group("of pictures")
    pictures_only.add_argument(
        "--scale", type=float, help="by what pictures are enlarged or reduced to find boxes (default 1)"
    )
    pictures_only.add_argument(
        "--annotations", type=Path, metavar="FILE", help="a COCO file that lists the pictures: write coco_results.json"
    )
    texts_only = parser.add_argument_group("of texts")
    texts_only.add_argument(
        "--data", action="store_true", help="the input is a file of JSON lines, or tables, as of pydlx train ner"
    )
    texts_only.add_argument("--json", action="store_true", help="print the entities as a line of JSON for each text")
    texts_only.add_argument("--flat", action="store_true", help="of entities that overlap, leave out the less certain")
    return parser


def run(args: argparse.Namespace) -> int:
    """Predicts with the model of the checkpoint, as its kind does."""
    model: Any = load_model(args.checkpoint).to(device_of(args))
    if isinstance(model, FCN | CornerNet):
        _refuse(args, _OF_TEXTS, f"with {model.model_name}, which reads pictures")
        return pictures.predict(model, args)
    if isinstance(model, EntityTagger):
        _refuse(args, _OF_PICTURES, f"with {model.model_name}, which reads texts")
        return entities.predict(model, args)
    hint = "pydlx sample draws with it, or pydlx blend --method gp-gan --checkpoint"
    if isinstance(model, Reader):
        hint = "pydlx answer asks it"
    raise ValueError(f"{model.model_name} neither labels pixels nor finds boxes or entities; {hint}")


def _refuse(args: argparse.Namespace, options: tuple[str, ...], hint: str) -> None:
    for name in options:
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name} must not be given {hint}")
