"""``pydlx blend``: blend one picture file into another, or many by a list."""

from __future__ import annotations

import argparse
import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx.blending import METHODS, BlendReport, blend, centred_offset
from pydlx.blending.equation import FORMULATIONS, TAPS
from pydlx.blending.images import ROUNDINGS
from pydlx.blending.methods import check_options
from pydlx.blending.pyramid import PYRAMIDS
from pydlx.blending.recolour import find_network
from pydlx.cli.blend_list import Offset, blend_list, read_list
from pydlx.cli.eval.report import warnings_on_stderr
from pydlx.cli.inputs import check_file
from pydlx.cli.options import STANDARD, add_device, device_of, new_command
from pydlx.cli.outputs import check_folder, check_outputs, say
from pydlx.cli.progress import doing
from pydlx.files import png_bytes, read_image, write_image

_EXAMPLE = """\
example:
  pydlx blend --source bear.jpg --target lake.jpg --mask bear_mask.png \\
      --offset 332,404 --method poisson --out blended.png
  pydlx blend --source bear.jpg --target lake.jpg --mask bear_mask.png --center 555,480 --feather 5 --out blended.tif
  curl -s https://example.com/bear.jpg | pydlx blend --source - --target lake.jpg --mask bear_mask.png --out - > out.png
  pydlx blend --list pictures.txt --method gp-gan --out blended/
  torchrun --nproc-per-node 2 -m pydlx.cli blend --list pictures.txt --method gp-gan --out blended/

White in the mask is pasted, black is not, and grey is blended softly; files of 0 and 1 do, too. The mask has the size
of the source, or that of the target and then says where in the target the source may show.

Pictures keep their depth: 16-bit files give 16-bit results, which .png and .tif hold; .tif and .npy hold floats.
Colours other than sRGB's are converted to sRGB, with a warning, and results are sRGB without a profile.

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
    "feather",
    "network",
    "official_pyramid",
    "iterations",
    "seed",
)


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``blend`` to the command line."""
    parser = new_command(
        subparsers,
        "blend",
        "blend a picture into another",
        "Blend the part of a source picture under a mask into a target picture.",
        _EXAMPLE,
    )
    # Lets `--offset -3,10` through: argparse takes what matches this for a value, not for an option.
    parser._negative_number_matcher = re.compile(r"-\d+(,-?\d+)?$|-\d*\.\d+$")
    _add_pictures(parser.add_argument_group("pictures"))
    places = parser.add_mutually_exclusive_group()
    places.add_argument(
        "--offset",
        type=_offset,
        metavar="R,C",
        help="row and column of the target where the source's top-left pixel lands, which may be negative; or "
        "'center', to put the middle of the source on that of the target (default: 0,0)",
    )
    places.add_argument(
        "--center",
        "--centre",
        type=_center,
        metavar="X,Y",
        help="column and row of the target where the middle of the mask lands, as in OpenCV's seamlessClone",
    )
    parser.add_argument("--method", default="poisson", choices=METHODS, help="how to blend (default: poisson)")
    parser.add_argument(
        "--feather", type=int, metavar="N", help="make the mask's edge soft over N pixels, inwards (default: 0)"
    )
    parser.add_argument(
        "--mask-threshold",
        dest="threshold",
        type=float,
        metavar="T",
        help="make the mask hard: 1 where it is above T, from 0 to 1, and 0 elsewhere",
    )
    parser.add_argument("--rounding", choices=ROUNDINGS, help="how integer pictures are rounded (default: nearest)")
    add_device(parser)
    masked = parser.add_argument_group("for poisson, mixed, average and monochrome")
    masked.add_argument("--tolerance", type=float, metavar="X", help="stop at this relative residual (default: 1e-6)")
    whole = parser.add_argument_group("for modified-poisson, gaussian-poisson and gp-gan")
    whole.add_argument(
        "--beta",
        type=float,
        metavar="X",
        help="weight of the colours (default: 1e-8 for modified-poisson, 1 for gaussian-poisson, by the network "
        "for gp-gan)",
    )
    whole = parser.add_argument_group("for modified-poisson and gaussian-poisson")
    whole.add_argument(
        "--colour", metavar="FILE", help="take the colours from this picture (default: the plain composite)"
    )
    gaussian = parser.add_argument_group("for gaussian-poisson and gp-gan")
    gaussian.add_argument(
        "--sigma", type=float, metavar="X", help="blur the colours by this many pixels (default: 0.5)"
    )
    gaussian.add_argument("--formulation", choices=FORMULATIONS, help="which equation to solve (default: official)")
    gaussian.add_argument("--taps", choices=TAPS, help="which taps the Gaussian has (default: upstream)")
    gaussian = parser.add_argument_group("for gaussian-poisson")
    gaussian.add_argument(
        "--pyramid", choices=tuple(PYRAMIDS), help="what proportions the coarse levels have (default: aspect)"
    )
    gaussian.add_argument(
        "--levels", type=int, metavar="N", help="use this many levels, counted from the finest (default: all)"
    )
    _add_gp_gan(parser.add_argument_group("for gp-gan"))
    parser.set_defaults(run=run)
    return parser


def _add_pictures(files: argparse._ArgumentGroup) -> None:
    files.add_argument("--source", metavar="FILE", help="picture to take from; - reads it from standard input")
    files.add_argument("--target", metavar="FILE", help="picture to blend into; - reads it from standard input")
    files.add_argument(
        "--mask",
        metavar="FILE",
        help="what of the source to take, of its size or the target's; - reads it from standard input",
    )
    files.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="where to write the result; a folder with --list; - writes a PNG file to standard output",
    )
    files.add_argument("--list", type=Path, metavar="FILE", help="list of pictures, in place of the first three")
    files.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="with --list, let each process use N threads (default: its share of the cores)",
    )


