"""``pydlx eval keypoints``, ``pydlx eval boxes`` and ``pydlx eval masks``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydlx.cli.eval import report
from pydlx.cli.options import add_plot, count, positives
from pydlx.cli.outputs import give_json, say
from pydlx.cli.progress import doing

if TYPE_CHECKING:
    from pydlx.metrics import Evaluation

_EXAMPLES = {
    "keypoints": """\
example:
  pydlx eval keypoints person_keypoints_val2017.json detections.json --per-keypoint
  pydlx eval keypoints hands.json detections.json --sigmas 0.029,0.022,0.035 --no-area
""",
    "boxes": """\
example:
  pydlx eval boxes instances_val2017.json detections.json.gz --per-class --plot curves.png
  pydlx eval boxes instances_val2017.json detections.json --categories 1,3 --summary
""",
    "masks": """\
example:
  pydlx eval masks instances_val2017.json segments.json --per-class
""",
}

# COCO's names of the 17 keypoints.
_PAIRED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_COCO_NAMES = ["nose", *(f"{side} {part}" for part in _PAIRED for side in ("left", "right"))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of either kind."""
    kind = parser.prog.split()[-1]
    parser.epilog = _EXAMPLES[kind]
    add_plot(parser, "precision over recall")
    parser.add_argument("--per-class", action="store_true", help="give the AP of each category, too")
    parser.add_argument(
        "--pycocotools", action="store_true", help="lose the matches of annotations with id 0, as pycocotools does"
    )
    parser.add_argument("--summary", action="store_true", help="print the lines that COCO's tools print")
    parser.add_argument(
        "--images", type=_ids, metavar="ID,ID,...", help="evaluate the images of these ids alone (default: all)"
    )
    parser.add_argument(
        "--categories", type=_ids, metavar="ID,ID,...", help="evaluate the categories of these ids alone (default: all)"
    )
    if kind != "keypoints":
        parser.add_argument(
            "--class-agnostic",
            action="store_true",
            help="take all categories for one, so that only the place of a box counts",
        )
        return
    parser.add_argument("--per-keypoint", action="store_true", help="give the AP of each keypoint alone, too")
    parser.add_argument(
        "--layout",
        default="coco",
        choices=("coco", "crowdpose", "wholebody"),
        help="which data set's keypoints the files have (default: coco)",
    )
    parser.add_argument(
        "--sigmas", type=positives, metavar="S,S,...", help="how far each keypoint may be off (default: the layout's)"
    )
    parser.add_argument(
        "--no-area",
        action="store_true",
        help="measure distances by 0.53 times the area of the box, not by the area of the person",
    )
    parser.add_argument(
        "--max-detections", type=count, default=20, metavar="N", help="how many of an image count (default: 20)"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates, shows and draws; returns the exit code."""
    with report.warnings_on_stderr(), doing(f"evaluating {args.predictions} ({_megabytes(args.predictions)} MB)"):
        evaluation = _evaluate(args)
    if args.plot:
        _draw(args.plot, evaluation)
    if not give_json(args.json, _content(args, evaluation)):
        _print(args, evaluation)
        if args.plot:
            say(f"drawn to {args.plot}")
    report.print_skipped(evaluation.skipped)
    return 0


def _evaluate(args: argparse.Namespace) -> Evaluation:
    from pydlx.metrics import evaluate_boxes, evaluate_keypoints, evaluate_masks

    common: dict[str, Any] = {
        "image_ids": args.images,
        "category_ids": args.categories,
        "compatibility": "pycocotools" if args.pycocotools else None,
        "skip_bad": args.skip_bad,
    }
    if args.kind != "keypoints":
        evaluate = evaluate_boxes if args.kind == "boxes" else evaluate_masks
        return evaluate(args.truth, args.predictions, class_agnostic=args.class_agnostic, **common)
    return evaluate_keypoints(
        args.truth,
        args.predictions,
        layout=args.layout,
        sigmas=args.sigmas,
        max_detections=args.max_detections,
        use_area=False if args.no_area else None,
        per_keypoint=args.per_keypoint,
        **common,
    )


def _content(args: argparse.Namespace, evaluation: Evaluation) -> dict[str, object]:
    content: dict[str, object] = {"results": dict(evaluation), "skipped": len(evaluation.skipped)}
    if args.per_class:
        content["per_class"] = evaluation.per_category
    if evaluation.per_keypoint:
        content["per_keypoint"] = dict(_keypoints(evaluation))
    return content


def _print(args: argparse.Namespace, evaluation: Evaluation) -> None:
    if args.summary:
        say(evaluation.summary())
    else:
        report.print_table(evaluation.items())
    if args.per_class:
        print()
        report.print_table(evaluation.per_category.items(), ("category", "AP"))
    if evaluation.per_keypoint:
        print()
        report.print_table(_keypoints(evaluation), ("keypoint", "AP"))


def _keypoints(evaluation: Evaluation) -> list[tuple[str, float]]:
    values = evaluation.per_keypoint
    names = _COCO_NAMES if len(values) == len(_COCO_NAMES) else [f"keypoint {k}" for k in range(len(values))]
    return list(zip(names, values, strict=True))


def _draw(path: Path, evaluation: Evaluation) -> None:
    from pydlx.metrics import plot_precision_recall

    plot_precision_recall(list(evaluation.curves.values())[-1], path=path)


def _megabytes(path: str) -> int:
    return round(Path(path).stat().st_size / 1e6)


def _ids(text: str) -> list[int | str]:
    """Numbers where a word is one, else strings."""
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise argparse.ArgumentTypeError(f"must be ids with commas between them, got {text!r}")
    return [int(word) if word.removeprefix("-").isdecimal() else word for word in words]
