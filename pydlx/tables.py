"""Tables and marked text as commands print them: drawn by rich in a terminal, plain text anywhere else.

In a pipe or a file nothing is wrapped or coloured, whatever the environment says, so that a program can read it line by
line. A terminal's width, ``NO_COLOR`` and ``TERM=dumb`` are respected.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from pydlx._optional import MissingPackageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNBOUNDED = 1_000_000  # columns of a "terminal" in which nothing is wrapped


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, standard output by default.

    Raises:
        MissingPackageError: rich, a dependency of pydlx, is not installed.
    """
    rich_console = _rich("console").Console
    stream = sys.stdout if stream is None else stream
    quiet_options: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    if stream.isatty():
        return rich_console(file=stream, **quiet_options)
    return rich_console(file=stream, width=_UNBOUNDED, force_terminal=False, color_system=None, **quiet_options)


def print_table(rows: Iterable[Sequence[object]], heading: Sequence[str] = (), left: Collection[int] = (0,)) -> None:
    """Prints rows in columns.

    Args:
        rows: cells of each row, printed as ``str`` gives them.
        heading: one word for each column, or nothing.
        left: numbers of the columns that are aligned to the left; numbers stand to the right.
    """
    lines = [[str(cell) for cell in row] for row in rows]
    if not lines and not heading:
        return
    if sys.stdout.isatty():
        console().print(_table(lines, heading, left))
    else:
        print(_plain(_table(lines, heading, left)))


def format_table(rows: Iterable[Sequence[object]], heading: Sequence[str] = (), left: Collection[int] = (0,)) -> str:
    """The plain text of what :func:`print_table` prints, without a newline at the end."""
    return _plain(_table([[str(cell) for cell in row] for row in rows], heading, left))


def print_text(text: str, indent: int = 0) -> None:
    """Prints a text, in a terminal wrapped between words and indented as a whole."""
    if sys.stdout.isatty():
        console().print(_rich("padding").Padding(_rich("text").Text(text), (0, 0, 0, indent)))
    else:
        print("\n".join(" " * indent + line for line in text.split("\n")))


def print_pieces(pieces: Iterable[tuple[str, str]]) -> None:
    """Prints a text of pieces that each have a style of rich's, such as ``"reverse"``, where the output has styles."""
    if sys.stdout.isatty():
        console().print(_rich("text").Text.assemble(*pieces))
    else:
        print("".join(piece for piece, _ in pieces))


def shows_styles() -> bool:
    """Whether standard output shows reverse video and the like."""
    return sys.stdout.isatty() and console().color_system is not None


def _table(lines: Sequence[Sequence[str]], heading: Sequence[str], left: Collection[int]) -> Table:
    text = _rich("text").Text
    table = _rich("table").Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(heading))
    for column in range(len(lines[0]) if lines else len(heading)):
        name = heading[column] if heading else ""
        table.add_column(text(name), justify="left" if column in left else "right", overflow="fold")
    for line in lines:
        table.add_row(*map(text, line))
    return table


def _plain(table: Table) -> str:
    stream = io.StringIO()
    console(stream).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _rich(part: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"rich.{part}")
    except ModuleNotFoundError as error:
        raise MissingPackageError("tables need rich: pip install rich", name="rich") from error
