"""``pydlx predict``: what a trained model finds in pictures or texts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pydlx.cli.device import add_device, device_of
from pydlx.cli.predict import entities, pictures, relations
from pydlx.models import load_model
from pydlx.models.detection import CornerNet
from pydlx.models.entities import EntityTagger
from pydlx.models.readers import Reader
from pydlx.models.relations import DocumentRelations
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
  pydlx predict runs/relations/best.ckpt documents.json --relation-names rel_info.json
  pydlx predict runs/relations/best.ckpt redocred_test.json --out facts.json
  pydlx eval relations redocred_test.json facts.json

Pictures: writes label_maps/NAME.png, as pydlx eval segmentation takes it, and coloured/NAME.png; or of a detector
boxes/NAME.png; and of all pictures predictions.json: the share of each class, or the boxes as x1, y1, x2, y2. With
--annotations also coco_results.json, COCO's list of results: there are the boxes of every score, which AP needs.

Texts, the names of text files, or - for standard input: shows each with its entities marked, and lists them with their
scores and places; the end is the last character, and not the one past it. With --data it reads a file of texts as the
training does, and writes what it finds to the file --out, as CLUENER's JSON lines.

Documents with entities, files of DocRED's form: lists the relations of each with their scores and the sentences, from 0
on, that name both entities. With --out it writes all in the form of DocRED's submissions.
"""

# Options that only models of one kind take.
_OF_PICTURES = ("scale", "annotations")
_OF_TEXTS = ("data", "flat")
_OF_DOCUMENTS = ("top_k", "relation_names")
_OF_BOTH = ("json",)


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``predict`` to the command line."""
    parser = subparsers.add_parser(
        "predict",
        help="label or find what pictures show, or find entities in texts and relations between them",
        description="Apply a trained model to pictures, texts or documents.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of pydlx train, or of pydlx.models.save_model")
    parser.add_argument(
        "inputs", nargs="+", metavar="input", help="pictures, folders of them; texts, text files; documents"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for what is found in pictures; with --data or documents a file"
    )
    add_device(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        help="what scores must exceed: of boxes 0.3 by default, of relations and of entities found as spans 0.5",
    )
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
    texts_only.add_argument("--flat", action="store_true", help="of entities that overlap, leave out the less certain")
    documents_only = parser.add_argument_group("of documents")
    documents_only.add_argument("--top-k", type=int, metavar="N", help="most relations of a pair (default: as trained)")
    documents_only.add_argument(
        "--relation-names", type=Path, metavar="FILE", help="names to show, a JSON object by relation, as rel_info.json"
    )
    both = parser.add_argument_group("of texts and documents")
    both.add_argument("--json", action="store_true", help="print what is found as a line of JSON for each")
    return parser


def run(args: argparse.Namespace) -> int:
    """Predicts with the model of the checkpoint, as its kind does."""
    model: Any = load_model(args.checkpoint).to(device_of(args))
    if isinstance(model, FCN | CornerNet):
        _refuse(args, _OF_TEXTS + _OF_DOCUMENTS + _OF_BOTH, f"with {model.model_name}, which reads pictures")
        return pictures.predict(model, args)
    if isinstance(model, EntityTagger):
        _refuse(args, _OF_PICTURES + _OF_DOCUMENTS, f"with {model.model_name}, which reads texts")
        return entities.predict(model, args)
    if isinstance(model, DocumentRelations):
        _refuse(args, _OF_PICTURES + _OF_TEXTS, f"with {model.model_name}, which reads documents")
        return relations.predict(model, args)
    hint = "pydlx sample draws with it, or pydlx blend --method gp-gan --checkpoint"
    if isinstance(model, Reader):
        hint = "pydlx answer asks it"
    raise ValueError(f"{model.model_name} neither labels pixels nor finds boxes, entities or relations; {hint}")


def _refuse(args: argparse.Namespace, options: tuple[str, ...], hint: str) -> None:
    for name in options:
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name.replace('_', '-')} must not be given {hint}")
