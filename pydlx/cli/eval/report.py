"""What all kinds of ``pydlx eval`` print."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

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


def print_json(content: Mapping[str, Any]) -> None:
    """One object; NaN and infinity, which JSON does not have, as null and as a string."""
    print(json.dumps(_jsonable(content), indent=2))


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def print_table(rows: Iterable[Sequence[object]], heading: Sequence[str] = ()) -> None:
    """Rows of a name and numbers, in columns."""
    lines = [[_text(cell) for cell in row] for row in rows]
    lines = [list(heading), *lines] if heading else lines
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join([line[0].ljust(len(first)), *others]))


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
