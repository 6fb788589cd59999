"""CLUENER's JSON lines as typed records."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pydlx._optional import needed_for
from pydlx.data.json_files import JsonFile

with needed_for("reading entities", extra="readers"):
    import msgspec


_FORM = '{"text": "Anna of Rome", "label": {"PER": {"Anna of Rome": [[0, 11]]}}} on each line, ends inclusive'


class _Line(msgspec.Struct):
    text: str | tuple[str, ...]
    label: dict[str, dict[str, list[tuple[int, int]]]] = {}


Spans = list[tuple[str, str, tuple[int, int]]]  # type, surface, (start, end)


def cluener_lines(path: str | os.PathLike[str]) -> Iterator[tuple[str, str | tuple[str, ...], Spans]]:
    """Yield line number (as ``"line 7"``), text and spans of each line that is not blank."""
    file = JsonFile("read_cluener", path, _FORM)
    for number, line in file.lines():
        record = file.decode(line, _Line, f"line {number}")
        if not isinstance(record.text, str) and not all(record.text):
            raise ValueError(f"read_cluener: '{path}': line {number}: tokens must not be empty")
        spans = [
            (kind, surface, span)
            for kind, surfaces in record.label.items()
            for surface, places in surfaces.items()
            for span in places
        ]
        yield f"line {number}", record.text, spans
