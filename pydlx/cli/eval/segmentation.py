"""``pydlx eval segmentation``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pydlx.cli.eval import report
from pydlx.cli.options import add_plot, count
from pydlx.cli.outputs import give_json, say
from pydlx.cli.progress import counting

if TYPE_CHECKING:
    from pydlx.metrics import ConfusionMetrics

_EXAMPLE = """\
example:
  pydlx eval segmentation truth/ predictions/ --classes 21 --ignore 255 --plot confusion.png

TRUTH and PREDICTIONS are folders with pictures of the same names, whose pixels are class numbers (grey or palette PNG,
TIFF, or .npy).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE
    parser.add_argument(
        "--classes", type=count, metavar="N", required=True, help="how many classes there are; they are numbered from 0"
    )
    parser.add_argument(
        "--ignore", type=int, metavar="LABEL", help="pixels of this label in TRUTH are left out, such as 255"
    )
    parser.add_argument("--names", type=_words, metavar="A,B,...", help="what the classes are called, for the table")
    parser.add_argument(
        "--zero-division",
        default="drop",
        choices=("drop", "0", "1", "nan"),
        help="what the score of a class is that is in neither map (default: drop, left out of means)",
    )
    parser.add_argument(
        "--average",
        default="macro",
        choices=("macro", "micro", "weighted"),
        help="how scores of classes become one: each counts once, each pixel does, or by frequency (default: macro)",
    )
    parser.add_argument(
        "--level",
        default="dataset",
        choices=("dataset", "image"),
        help="score all pixels of the data set together, or each image and take the mean (default: dataset)",
    )
    add_plot(parser, "the confusion matrix")


def run(args: argparse.Namespace) -> int:
    """Scores, shows and draws; returns the exit code."""
    from pydlx.data.label_maps import LabelMapPairs
    from pydlx.metrics import ConfusionMetrics, plot_confusion_matrix
    from pydlx.metrics.segmentation import PER_CLASS, SINGLE

    metrics = ConfusionMetrics(
        args.classes,
        args.ignore,
        zero_division=args.zero_division if args.zero_division == "drop" else float(args.zero_division),
        average=args.average,
        level=args.level,
        class_names=args.names,
    )
    skipped: list[str] = []
    pairs = LabelMapPairs(args.truth, args.predictions)
    for number, (name, *_) in enumerate(counting(pairs.paths, "scoring")):
        try:
            _take(metrics, *pairs[number][1:])
        except (ValueError, OSError) as error:
            if not args.skip_bad:
                raise ValueError(f"{name}: {error}") from error
            skipped.append(f"{name}: {error}")
    if args.plot:
        plot_confusion_matrix(metrics.matrix, args.names, path=args.plot)
    computed = metrics.compute()
    scores = {key: computed[key].tolist() for key in (*SINGLE, *PER_CLASS)}
    content = {"results": scores, "images": len(pairs) - len(skipped), "skipped": len(skipped)}
    if not give_json(args.json, content):
        print(metrics.table())
        if args.plot:
            say(f"drawn to {args.plot}")
    report.print_skipped(skipped)
    return 0


def _take(metrics: ConfusionMetrics, truth: Any, prediction: Any) -> None:
    import numpy as np
    import torch

    def labels(values: np.ndarray) -> torch.Tensor:
        wide = values if values.dtype in (np.uint8, np.int16, np.int32, np.int64) else values.astype(np.int64)
        return torch.from_numpy(wide)[None]

    metrics.update(labels(prediction), labels(truth))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
