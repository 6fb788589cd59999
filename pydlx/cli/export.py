"""``pydlx export``: write a trained model as a program that runs without this package."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydlx.cli.progress import doing
from pydlx.models import load_model
from pydlx.models.exporting import FORMATS, export_model

_EXAMPLE = """\
example:
  pydlx export runs/camvid/best.ckpt --size 180,240 --out fcn.onnx
  pydlx export runs/corner/best.ckpt --size 511,511 --out corner.onnx
  pydlx export runs/bidaf/best.ckpt --size 400,50 --any-size --out bidaf.onnx

The file is run once and its results are compared with the model's, but with --no-check.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``export`` to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX or as a PyTorch program",
        description="Write a trained model as one file that runs without this package.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of pydlx train, or of pydlx.models.save_model")
    parser.add_argument("--out", type=Path, required=True, help="the file: .onnx, or .pt2")
    parser.add_argument(
        "--size",
        type=_size,
        required=True,
        metavar="H,W",
        help="height and width of the images; tokens of the passage and of the question",
    )
    parser.add_argument("--any-size", action="store_true", help="let them vary, and the number of texts")
    parser.add_argument("--format", choices=list(FORMATS), help="by default onnx, or torch for .pt2")
    parser.add_argument("--no-check", action="store_true", help="do not run the file, as for an untrained CornerNet")
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the file and says how far its results are from the model's."""
    chosen = args.format or ("torch" if args.out.suffix == ".pt2" else "onnx")
    options = {"format": chosen, "any_size": args.any_size, "check": not args.no_check}
    with doing(f"exporting to {args.out}"):
        report = export_model(load_model(args.checkpoint), args.out, args.size, **options)
    checked = f"largest difference from the model {report['largest_difference']:.1e}" if report else "not compared"
    print(f"written to {args.out}; {checked}")
    return 0


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two whole numbers H,W") from None
    return height, width