def _add_gp_gan(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--checkpoint", dest="network", metavar="FILE", help="use this network (default: the one that comes with pydlx)"
    )
    group.add_argument(
        "--official-pyramid",
        action="store_true",
        default=None,
        help="make the levels square, as GP-GAN's program does",
    )
    group.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help="let an unsupervised network search for this many steps (default: 1000)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="seed of that search (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Reads, blends, writes and says so; returns the exit code."""
    try:
        _check_files(args)
        if args.list is not None:
            return _blend_list(args)
        with warnings_on_stderr():
            report = _blend_files(args)
    except (ValueError, TypeError, OSError) as error:
        print(f"pydlx blend: {str(error).removeprefix('blend: ')}", file=sys.stderr)
        return 2
    say(_summary(report), sys.stderr if args.out == STANDARD else sys.stdout)
    if args.out != STANDARD:
        say(f"written to {args.out}")
    return 0


def _check_files(args: argparse.Namespace) -> None:
    inputs = {f"--{name}": getattr(args, name) for name in ("source", "target", "mask")}
    given = [option for option, path in inputs.items() if path is not None]
    if len(given) != (0 if args.list else 3):
        wanted = "--list alone" if args.list else "--source, --target and --mask"
        raise ValueError(f"needs {wanted} to say which pictures, got {', '.join(given) or 'none of them'}")
    piped = [option for option, path in inputs.items() if path == STANDARD]
    if len(piped) > 1:
        raise ValueError(f"only one picture can come from standard input, got - for {' and '.join(piped)}")
    if args.out == STANDARD and args.list is not None:
        raise ValueError("--list writes a folder of pictures, got --out -")
    if args.threads is not None and args.list is None:
        raise ValueError("--threads goes with --list only")
    if args.network is not None and args.method != "gp-gan":
        raise ValueError(f"--checkpoint goes with --method gp-gan only, got --method {args.method}")
    if args.list is not None:
        check_file(args.list, "--list")
        return check_folder(Path(args.out), "--out")
    for option, path in inputs.items():
        if path != STANDARD:
            check_file(path, option)
    return check_outputs({"--out": args.out}, inputs)


def _blend_files(args: argparse.Namespace) -> BlendReport:
    device = device_of(args.device)
    source, target = (_read(path) for path in (args.source, args.target))
    mask = _read(args.mask, to_srgb=False)
    where = _place(args, args.offset, source, target)
    with doing(f"blending {target.shape[0]} x {target.shape[1]} pixels by {args.method}"):
        source, target, mask = (_on(device, image) for image in (source, target, mask))
        picture, report = blend(source, target, mask, method=args.method, return_report=True, **where, **_options(args))
    _write(args.out, _as_array(picture))
    return report


def _read(path: str, to_srgb: bool = True) -> np.ndarray:
    return read_image(BytesIO(sys.stdin.buffer.read()) if path == STANDARD else path, to_srgb=to_srgb)


def _write(path: str, picture: np.ndarray) -> None:
    if path == STANDARD:
        sys.stdout.buffer.write(png_bytes(picture))
        sys.stdout.buffer.flush()
    else:
        write_image(path, picture)


def _on(device: torch.device, image: np.ndarray) -> Any:
    """The image where it is to be blended: NumPy's for the CPU, (C, H, W) for others."""
    if device.type == "cpu":
        return image
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    return torch.from_numpy(np.ascontiguousarray(planes)).to(device)


def _as_array(picture: Any) -> np.ndarray:
    return picture.movedim(0, -1).contiguous().cpu().numpy() if isinstance(picture, Tensor) else picture


def _blend_list(args: argparse.Namespace) -> int:
    device = device_of(args.device)
    options = _options(args)
    own = options.keys() - {"rounding", "threshold", "feather"}
    check_options(args.method, {name: options[name] for name in own})
    if args.method == "gp-gan":  # loaded once
        options["network"] = find_network(options.get("network"), device)

    def blender(source: np.ndarray, target: np.ndarray, mask: np.ndarray, offset: Offset | None) -> np.ndarray:
        where = _place(args, offset, source, target)
        source, target, mask = (_on(device, image) for image in (source, target, mask))
        return _as_array(blend(source, target, mask, method=args.method, **where, **options))

    return blend_list(read_list(args.list, args.offset, _offset), Path(args.out), blender, args.threads)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Those of `blend` that were given."""
    options = {name: value for name in _PASSED_ON if (value := getattr(args, name)) is not None}
    if "colour" in options:
        options["colour"] = _on(device_of(args.device), read_image(options["colour"]))
    return options


def _place(args: argparse.Namespace, offset: Offset | None, source: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """Where the source lands, as `blend` takes it; an offset of a list's line comes before --center."""
    if offset is None:
        return {"center": args.center}
    return {"offset": centred_offset(source.shape[:2], target.shape[:2]) if isinstance(offset, str) else offset}


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
    if text.strip() in ("center", "centre"):
        return "center"
    return _two_numbers(text, "R,C in whole pixels, such as -3,10, or center")


def _center(text: str) -> tuple[int, int]:
    return _two_numbers(text, "X,Y in whole pixels, such as 120,80")


def _two_numbers(text: str, wanted: str) -> tuple[int, int]:
    if not re.fullmatch(r"\s*[+-]?\d+\s*,\s*[+-]?\d+\s*", text):
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
    first, second = (int(value) for value in text.split(","))
    return first, second
