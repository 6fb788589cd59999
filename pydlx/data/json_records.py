"""Reading JSON files of many records: typed, quickly, with errors that say where.

msgspec checks and splits the records. Long arrays of numbers in them stay text until `numbers` turns those of many
records into one NumPy array.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydlx._optional import needed_for

with needed_for("reading JSON records", extra="metrics"):
    import msgspec

_CHUNK = 2000  # records whose numbers are parsed together
_LARGEST = float(np.finfo(np.float64).max)
_ARRAYS = msgspec.json.Decoder(list[list[float]])
_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}


def check_kind(text: bytes, name: str, wanted: str, what: str, other: str) -> None:
    """Refuses a file that begins with something else than this bracket.

    Args:
        text: of the file.
        name: how errors call it.
        wanted: ``"{"`` or ``"["``.
        what: what it must be.
        other: what it is instead if it begins with the other of these brackets.
    """
    first = text[:4096].lstrip()[:1].decode("latin-1")
    if first == wanted or not first:
        return
    if first in "{[":
        raise ValueError(f"{name}: must be {what}, got {other}: are truth and detections swapped?")
    if first in _KINDS or first in "-0123456789":
        raise ValueError(f"{name}: must be {what}, got {_KINDS.get(first, 'a number')}")


def decode(
    data: bytes, form: Callable[[Any], Any], kind: type[msgspec.Struct], name: str, what: str, skipped: list[str] | None
) -> tuple[Any, list[Any]]:
    """The text as a file of records.

    Args:
        data: JSON text.
        form: the type of the file, given that of a record: a list of them, or a Struct whose first field is one.
        kind: what each record must be.
        name: how errors call the file.
        what: how they call a record.
        skipped: a list that takes what is wrong with bad records, which are then left out; without it they raise.

    Returns:
        The file and its good records.

    Raises:
        ValueError: the text is no JSON (with the byte), or the file or a record is not as it must be (with the place).
    """
    try:
        try:
            file = _decode(data, form(kind), name)
            return file, _records_of(file)
        except msgspec.ValidationError:
            if skipped is None:
                raise
        file = _decode(data, form(msgspec.Raw), name)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {_complaint(error, what)}") from error
    decoder, good = msgspec.json.Decoder(kind), []
    for place, raw in enumerate(_records_of(file)):
        try:
            good.append(decoder.decode(raw))
        except msgspec.ValidationError as error:
            skipped.append(f"{name}: {what} [{place}]: {_complaint(error, what)}")
    return file, good


def _records_of(file: Any) -> list[Any]:
    return file if isinstance(file, list) else getattr(file, file.__struct_fields__[0])


def _decode(data: bytes, kind: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise ValueError(f"{name}: must be JSON of a few levels, got more") from None
    except msgspec.DecodeError as error:
        return msgspec.json.decode(_standard_json(data, name, error), type=kind)


def _standard_json(data: bytes, name: str, error: Exception) -> bytes:
    """Python writes NaN and Infinity, which are no JSON; they become null, to be refused where they stand."""
    try:
        loaded = json.loads(data, parse_constant=lambda _: None)
    except (json.JSONDecodeError, UnicodeDecodeError):
        reason = str(error).removeprefix("JSON is malformed: ")
        where = "" if "byte" in reason else f" (byte {len(data)})"
        raise ValueError(f"{name}: malformed JSON: {reason}{where}") from error
    return msgspec.json.encode(loaded)


def _complaint(error: msgspec.ValidationError, what: str) -> str:
    """What is wrong and where: ``detection [3].score: expected `float`, got `str```."""
    wrong, _, where = str(error).partition(" - at ")
    path = where.strip("`").removeprefix("$").removeprefix(".")
    wrong = (wrong[:1].lower() + wrong[1:]).replace("`null`", "null or NaN")
    if path.startswith("["):
        path = f"{what} {path}"
    return f"{path}: {wrong}" if path else wrong


def refuse(message: str, skipped: list[str] | None) -> None:
    """Raises, or takes note of what is left out."""
    if skipped is None:
        raise ValueError(message)
    skipped.append(message)


def numbers(
    raws: Sequence[msgspec.Raw], width: int, wrong: Callable[[int, str], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of `width` numbers each, as (n, width) float64.

    Args:
        raws: the text of each array.
        width: how many numbers each must have.
        wrong: called with the place of an array that is something else, and what it is; may raise.

    Returns:
        The numbers, and a mask (n,) of the arrays that are good; the rows of the others are 0.
    """
    rows = np.zeros((len(raws), width))
    good = np.ones(len(raws), dtype=bool)
    for start in range(0, len(raws), _CHUNK):
        chunk = raws[start : start + _CHUNK]
        values = _plain_arrays(chunk, width)
        if values is not None:
            rows[start : start + len(chunk)] = values
            continue
        for place, raw in enumerate(chunk, start):
            found = _array(raw)
            if isinstance(found, str) or len(found) != width:
                good[place] = False
                what = found if isinstance(found, str) else f"{len(found)} numbers"
                wrong(place, what)
            else:
                rows[place] = found
    return rows, good


def _plain_arrays(raws: Sequence[msgspec.Raw], width: int) -> np.ndarray | None:
    """The numbers of all arrays, or None where any of them is not an array of `width` numbers."""
    try:
        rows = _ARRAYS.decode(b"[" + b",".join(raws) + b"]")
    except msgspec.ValidationError:
        return None
    return np.array(rows) if all(len(row) == width for row in rows) else None


def _array(raw: msgspec.Raw) -> list[float] | str:
    """The numbers, or in words what there is instead."""
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return "a number out of range"
    if not isinstance(value, list):
        return f"{value!r}"
    strange = [x for x in value if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) <= _LARGEST]
    if not strange:
        return value
    return f"{'null or NaN' if strange[0] is None else repr(strange[0])} among its numbers"
