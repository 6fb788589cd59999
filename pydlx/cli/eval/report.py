"""What all kinds of ``pydlx eval`` print."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydlx import tables

_SHOWN = 3


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Says each warning in a line of its own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(
        str(warning.message) for warning in caught if issubclass(warning.category, (UserWarning, RuntimeWarning))
    ):
        print(f"warning: {text}", file=sys.stderr)


def print_table(rows: Iterable[Sequence[object]], heading: Sequence[str] = ()) -> None:
    """Prints rows of a name and numbers, in columns; what is not defined is a dash."""
    tables.print_table([[_text(cell) for cell in row] for row in rows], heading)


def print_counts(kind: str, each: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any]) -> None:
    """Precision, recall, F1 and counts: a line for each class, most frequent first, and one for all."""
    columns = ("precision", "recall", "f1", "right", "predicted", "true")
    names = sorted(each, key=lambda name: (-each[name]["true"], name))
    rows = [(name, *(each[name][column] for column in columns)) for name in names]
    print_table([*rows, ("all", *(total[column] for column in columns))], (kind, *columns))


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return "-" if math.isnan(cell) or cell == -1 else f"{cell:.4f}" if abs(cell) < 1000 else f"{cell:.1f}"
    return str(cell)


def print_skipped(skipped: Sequence[str]) -> None:
    """How much was left out, and the first reasons."""
    if skipped:
        print(f"skipped {len(skipped)}:", file=sys.stderr)
        for reason in skipped[:_SHOWN]:
            print(f"  {reason}", file=sys.stderr)
        if len(skipped) > _SHOWN:
            print(f"  and {len(skipped) - _SHOWN} more", file=sys.stderr)
