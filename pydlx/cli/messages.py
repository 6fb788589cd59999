"""The one line that says what was wrong, in the words of the command line."""

from __future__ import annotations

import argparse
import re
from types import TracebackType

_ARGUMENT = re.compile(r"(\w+)(?= (?:must|has|is|needs|cannot)\b)")


def one_line(
    error: BaseException, parser: argparse.ArgumentParser | None = None, args: argparse.Namespace | None = None
) -> str:
    """What an error says, without the Python functions that it names and with options under their own names.

    Args:
        error: the library raised it, or the system did.
        parser: of the command line, to know the options.
        args: what was given to the command.
    """
    if isinstance(error, OSError) and error.strerror and error.filename:  # the system's, "[Errno 2] No such file ..."
        return f"{error.strerror[0].lower()}{error.strerror[1:]}: '{error.filename}'"
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if functions := _functions(error):
        text = re.sub(rf"(^|: )(?:(?:{'|'.join(map(re.escape, functions))}): )+", r"\1", text)
    if (argument := _ARGUMENT.match(text)) is None:
        return text
    name = _names(parser, args).get(argument[1], argument[1])
    return name + text[argument.end() :]


def _functions(error: BaseException | None) -> set[str]:
    """The functions, and the classes of the methods, that the error and its causes came through."""
    names = set()
    while error is not None:
        names |= _in(error.__traceback__)
        error = error.__cause__ or error.__context__
    return names


def _in(traceback: TracebackType | None) -> set[str]:
    names = set()
    while traceback is not None:
        frame = traceback.tb_frame
        names.add(frame.f_code.co_name)
        if (owner := frame.f_locals.get("self")) is not None:
            names |= {type(owner).__name__, f"{type(owner).__name__}.{frame.f_code.co_name}"}
        traceback = traceback.tb_next
    return names


def _names(parser: argparse.ArgumentParser | None, args: argparse.Namespace | None) -> dict[str, str]:
    """What the command's arguments are called on the command line, by their Python names."""
    if parser is None or args is None:
        return {}
    names = {}
    for action in _called(parser, args)._actions:
        if action.option_strings:
            names[action.dest] = action.option_strings[-1]
        elif action.nargs != argparse.PARSER:
            names[action.dest] = action.metavar if isinstance(action.metavar, str) else action.dest
    return names


def _called(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the command, or of its kind, that was called."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and (name := getattr(args, action.dest, None)):
            return _called(action.choices[name], args)
    return parser
