"""``pydlx info``: what this installation consists of."""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import torch

import pydlx

_EXAMPLE = """\
example:
  pydlx info
  pydlx info --json
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``info`` to the command line."""
    parser = subparsers.add_parser(
        "info",
        help="say what this installation consists of",
        description="Say which kernels are compiled in, for what, and what they run on.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints what `pydlx.build_info` says, and what torch finds here."""
    facts = {**pydlx.build_info(), **_surroundings()}
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {_text(value)}")
    return 0


def _surroundings() -> dict[str, Any]:
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
