"""What is being done, and how far it is, while it is done: shown by rich where stderr is a terminal, nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from pydlx.tables import console, draws

Item = TypeVar("Item")
_quiet = False
# The displays that are open. A generator that its loop has left closes its display only when it is collected, so
# whoever ends a command closes them here.
_open = ExitStack()


def set_quiet(quiet: bool) -> None:
    """Says whether progress and closing words are left out, as ``--quiet`` asks for."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    return _quiet


def wipe() -> None:
    """Wipes whatever progress is still shown."""
    _open.close()


@contextmanager
def doing(text: str, moving: bool = True) -> Iterator[None]:
    """Shows `text` while the block runs, then wipes it.

    Args:
        text: what is being done.
        moving: beside a spinner. A measurement takes a line that stands still, as a spinner needs processor time.
    """
    if not _shown():
        yield
        return
    from rich.live import Live
    from rich.text import Text

    out = console(sys.stderr)
    line = Text(f"{text} ...", no_wrap=True, overflow="ellipsis")
    _open.enter_context(out.status(line) if moving else Live(line, console=out, auto_refresh=False, transient=True))
    try:
        yield
    finally:
        wipe()


def counting(items: Sequence[Item], text: str) -> Iterator[Item]:
    """The items one by one, with a bar that says how many are done and how long the others will take."""
    if not _shown():
        yield from items
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = _open.enter_context(Progress(*columns, console=console(sys.stderr), transient=True))
    try:
        yield from progress.track(items, description=text)
    finally:
        wipe()


def _shown() -> bool:
    return not _quiet and draws(sys.stderr)
