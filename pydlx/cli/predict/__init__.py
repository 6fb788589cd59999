"""``pydlx predict``: what a trained model finds in pictures or texts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pydlx.cli.inputs import check_checkpoint, check_file
from pydlx.cli.options import STANDARD, add_checkpoint, add_device, add_json, count, device_of, new_command, positive
from pydlx.cli.outputs import check_outputs

_EXAMPLE = """\
example:
  pydlx predict --checkpoint runs/camvid/best.ckpt street.jpg --out predictions
  pydlx predict --checkpoint runs/corner/best.ckpt photographs/ --out predictions --threshold 0.4
  pydlx predict --checkpoint runs/corner/best.ckpt val2017/ --annotations instances_val2017.json --out predictions
  pydlx eval boxes instances_val2017.json predictions/coco_results.json
  pydlx predict --checkpoint runs/ner/best.ckpt "Anna lives in Rome." article.txt
  pydlx predict --checkpoint runs/ner/best.ckpt --data test.json --out predictions.json
  pydlx eval entities test.json predictions.json
  pydlx predict --checkpoint runs/relations/best.ckpt documents.json --relation-names rel_info.json
  pydlx predict --checkpoint runs/relations/best.ckpt --data redocred_test.json --out facts.json
  pydlx eval relations redocred_test.json facts.json

Pictures: writes label_maps/NAME.png, as pydlx eval segmentation takes it, and coloured/NAME.png; or of a detector
boxes/NAME.png; and of all pictures predictions.json: the share of each class, or the boxes as x1, y1, x2, y2. With
--annotations also coco_results.json, COCO's list of results: there are the boxes of every score, which AP needs.

Texts, the names of text files, or - for standard input: shows each with its entities marked, and lists them with their
scores and places; the end is the last character, and not the one past it. With --data it reads a file of texts as the
training does, and writes what it finds to the file --out, as CLUENER's JSON lines.

Documents with entities, files of DocRED's form: lists the relations of each with their scores and the sentences, from 0
on, that name both entities. With --data it writes all to the file --out, in the form of DocRED's submissions.
"""

# Options that only models of one kind take.
_OF_PICTURES = ("scale", "annotations")
_OF_TEXTS = ("flat",)
_OF_DOCUMENTS = ("top_k", "relation_names")
_OF_BOTH = ("data", "json")


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``predict`` to the command line."""
    parser = new_command(
        subparsers,
        "predict",
        "label or find what pictures show, or find entities in texts and relations between them",
        "Apply a trained model to pictures, texts or documents.",
        _EXAMPLE,
    )
    add_checkpoint(parser)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="pictures or folders of them; texts, text files or -; files of documents",
    )
    parser.add_argument("--data", metavar="FILE", help="read all texts or documents of a file, in place of INPUT")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PLACE",
        help="folder to write what is found in pictures to; with --data a file, or - for standard output",
    )
    add_device(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="what scores must exceed (default: 0.3 for boxes, 0.5 for relations and for entities found as spans)",
    )
    pictures_only = parser.add_argument_group("of pictures")
    pictures_only.add_argument(
        "--scale", type=positive, metavar="X", help="enlarge or reduce pictures to find boxes (default: 1)"
    )
    pictures_only.add_argument(
        "--annotations", type=Path, metavar="FILE", help="a COCO file that lists the pictures: write coco_results.json"
    )
    texts_only = parser.add_argument_group("of texts")
    texts_only.add_argument("--flat", action="store_true", help="of entities that overlap, leave out the less certain")
    documents_only = parser.add_argument_group("of documents")
    documents_only.add_argument(
        "--top-k", type=count, metavar="N", help="how many relations a pair may have (default: as trained)"
    )
    documents_only.add_argument(
        "--relation-names",
        type=Path,
        metavar="FILE",
        help="show the names in a JSON object by relation, such as rel_info.json",
    )
    add_json(parser.add_argument_group("of texts and documents"), "a list of what is found in each")
    return parser


def run(args: argparse.Namespace) -> int:
    """Predicts with the model of the checkpoint, as its kind does."""
    _check(args)
    from pydlx.cli.predict import entities, pictures, relations
    from pydlx.models import load_model
    from pydlx.models.detection import CornerNet
    from pydlx.models.entities import EntityTagger
    from pydlx.models.readers import Reader
    from pydlx.models.relations import DocumentRelations
    from pydlx.models.segmentation import FCN

    model: Any = load_model(args.checkpoint)
    if isinstance(model, FCN | CornerNet):
        _refuse(args, _OF_TEXTS + _OF_DOCUMENTS + _OF_BOTH, f"with {model.model_name}, which reads pictures")
        return pictures.predict(model.to(device_of(args.device)), args)
    if isinstance(model, EntityTagger):
        _refuse(args, _OF_PICTURES + _OF_DOCUMENTS, f"with {model.model_name}, which reads texts")
        return entities.predict(model.to(device_of(args.device)), args)
    if isinstance(model, DocumentRelations):
        _refuse(args, _OF_PICTURES + _OF_TEXTS, f"with {model.model_name}, which reads documents")
        return relations.predict(model.to(device_of(args.device)), args)
    hint = "pydlx sample draws with it, or pydlx blend --method gp-gan --checkpoint"
    if isinstance(model, Reader):
        hint = "pydlx answer asks it"
    raise ValueError(f"{model.model_name} neither labels pixels nor finds boxes, entities or relations; {hint}")


def _check(args: argparse.Namespace) -> None:
    """Refuses what no kind of model takes, and files that cannot be read or written."""
    check_checkpoint(args.checkpoint)
    if args.data is None and not args.inputs:
        raise ValueError("INPUT or --data must say what to look at")
    if args.data is not None:
        if args.inputs:
            raise ValueError(f"INPUT must not be given with --data, got {args.inputs[0]!r}")
        if args.out is None:
            raise ValueError("--out must be given with --data")
        if args.json is not None:
            raise ValueError("--json must not be given with --data, of which --out is JSON")
        if args.data != STANDARD:
            check_file(args.data, "--data", or_folder=True)
        check_outputs({"--out": args.out}, {"--checkpoint": args.checkpoint, "--data": args.data})
    others = {"--annotations": args.annotations, "--relation-names": args.relation_names}
    for option, path in others.items():
        if path is not None:
            check_file(path, option)
    inputs = {f"INPUT '{given}'": given for given in args.inputs}
    check_outputs({"--json": args.json}, {"--checkpoint": args.checkpoint} | others | inputs)


def _refuse(args: argparse.Namespace, options: tuple[str, ...], hint: str) -> None:
    for name in options:
        if getattr(args, name) not in (None, False):
            raise ValueError(f"--{name.replace('_', '-')} must not be given {hint}")
