"""A line on the terminal that says what is being done."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def doing(text: str) -> Iterator[None]:
    """Shows `text` on stderr while the block runs, then wipes it; shows nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"\r\033[K{text} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def counting(items: Sequence[Item], text: str) -> Iterator[Item]:
    """The items one by one, saying how far it is."""
    for number, item in enumerate(items, 1):
        with doing(f"{text} {number}/{len(items)}"):
            yield item
