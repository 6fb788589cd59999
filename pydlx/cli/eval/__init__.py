"""``pydlx eval``: predictions against the truth."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from pydlx.cli.inputs import check_file, check_folder_there, standard_input
from pydlx.cli.options import STANDARD, add_json, new_command
from pydlx.cli.outputs import check_outputs

KINDS = {
    "keypoints": "average precision of keypoints (COCO, CrowdPose, COCO-WholeBody JSON)",
    "boxes": "average precision of boxes (COCO JSON)",
    "masks": "average precision of instance masks (COCO JSON with polygons or run lengths)",
    "segmentation": "IoU, Dice and accuracy of label maps (folders of pictures)",
    "images": "PSNR, SSIM, MSE, RMSE and MAE of pictures (two files or folders)",
    "squad": "exact match and F1 of answers (SQuAD 1.1 and 2.0 JSON)",
    "cmrc": "exact match and F1 of Chinese answers (CMRC2018 JSON)",
    "answers": "BLEU and ROUGE-L (DuReader, MS MARCO), accuracy of cloze and choices (CMRC2017, DREAM)",
    "entities": "precision, recall and F1 of entities (CLUENER JSON lines, tables of tags)",
    "relations": "precision, recall, F1 and Ign F1 of relations (DocRED JSON)",
}
_CAN_SKIP = ("keypoints", "boxes", "masks", "segmentation", "images")
_OF_PICTURES = ("segmentation", "images")  # read by name: standard input cannot stand for them
_MAY_BE_FOLDERS = ("images", "entities")

_EXAMPLE = """\
example:
  pydlx eval keypoints person_keypoints_val2017.json detections.json.gz --per-keypoint --plot curves.png
  pydlx eval segmentation truth/ predictions/ --classes 21 --ignore 255 --json
  pydlx eval squad dev-v2.0.json predictions.json --version 2.0 --na-probs na_prob.json

Every kind has its own --help. In JSON a score that is not defined, or infinite, is null.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``eval`` to the command line."""
    parser = subparsers.add_parser(
        "eval",
        help="measure predictions against the truth",
        description="Measure predictions against the truth.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True)
    for kind, summary in KINDS.items():
        own = new_command(kinds, kind, summary, f"Measure {summary}.", "")
        form = "folder or picture" if kind == "images" else "folder" if kind in _OF_PICTURES else "file"
        either = "" if kind in _OF_PICTURES else ", or - for standard input"
        own.add_argument("truth", metavar="TRUTH", help=f"{form} with what is right{either}")
        own.add_argument("predictions", metavar="PREDICTIONS", help=f"{form} with what was predicted{either}")
        add_json(own)
        if kind in _CAN_SKIP:
            own.add_argument(
                "--skip-bad", action="store_true", help="leave out what cannot be used, and say how much that is"
            )
        _module(kind).add_arguments(own)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures and says so; returns the exit code."""
    arguments = ("truth", "predictions", "na_probs", "train")
    inputs = {name: path for name in arguments if (path := getattr(args, name, None)) is not None}
    if list(inputs.values()).count(STANDARD) > 1:
        raise ValueError("only one of the files can be standard input, got - twice")
    for name, path in inputs.items():
        if path == STANDARD:
            if args.kind in _OF_PICTURES:
                raise ValueError(f"{_called(name)}: pictures cannot be read from standard input")
        elif args.kind == "segmentation":
            check_folder_there(path, _called(name))
        else:
            check_file(path, _called(name), or_folder=args.kind in _MAY_BE_FOLDERS)
    outputs = {"--json": args.json, "--plot": getattr(args, "plot", None)}
    check_outputs(outputs, {_called(name): path for name, path in inputs.items()})
    with ExitStack() as stack:
        for name, path in inputs.items():
            if path == STANDARD:
                setattr(args, name, stack.enter_context(standard_input(_called(name))))
        return _module(args.kind).run(args)


def _called(name: str) -> str:
    """What an argument is called on the command line."""
    return name.upper() if name in ("truth", "predictions") else f"--{name.replace('_', '-')}"


def _module(kind: str) -> Any:
    return import_module(f"pydlx.cli.eval.{'coco_files' if kind in ('keypoints', 'boxes', 'masks') else kind}")
