"""What files hold, or was loaded from them, with errors that say what is wrong and where."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydlx._checks import described, listed

PathLike = str | os.PathLike[str]
Source = PathLike | Mapping[str, Any] | Sequence[Any]


def place_of(name: str, argument: str, source: Any) -> str:
    """How errors begin: the function, its argument, and the file if it is one."""
    return f"{name}: {argument}" + (f" '{os.fspath(source)}'" if isinstance(source, str | os.PathLike) else "")


def text_of(path: PathLike, place: str) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise ValueError(f"{place} must be UTF-8, got byte 0x{byte:02x} at position {error.start}") from None


def parsed(text: str, place: str) -> Any:
    """JSON, in which no object has a key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{place} must have each key once, got {twice!r} twice")
        return content

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{place} must be JSON, got '{error.msg}' in line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ValueError(f"{place} must be JSON of a few levels, got more") from None


def content_of(name: str, argument: str, source: Source) -> tuple[Any, str]:
    """What a JSON file holds, or what was loaded from one; and how errors begin."""
    place = place_of(name, argument, source)
    if isinstance(source, str | os.PathLike):
        return parsed(text_of(source, place), place), place
    return source, place


def records_of(name: str, argument: str, source: Source) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a file with one JSON object in each line, or of a list of them; and where each stands."""
    place = place_of(name, argument, source)
    entries: Sequence[Any]
    if isinstance(source, str | os.PathLike):
        # Not splitlines: answers may hold U+2028 and other separators that end no line of a file.
        lines = enumerate(text_of(source, place).split("\n"), 1)
        spots = [(f"{place}, line {number}", line) for number, line in lines if line.strip()]
        entries = [parsed(line, spot) for spot, line in spots]
    else:
        entries = listed(name, argument, source, "a path or a list of records")
        spots = [(f"{place}[{number}]", "") for number in range(len(entries))]
    for (spot, _), entry in zip(spots, entries, strict=True):
        if not isinstance(entry, Mapping):
            raise TypeError(f"{spot} must be a record with fields, got {described(entry)}")
        yield spot, entry
