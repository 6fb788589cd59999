"""``pydlx info``: what this installation consists of."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from pydlx.cli.options import add_json, new_command
from pydlx.cli.outputs import check_outputs, give_json
from pydlx.tables import print_table

_EXAMPLE = """\
example:
  pydlx info
  pydlx info --json
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``info`` to the command line."""
    parser = new_command(
        subparsers,
        "info",
        "say what this installation consists of",
        "Say which kernels are compiled in, for what, and what they run on.",
        _EXAMPLE,
    )
    add_json(parser, "the facts")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints what `pydlx.build_info` says, and what torch finds here."""
    import pydlx

    check_outputs({"--json": args.json})
    facts = {**pydlx.build_info(), **_surroundings()}
    if not give_json(args.json, facts):
        print_table([(name, _text(value)) for name, value in facts.items()], left=(0, 1))
    return 0


def _surroundings() -> dict[str, Any]:
    import torch

    return {
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)
