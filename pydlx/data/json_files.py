"""JSON files read as typed records, without turning the whole file into Python objects at once."""

from __future__ import annotations

import codecs
import gzip
import io
import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydlx._optional import needed_for

with needed_for("reading JSON files", extra="readers"):
    import msgspec

Kind = TypeVar("Kind")
_GZIP = b"\x1f\x8b"


class JsonFile:
    """The text of a JSON file, which is mapped and not copied into memory unless it is gzipped.

    Args:
        name: Name of the function that reads it, for error messages.
        path: The file.
        form: An example of the expected format, for error messages.
    """

    def __init__(self, name: str, path: str | os.PathLike[str], form: str = "") -> None:
        self.name, self.path, self.form = name, path, form
        try:
            data = _contents(Path(path))
        except FileNotFoundError:
            raise FileNotFoundError(f"{name}: no such file: '{path}'") from None
        except (EOFError, zlib.error) as error:
            raise ValueError(f"{name}: '{path}' is damaged gzip data: {error}") from error
        self.data = data[len(codecs.BOM_UTF8) :] if data[:3] == codecs.BOM_UTF8 else data

    def decode(self, text: Any, kind: type[Kind], where: str = "") -> Kind:
        """Decode a part of the text to a record of a type.

        Raises:
            ValueError: If it is not UTF-8, no JSON, or a record of another type; the message names file and place.
        """
        try:
            return msgspec.json.decode(text, type=kind, strict=False)
        except msgspec.ValidationError as error:
            wrong, _, inner = str(error).partition(" - at ")
            place = f"{where}.{inner.strip('`').removeprefix('$').removeprefix('.')}".strip(".")
            wrong = wrong[:1].lower() + wrong[1:]
            form = f"; the form is {self.form}" if self.form else ""
            raise ValueError(f"{self.name}: '{self.path}': {place + ': ' if place else ''}{wrong}{form}") from error
        except RecursionError as error:
            raise ValueError(f"{self.name}: '{self.path}': {where or 'the file'} is nested too deeply") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._check_utf8()
            reason = str(error).removeprefix("JSON is malformed: ")
            raise ValueError(f"{self.name}: '{self.path}': {where or 'the file'} is no JSON: {reason}") from error

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, with their numbers from 1."""
        whole: Any = self.data.obj
        stream = whole if isinstance(whole, mmap.mmap) else io.BytesIO(whole)
        stream.seek(len(whole) - len(self.data))  # after a byte order mark
        for number, line in enumerate(iter(stream.readline, b""), 1):
            if line.strip():
                yield number, line

    def _check_utf8(self) -> None:
        decoder, size = codecs.getincrementaldecoder("utf-8")(), 1 << 20
        for start in range(0, len(self.data), size):
            try:
                decoder.decode(self.data[start : start + size], final=start + size >= len(self.data))
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{self.name}: '{self.path}' must be UTF-8, got other bytes at about {start + error.start}"
                ) from None


def _contents(path: Path) -> memoryview:
    with path.open("rb") as stream:
        if stream.read(2) == _GZIP:
            stream.seek(0)
            return memoryview(gzip.decompress(stream.read()))
        if path.stat().st_size == 0:  # an empty file cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
