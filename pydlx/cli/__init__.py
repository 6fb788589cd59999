"""The command line: ``pydlx COMMAND ...``, also ``python -m pydlx.cli``.

Each command is a module of this package with two functions: ``add_parser(subparsers)`` declares its arguments and
``run(args)`` returns its exit code. Only the module of the command that was called is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydlx._optional import MissingPackageError
from pydlx._version import __version__

COMMANDS = {
    "answer": "answer questions about a passage",
    "info": "say what this installation consists of",
    "bench": "measure what the compiled kernels buy",
    "bench readers": "train all readers for the same time, and compare them",
    "blend": "blend a picture into another",
    "eval": "measure predictions against the truth",
    "export": "write a model as ONNX or as a PyTorch program",
    "models": "list the models and their options",
    "predict": "label or find what pictures show, entities in texts, relations in documents",
    "sample": "draw pictures with a generative model",
    "train": "train a model by a recipe",
}

_EXAMPLE = """\
example:
  pydlx blend --source bear.jpg --target lake.jpg --mask bear_mask.png --offset 332,404 --out blended.png

Every command has its own --help.
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and leaves the usage to ``--help``."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after ``pydlx``; those of the process by default.

    Returns:
        The exit code: 0 for success, 2 for bad input, of which one line on stderr says what is wrong.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if " ".join(words[:2]) in COMMANDS:  # a command of two words
        words[:2] = [" ".join(words[:2])]
    parser = _parser(words[0] if words else None)
    try:
        args = parser.parse_args(words)
    except SystemExit as stop:  # --help, --version and bad arguments
        return int(stop.code or 0)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return _module(args.command).run(args)
    except BrokenPipeError:  # who reads what is printed, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would say so at the end
        return 141  # what a shell says of a program that such a pipe ends
    except (ValueError, TypeError, OSError, MissingPackageError) as error:
        print(f"pydlx {args.command}: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"pydlx {args.command}: interrupted", file=sys.stderr)
        return 130


def _parser(called: str | None) -> argparse.ArgumentParser:
    """The parser of everything, with the arguments of the called command alone."""
    parser = _Parser(
        prog="pydlx",
        description="Native deep-learning operators for PyTorch, and tools built on them.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pydlx {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        if name == called:
            _module(name).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def _module(command: str):
    return importlib.import_module(f"pydlx.cli.{command.replace(' ', '_')}")


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:  # the system's, "[Errno 2] No such file ..."
        return f"{error.strerror[0].lower()}{error.strerror[1:]}: '{error.filename}'"
    return next(iter(str(error).splitlines()), type(error).__name__)
