"""``pydlx models``: which models there are."""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import json
from pathlib import Path

from pydlx.models import list_models
from pydlx.models.registry import all_options, required_options

_EXAMPLE = """\
example:
  pydlx models "fcn*"
  pydlx models --fusions --plot fusions.png
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``models`` to the command line."""
    parser = subparsers.add_parser(
        "models",
        help="list the models and their options",
        description="List the models that create_model builds, each with its options and their defaults, ... for none.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pattern", nargs="?", default="*", help="of names, such as 'fcn*'")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--fusions", action="store_true", help="how readers bring passage and question together")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="with --fusions: draw them to FILE (.png, .svg, .pdf)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the names and options, or the readers' kinds of fusion."""
    if args.plot is not None and not args.fusions:
        raise ValueError("--plot must come with --fusions, of which there is a picture")
    if args.fusions:
        return _fusions(args)
    found = {name: dict.fromkeys(required_options(name)) | all_options(name, {}) for name in list_models(args.pattern)}
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    if not found:
        near = difflib.get_close_matches(args.pattern, list_models(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no model is called {args.pattern!r}{hint}")
    for name, options in found.items():
        print(name)
        required = required_options(name)
        shown = ("..." if key in required else repr(value) for key, value in options.items())
        print("   ", ", ".join(f"{key}={value}" for key, value in zip(options, shown, strict=True)))
    return 0


def _fusions(args: argparse.Namespace) -> int:
    from pydlx.models.readers.fusion_table import draw_fusion_table, fusion_table
    from pydlx.models.readers.fusions import FUSIONS

    table = {name: kinds for name, kinds in fusion_table().items() if fnmatch.fnmatchcase(name, args.pattern)}
    if not table:
        raise ValueError(f"no reader is called {args.pattern!r}")
    if args.plot is not None:
        draw_fusion_table(table, args.plot)
    if args.json:
        print(json.dumps(table, indent=2))
        return 0
    width = max(map(len, table))
    for name, kinds in table.items():
        print(f"{name:{width}}  {', '.join(FUSIONS[kind] for kind in kinds)}")
    return 0
