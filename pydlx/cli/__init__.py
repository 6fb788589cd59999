"""The command line: ``pydlx COMMAND ...``, also ``python -m pydlx``.

Each command is a module of this package with two functions: ``add_parser(subparsers)`` declares its arguments and
``run(args)`` returns its exit code. Only the module of the command that was called is imported, and it imports torch
when it runs, not for its help.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from pydlx._optional import MissingPackageError
from pydlx._version import __version__
from pydlx.cli.completion import complete, words_to_complete
from pydlx.cli.messages import one_line
from pydlx.cli.progress import set_quiet, wipe

COMMANDS = {
    "answer": "answer questions about a passage",
    "bench": "measure what the compiled kernels buy",
    "bench readers": "train all readers for the same time, and compare them",
    "blend": "blend a picture into another",
    "completion": "let the shell complete commands, options and files",
    "eval": "measure predictions against the truth",
    "export": "write a model as ONNX or as a PyTorch program",
    "info": "say what this installation consists of",
    "models": "list the models and their options",
    "predict": "label or find what pictures show, entities in texts, relations in documents",
    "sample": "draw pictures with a generative model",
    "train": "train a model by a recipe",
}

# Exit codes. An interruption is no bad input: shells and make expect 128 plus its signal, and end a loop then.
BAD_INPUT = 2
INTERRUPTED = 130  # by SIGINT
PIPE_CLOSED = 141  # by SIGPIPE, which a program that does not ignore it ends with

_EXAMPLE = """\
example:
  pydlx blend --source bear.jpg --target lake.jpg --mask bear_mask.png --offset 332,404 --out blended.png

Every command has its own --help. Exit codes: 0 for success, 2 for bad input, of which one line on stderr says what is
wrong, 130 when interrupted.
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and leaves the usage to ``--help``."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse has it, but a command itself says what it does not know, and points to its own help."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after ``pydlx``; those of the process by default.

    Returns:
        The exit code: 0 for success; 2 for bad input, of which one line on stderr says what is wrong; 130 when
        interrupted, which is no bad input and ends a shell's loop.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = argparse.Namespace(command=None)
    parser = None
    try:
        parser = new_parser(words)
        if "_ARGCOMPLETE" in os.environ:  # the shell asks what could follow
            complete(parser)
        args = parser.parse_args(_joined(words))
        code = _run(parser, args)
        sys.stdout.flush()  # here, where a closed pipe is no surprise
    except BrokenPipeError:  # who reads what is printed, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would say so at the end
        return PIPE_CLOSED
    except SystemExit as stop:  # --help, --version and bad arguments
        if isinstance(stop.code, str):
            raise
        return int(stop.code or 0)
    except (ValueError, TypeError, OSError, MissingPackageError) as error:
        return _said(args, one_line(error, parser, args), BAD_INPUT)
    except KeyboardInterrupt:
        return _said(args, "interrupted", INTERRUPTED)
    finally:
        wipe()
        set_quiet(False)
    return code


def new_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of everything, with the arguments of that command alone which the words begin with."""
    parser = _Parser(
        prog="pydlx",
        description="Native deep-learning operators for PyTorch, and tools built on them.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pydlx {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    called = next(iter(_joined(words_to_complete() or words)), None)
    for name, summary in COMMANDS.items():
        if name == called:
            _module(name).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def _run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if args.command is None:
        parser.print_help()
        return 0
    set_quiet(getattr(args, "quiet", False))
    return _module(args.command).run(args)


def _joined(words: Sequence[str]) -> list[str]:
    """The words, of which those of a command of two words are one."""
    two = " ".join(words[:2])
    return [two, *words[2:]] if two in COMMANDS else list(words)


def _said(args: argparse.Namespace, message: str, code: int) -> int:
    wipe()
    called = " ".join(word for word in ("pydlx", args.command, getattr(args, "kind", None)) if word)
    print(f"{called}: {message}", file=sys.stderr)
    return code


def _module(command: str) -> Any:
    return import_module(f"pydlx.cli.{command.replace(' ', '_')}")
