"""Tables and marked text as commands print them: drawn by rich in a terminal, plain text anywhere else.

In a pipe or a file nothing is wrapped or coloured, whatever the environment says, so that a program can read it line by
line, nor in a terminal where rich is not installed (``pip install "pydlx[cli]"``). A terminal's width, ``NO_COLOR`` and
``TERM=dumb`` are respected.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_GAP = "  "  # between two columns


def draws(stream: TextIO) -> bool:
    """Whether rich draws on a stream: it is a terminal, and rich is installed."""
    if not stream.isatty():
        return False
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def console(stream: TextIO) -> Console:
    """rich's console on a terminal."""
    from rich.console import Console

    return Console(file=stream, markup=False, emoji=False, highlight=False)


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
    if not draws(sys.stdout):
        print(format_table(lines, heading, left))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), show_header=bool(heading))
    for column in range(len(lines[0]) if lines else len(heading)):
        name = heading[column] if heading else ""
        table.add_column(Text(name), justify="left" if column in left else "right", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    console(sys.stdout).print(table)


def format_table(rows: Iterable[Sequence[object]], heading: Sequence[str] = (), left: Collection[int] = (0,)) -> str:
    """The plain text of what :func:`print_table` prints, without a newline at the end."""
    lines = [*([list(heading)] if heading else []), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(_columns, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join(
        _GAP.join(
            cell + " " * (width - _columns(cell)) if column in left else " " * (width - _columns(cell)) + cell
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def print_text(text: str, indent: int = 0) -> None:
    """Prints a text, in a terminal wrapped between words and indented as a whole."""
    if draws(sys.stdout):
        from rich.padding import Padding
        from rich.text import Text

        console(sys.stdout).print(Padding(Text(text), (0, 0, 0, indent)))
    else:
        print("\n".join(" " * indent + line for line in text.split("\n")))


def print_pieces(pieces: Iterable[tuple[str, str]]) -> None:
    """Prints a text of pieces that each have a style of rich's, such as ``"reverse"``, where the output has styles."""
    if draws(sys.stdout):
        from rich.text import Text

        console(sys.stdout).print(Text.assemble(*pieces))
    else:
        print("".join(piece for piece, _ in pieces))


def shows_styles() -> bool:
    """Whether standard output shows reverse video and the like."""
    return draws(sys.stdout) and console(sys.stdout).color_system is not None


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: two for each wide character, such as a Chinese one."""
    return sum((unicodedata.east_asian_width(c) in "WF") + 1 for c in text if not unicodedata.combining(c))
