"""``pydlx eval``: predictions against the truth."""

from __future__ import annotations

import argparse
import importlib

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

_EXAMPLE = """\
example:
  pydlx eval keypoints person_keypoints_val2017.json detections.json.gz --per-keypoint --plot curves.png
  pydlx eval segmentation truth/ predictions/ --classes 21 --ignore 255 --json
  pydlx eval squad dev-v2.0.json predictions.json --version 2.0 --na-probs na_prob.json

Every kind has its own --help.
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
        own = kinds.add_parser(
            kind,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=parser.formatter_class,
        )
        own.add_argument("truth", metavar="TRUTH")
        own.add_argument("predictions", metavar="PREDICTIONS")
        own.add_argument("--json", action="store_true", help="print one JSON object")
        if kind in _CAN_SKIP:
            own.add_argument("--skip-bad", action="store_true", help="leave out what cannot be used, and count it")
        _module(kind).add_arguments(own)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures and says so; returns the exit code."""
    return _module(args.kind).run(args)


def _module(kind: str):
    return importlib.import_module(
        f"pydlx.cli.eval.{'coco_files' if kind in ('keypoints', 'boxes', 'masks') else kind}"
    )
