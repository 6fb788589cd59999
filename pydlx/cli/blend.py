"""``pydlx blend``: blend one picture file into another, or many by a list."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pydlx.blending import METHODS, BlendReport, blend, centred_offset, read_image, write_image
from pydlx.blending.methods import check_options, find_method
from pydlx.blending.recolour import find_network
from pydlx.cli.blend_list import Offset, blend_list, read_list
from pydlx.cli.progress import doing

_EXAMPLE = """\
example:
  pydlx blend --source bear.jpg --target lake.jpg --mask bear_mask.png \\
      --offset 332,404 --method poisson --out blended.png
  pydlx blend --list pictures.txt --method gp-gan --out blended/
  torchrun --nproc-per-node 2 -m pydlx.cli blend --list pictures.txt --method gp-gan --out blended/

The mask has the source's size: white is pasted, black is not, grey is blended softly; files of 0 and 1 do, too.
The offset is the row and column of the target where the source's top-left pixel lands; it may be negative.

A list has lines source;target;mask or source;target;mask;row,column with paths relative to it; # begins a comment.
The same command again goes on where it was stopped: results that are there are not made again.
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
    "network",
    "official_pyramid",
    "iterations",
    "seed",
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
    files.add_argument("--source", metavar="FILE", help="picture to take from")
    files.add_argument("--target", metavar="FILE", help="picture to blend into")
    files.add_argument("--mask", metavar="FILE", help="what of the source to take, of the source's size")
    files.add_argument("--out", required=True, metavar="FILE", help="where to write the result; a folder with --list")
    files.add_argument("--list", type=Path, metavar="FILE", help="list of pictures, in place of the first three")
    files.add_argument(
        "--threads", type=int, metavar="N", help="with --list, threads of each process (default: its share of cores)"
    )
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
    whole = parser.add_argument_group("for modified-poisson, gaussian-poisson and gp-gan")
    whole.add_argument(
        "--beta", type=float, metavar="X", help="weight of the colours (default: 1e-8; 1; gp-gan's by the network)"
    )
    whole = parser.add_argument_group("for modified-poisson and gaussian-poisson")
    whole.add_argument("--colour", metavar="FILE", help="picture to take the colours from (default: plain pasting)")
    gaussian = parser.add_argument_group("for gaussian-poisson and gp-gan")
    gaussian.add_argument("--sigma", type=float, metavar="X", help="blur of the colours in pixels (default: 0.5)")
    gaussian.add_argument("--formulation", metavar="NAME", help="official, paper or screened (default: official)")
    gaussian.add_argument("--taps", metavar="NAME", help="upstream or normalised (default: upstream)")
    gaussian = parser.add_argument_group("for gaussian-poisson")
    gaussian.add_argument("--pyramid", metavar="NAME", help="aspect or square (default: aspect)")
    gaussian.add_argument("--levels", type=int, metavar="N", help="levels from the top (default: all)")
    _add_gp_gan(parser.add_argument_group("for gp-gan"))
    parser.set_defaults(run=run)
    return parser


def _add_gp_gan(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--checkpoint", dest="network", metavar="FILE", help="network to use (default: the one that comes with pydlx)"
    )
    group.add_argument(
        "--official-pyramid", action="store_true", default=None, help="square levels, as in the authors' program"
    )
    group.add_argument(
        "--iterations", type=int, metavar="N", help="of an unsupervised network's search (default: 1000)"
    )
    group.add_argument("--seed", type=int, metavar="N", help="of that search (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Reads, blends, writes and says so; returns the exit code."""
    try:
        _check_files(args)
        if args.list is not None:
            return _blend_list(args)
        report = _blend_files(args)
    except (ValueError, TypeError, OSError) as error:
        print(f"pydlx blend: {str(error).removeprefix('blend: ')}", file=sys.stderr)
        return 2
    print(_summary(report))
    print(f"written to {args.out}")
    return 0


def _check_files(args: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("source", "target", "mask") if getattr(args, name) is not None]
    if len(given) != (0 if args.list else 3):
        wanted = "--list alone" if args.list else "--source, --target and --mask"
        raise ValueError(f"needs {wanted} to say which pictures, got {', '.join(given) or 'none of them'}")
    if args.threads is not None and args.list is None:
        raise ValueError("--threads goes with --list only")
    if args.network is not None and args.method != "gp-gan":
        raise ValueError(f"--checkpoint goes with --method gp-gan only, got --method {args.method}")


def _blend_files(args: argparse.Namespace) -> BlendReport:
    source, target, mask = (read_image(path) for path in (args.source, args.target, args.mask))
    offset = _place(args.offset, source, target)
    with doing(f"blending {target.shape[0]} x {target.shape[1]} pixels by {args.method}"):
        picture, report = blend(source, target, mask, offset, args.method, return_report=True, **_options(args))
    write_image(args.out, picture)
    return report


def _blend_list(args: argparse.Namespace) -> int:
    options = _options(args)
    find_method(args.method)
    check_options(args.method, {name: options[name] for name in options.keys() - {"rounding", "threshold"}})
    if args.method == "gp-gan":  # loaded once
        options["network"] = find_network(options.get("network"), torch.device("cpu"))

    def blender(source: np.ndarray, target: np.ndarray, mask: np.ndarray, offset: Offset) -> np.ndarray:
        return blend(source, target, mask, _place(offset, source, target), args.method, **options)

    return blend_list(read_list(args.list, args.offset, _offset), Path(args.out), blender, args.threads)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Those of `blend` that were given."""
    options = {name: value for name in _PASSED_ON if (value := getattr(args, name)) is not None}
    if "colour" in options:
        options["colour"] = read_image(options["colour"])
    return options


def _place(offset: Offset, source: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    return centred_offset(source.shape[:2], target.shape[:2]) if isinstance(offset, str) else offset


def _summary(report: BlendReport) -> str:
    facts = [f"{report.size[0]} x {report.size[1]} pixels"]
    if report.relative_residual is not None:
        facts.append(f"{report.unknowns} solved for")
        if report.levels > 1:
            facts.append(f"{report.levels} levels")
        facts.append(f"relative residual {report.relative_residual:.1e}")
    facts.append(f"{report.seconds:.2f} s")
    return f"{report.method}: {', '.join(facts)}"


def _offset(text: str) -> Offset:
    if text == "centre":
        return text
    if not re.fullmatch(r"\s*[+-]?\d+\s*,\s*[+-]?\d+\s*", text):
        raise argparse.ArgumentTypeError(f"must be R,C in whole pixels, such as -3,10, or centre, got {text!r}")
    row, column = (int(value) for value in text.split(","))
    return row, column
