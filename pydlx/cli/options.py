"""Options that several commands have, under the same names, and the kinds of values that they take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STANDARD = "-"  # in place of a file's name: standard input or output


def new_command(
    subparsers: argparse._SubParsersAction, name: str, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
        subparsers: of the command line, or of a command of several kinds.
        name: of the command.
        summary: what it does, for the list of commands.
        description: the same in a sentence or two.
        example: begins with ``example:`` and stands below the arguments as it is.
    """
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="show no progress, and do not say what was written where"
    )
    return parser


def add_checkpoint(parser: argparse.ArgumentParser, of: str = "`pydlx train`, or of pydlx.models.save_model") -> None:
    """Declares ``--checkpoint``."""
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help=f"trained model, a file of {of}")


def add_device(parser: argparse._ActionsContainer) -> None:
    """Declares ``--device``."""
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="where to compute: cpu, cuda or cuda:N (default: cpu)"
    )


def device_of(name: str) -> torch.device:
    """The device that ``--device`` names.

    Raises:
        ValueError: there is no such device.
    """
    import torch

    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not number.isdecimal()):
        raise ValueError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device must be one that torch finds, got {name!r} of {torch.cuda.device_count()} GPUs")
    return torch.device(name)


def add_json(parser: argparse._ActionsContainer, what: str = "the results") -> None:
    """Declares ``--json [FILE]``."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=STANDARD,
        type=_json_file,
        metavar="FILE",
        help=f"print {what} as JSON in place of tables; with FILE (.json) also write it there and keep the tables",
    )


def add_plot(parser: argparse._ActionsContainer, what: str) -> None:
    """Declares ``--plot FILE``."""
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw {what} to FILE (.png, .svg or .pdf)")


def listed(choices: Collection[str]) -> str:
    """Choices as words of a sentence: a, b or c."""
    *most, last = choices
    return f"{', '.join(most)} or {last}" if most else last


def count(text: str) -> int:
    """A whole number of 1 or more."""
    return _whole(text, 1, "a positive whole number")


def whole(text: str) -> int:
    """A whole number of 0 or more."""
    return _whole(text, 0, "a whole number of 0 or more")


def positive(text: str) -> float:
    """A finite number above 0."""
    return _real(text, lambda value: value > 0, "a positive number")


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _real(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def positives(text: str) -> list[float]:
    """Positive numbers with commas between them."""
    try:
        return [positive(word) for word in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must be positive numbers with commas between them, got {text!r}") from None


def _whole(text: str, least: int, wanted: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
    return int(text)


def _real(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
    return value


def _json_file(text: str) -> str:
    """What stands behind ``--json`` is a file to write, and not an input that was meant to stand elsewhere."""
    if text != STANDARD and not text.endswith(".json"):
        raise argparse.ArgumentTypeError(
            f"must be the name of a .json file to write or -, got {text!r}; to print, put --json last"
        )
    return text
