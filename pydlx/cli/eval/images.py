"""``pydlx eval images``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydlx.cli.eval import report
from pydlx.cli.options import positive
from pydlx.cli.outputs import give_json
from pydlx.cli.progress import counting

if TYPE_CHECKING:
    import numpy as np

_MEASURES = ("psnr", "ssim", "mse", "rmse", "mae")

_EXAMPLE = """\
example:
  pydlx eval images photo.png restored.png
  pydlx eval images photos/ restored/ --per-image --json

TRUTH and PREDICTIONS are two pictures, or two folders with pictures of the same names. Colours are compared alone,
without transparency.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.epilog = _EXAMPLE
    parser.add_argument("--per-image", action="store_true", help="give the numbers of each picture, too")
    parser.add_argument(
        "--data-range",
        type=positive,
        metavar="L",
        help="largest minus least possible value of a channel (default: that of its integers; needed for floats)",
    )
    parser.add_argument(
        "--convention",
        default="wang2004",
        choices=("wang2004", "skimage", "torchmetrics"),
        help="whose windows and borders SSIM has (default: wang2004)",
    )


def run(args: argparse.Namespace) -> int:
    """Measures and shows; returns the exit code."""
    skipped: list[str] = []
    each: dict[str, dict[str, float]] = {}
    for name, truth, prediction in counting(_pairs(args.truth, args.predictions), "measuring"):
        try:
            each[name] = _measure(truth, prediction, args.data_range, args.convention)
        except (ValueError, OSError) as error:
            if not args.skip_bad:
                raise ValueError(f"{prediction}: {error}") from error
            skipped.append(f"{prediction}: {error}")
    if not each:
        raise ValueError(f"no picture could be measured; the first: {skipped[0]}")
    means = {key: _mean(values[key] for values in each.values()) for key in _MEASURES}
    equal = sum(values["mse"] == 0 for values in each.values())
    content = {"results": means, "images": len(each), "equal": equal, "skipped": len(skipped)}
    if not give_json(args.json, content | ({"per_image": each} if args.per_image else {})):
        rows = [(name, *values.values()) for name, values in each.items()] if args.per_image or len(each) == 1 else []
        mean = [(f"mean of {len(each)}", *means.values())] if len(each) > 1 else []
        report.print_table([*rows, *mean], ("", *(name.upper() for name in _MEASURES)))
    if 0 < equal < len(each):
        what = "equals the truth and is" if equal == 1 else "equal the truth and are"
        print(f"{equal} of {len(each)} pictures {what} left out of the mean PSNR", file=sys.stderr)
    report.print_skipped(skipped)
    return 0


def _mean(values: Iterable[float]) -> float:
    """Of the finite ones; equal pictures have an infinite PSNR. Infinite if all are."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.inf


def _pairs(truth: str, predictions: str) -> list[tuple[str, Path, Path]]:
    from pydlx.data.pairs import PICTURES, paired_files

    folders = Path(truth).is_dir(), Path(predictions).is_dir()
    if any(folders) and not all(folders):
        raise ValueError(
            f"TRUTH and PREDICTIONS must be two pictures or two folders, got '{truth}' and '{predictions}'"
        )
    if all(folders):
        return paired_files(truth, predictions, PICTURES)
    return [(Path(predictions).name, Path(truth), Path(predictions))]


def _measure(truth: Path, prediction: Path, data_range: float | None, convention: str) -> dict[str, float]:
    from pydlx import metrics
    from pydlx.files import read_image

    target, preds = (_colours(read_image(path), path) for path in (truth, prediction))
    return {
        "psnr": metrics.psnr(preds, target, data_range),
        "ssim": metrics.ssim(preds, target, data_range, convention=convention),
        "mse": metrics.mse(preds, target),
        "rmse": metrics.rmse(preds, target),
        "mae": metrics.mae(preds, target),
    }


def _colours(picture: np.ndarray, path: Path) -> np.ndarray:
    """A picture without its alpha channel, which would count as a colour that is always right."""
    if picture.ndim == 2 or picture.shape[-1] not in (2, 4):
        return picture
    alpha = picture[..., -1]
    if (alpha != alpha.max()).any():
        print(f"{path}: its transparency is ignored", file=sys.stderr)
    return picture[..., :3] if picture.shape[-1] == 4 else picture[..., 0]
