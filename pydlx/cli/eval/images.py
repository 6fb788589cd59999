"""``pydlx eval images``."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydlx.cli.eval import report
from pydlx.cli.options import positive
from pydlx.cli.outputs import give_json
from pydlx.cli.progress import counting

_MEASURES = ("psnr", "ssim", "mse", "rmse", "mae")

_EXAMPLE = """\
example:
  pydlx eval images photo.png restored.png
  pydlx eval images photos/ restored/ --per-image --json

TRUTH and PREDICTIONS are two pictures, or two folders with pictures of the same names.
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
    means = {key: sum(values[key] for values in each.values()) / len(each) for key in _MEASURES}
    content = {"results": means, "images": len(each), "skipped": len(skipped)}
    if not give_json(args.json, content | ({"per_image": each} if args.per_image else {})):
        rows = [(name, *values.values()) for name, values in each.items()] if args.per_image or len(each) == 1 else []
        mean = [(f"mean of {len(each)}", *means.values())] if len(each) > 1 else []
        report.print_table([*rows, *mean], ("", *(name.upper() for name in _MEASURES)))
    report.print_skipped(skipped)
    return 0


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

    x, y = read_image(truth), read_image(prediction)
    return {
        "psnr": metrics.psnr(x, y, data_range),
        "ssim": metrics.ssim(x, y, data_range, convention=convention),
        "mse": metrics.mse(x, y),
        "rmse": metrics.rmse(x, y),
        "mae": metrics.mae(x, y),
    }
