"""``pydlx completion``: lets the shell complete what is typed behind ``pydlx``."""

from __future__ import annotations

import argparse
import os
import shlex

from pydlx._optional import needed_for
from pydlx.cli.options import new_command

_EXAMPLE = """\
example:
  pydlx completion bash >> ~/.bashrc
  pydlx completion zsh >> ~/.zshrc
  pydlx completion fish > ~/.config/fish/completions/pydlx.fish

Prints a script for the shell, which asks pydlx itself for commands, options, their choices and files, so that it stays
right when pydlx is updated. Needs argcomplete: pip install "pydlx[cli]".
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``completion`` to the command line."""
    parser = new_command(
        subparsers,
        "completion",
        "let the shell complete commands, options and files",
        "Print a script with which a shell completes commands, options, their choices and the names of files.",
        _EXAMPLE,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the script."""
    with needed_for("completion", extra="cli"):
        import argcomplete

    print(argcomplete.shellcode(["pydlx"], shell=args.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell that asks what could be typed next, and ends the process.

    "bench readers" is one command to the parser, so to completion it is ``bench`` with ``readers`` among its words.
    """
    try:
        import argcomplete
    except ModuleNotFoundError:
        return
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    readers = commands.choices.pop("bench readers")
    commands._choices_actions = [action for action in commands._choices_actions if action.dest != "bench readers"]
    if words_to_complete()[:2] == ["bench", "readers"]:
        commands.choices["bench"] = readers
    argcomplete.autocomplete(parser, exclude=["-h", "--help"])


def words_to_complete() -> list[str]:
    """The words behind ``pydlx`` on the shell's line, where the shell asks for completion."""
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0") or 0)]
    if "_ARGCOMPLETE" not in os.environ:
        return []
    try:
        return shlex.split(line)[1:]
    except ValueError:  # a quotation is still open
        return line.split()[1:]
