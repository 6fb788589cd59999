"""``pydlx export``: write a trained model as a program that runs without this package."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydlx.cli.inputs import check_checkpoint
from pydlx.cli.options import add_checkpoint, new_command
from pydlx.cli.outputs import check_outputs, say
from pydlx.cli.progress import doing

# As in pydlx.models.exporting, which imports torch.
_FORMATS = ("onnx", "torch", "aoti")

_EXAMPLE = """\
example:
  pydlx export --checkpoint runs/camvid/best.ckpt --size 180,240 --out fcn.onnx
  pydlx export --checkpoint runs/corner/best.ckpt --size 511,511 --out corner.onnx
  pydlx export --checkpoint runs/bidaf/best.ckpt --size 400,50 --any-size --out bidaf.onnx

The file is run once and its results are compared with the model's, but with --no-check.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``export`` to the command line."""
    parser = new_command(
        subparsers,
        "export",
        "write a model as ONNX or as a PyTorch program",
        "Write a trained model as one file that runs without this package.",
        _EXAMPLE,
    )
    add_checkpoint(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write, .onnx or .pt2")
    parser.add_argument(
        "--size",
        type=_size,
        required=True,
        metavar="H,W",
        help="height and width of the images, or how many tokens a passage and a question have",
    )
    parser.add_argument("--any-size", action="store_true", help="let the sizes vary, and the number of texts")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="onnx; torch, for torch.export.load; or aoti, compiled for this machine "
        "(default: onnx, torch for a file .pt2)",
    )
    parser.add_argument(
        "--no-check", action="store_true", help="do not run the file and compare, as for an untrained CornerNet"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Writes the file and says how far its results are from the model's."""
    check_checkpoint(args.checkpoint)
    check_outputs({"--out": args.out}, {"--checkpoint": args.checkpoint})
    chosen = args.format or ("torch" if args.out.suffix == ".pt2" else "onnx")
    options = {"format": chosen, "any_size": args.any_size, "check": not args.no_check}
    with doing(f"exporting to {args.out}"):
        from pydlx.models import load_model
        from pydlx.models.exporting import export_model

        report = export_model(load_model(args.checkpoint), args.out, args.size, **options)
    checked = f"largest difference from the model {report['largest_difference']:.1e}" if report else "not compared"
    say(f"written to {args.out}; {checked}")
    return 0


def _size(text: str) -> tuple[int, int]:
    words = text.split(",")
    if len(words) != 2 or not all(word.isascii() and word.isdecimal() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"must be two positive whole numbers H,W, got {text!r}")
    return int(words[0]), int(words[1])
