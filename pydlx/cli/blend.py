"""``pydlx blend``: blend one picture file into another."""

from __future__ import annotations

import argparse
import re
import sys

from pydlx.blending import METHODS, BlendReport, blend, centred_offset, read_image, write_image
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx blend --source bear.jpg --target lake.jpg --mask bear_mask.png \\
      --offset 332,404 --method poisson --out blended.png

The mask has the source's size: white (or any positive value) is pasted, grey is blended softly.
The offset is the row and column of the target where the source's top-left pixel lands; it may be negative.
"""

# Options of blend() and of its methods that are passed on under their own names where the user gives them.
_PASSED_ON = (
    "tolerance",
    "beta",
    "sigma",
    "formulation",
    "taps",
    "pyramid",
    "levels",
    "colour",
    "rounding",
    "threshold",
)


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``blend`` to the command line."""
    parser = subparsers.add_parser(
        "blend",
        help="blend a picture into another",
        description="Blend the part of a source picture under a mask into a target picture.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Lets `--offset -3,10` through: argparse takes what matches this for a value, not for an option.
    parser._negative_number_matcher = re.compile(r"-\d+(,-?\d+)?$|-\d*\.\d+$")
    files = parser.add_argument_group("pictures")
    files.add_argument("--source", required=True, metavar="FILE", help="picture to take from")
    files.add_argument("--target", required=True, metavar="FILE", help="picture to blend into")
    files.add_argument("--mask", required=True, metavar="FILE", help="what of the source to take, of the source's size")
    files.add_argument("--out", required=True, metavar="FILE", help="where to write the result")
    parser.add_argument(
        "--offset", type=_offset, default=(0, 0), metavar="R,C", help="row,column in the target, or 'centre' (0,0)"
    )
    parser.add_argument(
        "--method", default="poisson", metavar="NAME", help=f"one of {', '.join(METHODS)} (default: poisson)"
    )
    parser.add_argument("--rounding", metavar="MODE", help="nearest or truncate (default: nearest)")
    parser.add_argument(
        "--mask-threshold", dest="threshold", type=float, metavar="T", help="make the mask hard: 1 above T, 0 elsewhere"
    )
    masked = parser.add_argument_group("for poisson, mixed, average and monochrome")
    masked.add_argument("--tolerance", type=float, metavar="X", help="relative residual to stop at (default: 1e-6)")
    whole = parser.add_argument_group("for modified-poisson and gaussian-poisson")
    whole.add_argument("--beta", type=float, metavar="X", help="weight of the colours (default: 1e-8 and 1)")
    whole.add_argument("--colour", metavar="FILE", help="picture to take the colours from (default: plain pasting)")
    gaussian = parser.add_argument_group("for gaussian-poisson")
    gaussian.add_argument("--sigma", type=float, metavar="X", help="blur of the colours in pixels (default: 0.5)")
    gaussian.add_argument("--formulation", metavar="NAME", help="official, paper or screened (default: official)")
    gaussian.add_argument("--taps", metavar="NAME", help="upstream or normalised (default: upstream)")
    gaussian.add_argument("--pyramid", metavar="NAME", help="aspect or square (default: aspect)")
    gaussian.add_argument("--levels", type=int, metavar="N", help="levels from the top (default: all)")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Reads, blends, writes and says so; returns the exit code."""
    try:
        report = _blend_files(args)
    except (ValueError, TypeError, NotImplementedError, OSError) as error:
        print(f"pydlx blend: {str(error).removeprefix('blend: ')}", file=sys.stderr)
        return 2
    print(_summary(report))
    print(f"written to {args.out}")
    return 0


def _blend_files(args: argparse.Namespace) -> BlendReport:
    source, target, mask = (read_image(path) for path in (args.source, args.target, args.mask))
    options = {name: value for name in _PASSED_ON if (value := getattr(args, name)) is not None}
    if "colour" in options:
        options["colour"] = read_image(options["colour"])
    offset = centred_offset(source.shape[:2], target.shape[:2]) if args.offset == "centre" else args.offset
    with doing(f"blending {target.shape[0]} x {target.shape[1]} pixels by {args.method}"):
        picture, report = blend(source, target, mask, offset, args.method, return_report=True, **options)
    write_image(args.out, picture)
    return report


def _summary(report: BlendReport) -> str:
    facts = [f"{report.size[0]} x {report.size[1]} pixels"]
    if report.relative_residual is not None:
        facts.append(f"{report.unknowns} solved for")
        if report.levels > 1:
            facts.append(f"{report.levels} levels")
        facts.append(f"relative residual {report.relative_residual:.1e}")
    facts.append(f"{report.seconds:.2f} s")
    return f"{report.method}: {', '.join(facts)}"


def _offset(text: str) -> tuple[int, int] | str:
    if text == "centre":
        return text
    if not re.fullmatch(r"\s*[+-]?\d+\s*,\s*[+-]?\d+\s*", text):
        raise argparse.ArgumentTypeError(f"must be R,C in whole pixels, such as -3,10, or centre, got {text!r}")
    row, column = (int(value) for value in text.split(","))
    return row, column
