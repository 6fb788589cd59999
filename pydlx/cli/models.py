"""``pydlx models``: which models there are."""

from __future__ import annotations

import argparse
import difflib
import fnmatch

from pydlx.cli.options import add_json, add_plot, new_command
from pydlx.cli.outputs import check_outputs, give_json, say
from pydlx.tables import print_table, print_text

_EXAMPLE = """\
example:
  pydlx models "fcn*"
  pydlx models --fusions --plot fusions.png
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``models`` to the command line."""
    parser = new_command(
        subparsers,
        "models",
        "list the models and their options",
        "List the models that create_model builds, each with its options and their defaults; ... must be given.",
        _EXAMPLE,
    )
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="which models, such as 'fcn*'")
    add_json(parser, "them")
    parser.add_argument(
        "--fusions", action="store_true", help="list the ways in which readers bring passage and question together"
    )
    add_plot(parser, "the fusions, with --fusions,")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the names and options, or the readers' kinds of fusion."""
    if args.plot is not None and not args.fusions:
        raise ValueError("--plot must come with --fusions, of which there is a picture")
    check_outputs({"--json": args.json, "--plot": args.plot})
    return _fusions(args) if args.fusions else _models(args)


def _models(args: argparse.Namespace) -> int:
    from pydlx.models import list_models
    from pydlx.models.registry import all_options, required_options

    found = {name: dict.fromkeys(required_options(name)) | all_options(name, {}) for name in list_models(args.pattern)}
    if not found:
        near = difflib.get_close_matches(args.pattern, list_models(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no model is called {args.pattern!r}{hint}")
    if give_json(args.json, found):
        return 0
    for name, options in found.items():
        required = required_options(name)
        print_text(name)
        shown = (f"{key}={'...' if key in required else repr(value)}" for key, value in options.items())
        print_text(", ".join(shown), indent=4)
    return 0


def _fusions(args: argparse.Namespace) -> int:
    from pydlx.models.readers.fusion_table import draw_fusion_table, fusion_table
    from pydlx.models.readers.fusions import FUSIONS

    table = {name: kinds for name, kinds in fusion_table().items() if fnmatch.fnmatchcase(name, args.pattern)}
    if not table:
        raise ValueError(f"no reader is called {args.pattern!r}")
    if args.plot is not None:
        draw_fusion_table(table, args.plot)
    if give_json(args.json, table):
        return 0
    print_table([(name, ", ".join(FUSIONS[kind] for kind in kinds)) for name, kinds in table.items()], left=(0, 1))
    if args.plot is not None:
        say(f"drawn to {args.plot}")
    return 0
