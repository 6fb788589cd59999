"""Where COCO's data comes from: files, their bytes, what was loaded from them, pycocotools' objects, arrays of boxes.

Lists of records that are plain are read by compiled code straight into columns. Whatever is odd about the others, they
are left to the careful reader, which takes all that is allowed and says what is wrong with the rest.
"""

from __future__ import annotations

import gzip
import os
import stat
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from pydlx._checks import described
from pydlx._native import host_module
from pydlx._optional import needed_for

_GZIP = b"\x1f\x8b"


class HasDataset(Protocol):
    """Such as ``pycocotools.coco.COCO``, also that of its ``loadRes``."""

    dataset: dict[str, Any]


Source = str | os.PathLike[str] | bytes | Mapping[str, Any] | Sequence[Mapping[str, Any]] | np.ndarray | HasDataset


class Field(NamedTuple):
    """A field of records.

    Attributes:
        name: as files have it.
        kind: ``"integer"`` (an id, which the careful reader also takes as a string), ``"number"``, ``"flag"``,
            ``"count"``, ``"numbers"`` or ``"mask"``.
        width: how many numbers.
        needed: whether every record must have it.
    """

    name: str
    kind: str
    width: int = 1
    needed: bool = True


Columns = dict[str, Any]


class PlainObject(NamedTuple):
    """A JSON object with a list of plain records in it."""

    columns: Columns
    rest: bytes  # the object with `marker` in place of the list
    marker: str


def check_source(name: str, argument: str, source: Any) -> None:
    """Require something that COCO's data can come from."""
    kinds = (str, os.PathLike, bytes, Mapping, list, tuple)
    if isinstance(source, np.ndarray) and argument != "truth":
        if source.ndim != 2 or source.shape[1] != 7 or source.dtype.kind not in "iuf":
            wanted = "an array of shape (N, 7) with image, x, y, width, height, score and category"
            raise ValueError(f"{name}: {argument} must be {wanted}, got {described(source)}")
    elif not isinstance(source, kinds) and "dataset" not in dir(source):  # hotcoco's takes seconds to make
        wanted = "a path, the bytes of a file, loaded JSON or a COCO object"
        raise TypeError(f"{name}: {argument} must be {wanted}, got {described(source)}")


def opened(source: Source, otherwise: str) -> JsonText | Loaded | BoxRows:
    """A source to read from, once, in a ``with`` block.

    Args:
        source: what `check_source` takes.
        otherwise: how errors call a source that is no file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, or damaged gzip data.
    """
    if isinstance(source, str | os.PathLike | bytes):
        return JsonText(source, otherwise)
    if isinstance(source, np.ndarray):
        return BoxRows(source, otherwise)
    if not isinstance(source, Mapping | list | tuple):
        content: Any = source.dataset  # type: ignore[union-attr]
        return Loaded(content.get("annotations", []) if otherwise == "detections" else content, otherwise)
    return Loaded(source, otherwise)


class JsonText:
    """JSON text in memory or in a file. A file that is not compressed is read in pieces where that will do."""

    def __init__(self, source: str | os.PathLike[str] | bytes, otherwise: str) -> None:
        self.name = otherwise if isinstance(source, bytes) else os.fspath(source)
        self._file: int | None = None
        self._bytes = b""
        if isinstance(source, bytes):
            self._bytes = _unzipped(source, self.name)
        else:
            self._open(Path(source))
        self.size = len(self._bytes) if self._file is None else os.fstat(self._file).st_size
        if not self.size:
            raise ValueError(f"{self.name}: must be JSON, got an empty file")

    def _open(self, path: Path) -> None:
        with path.open("rb") as stream:
            regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            if regular and host_module() is not None and stream.peek(2)[:2] != _GZIP:
                self._file = os.dup(stream.fileno())
            else:
                self._bytes = _unzipped(stream.read(), self.name)

    def __enter__(self) -> JsonText:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def plain_list(self, fields: Sequence[Field]) -> Columns | None:
        """The columns of a list of records; None where it is not plain."""
        read = self._read(0, fields)
        if read is None:
            return None
        columns, end = read
        return None if self._part(end, self.size).strip(b" \n\r\t") else columns

    def plain_object(self, key: str, fields: Sequence[Field]) -> PlainObject | None:
        """An object with such a list as the value of a key; None where that is not plain."""
        host = host_module()
        start = -1 if host is None else host.find_json_list(self._source, self.size, key)
        read = self._read(start, fields)
        if read is None:
            return None
        columns, end = read
        marker = uuid.uuid4().hex
        return PlainObject(
            columns, self._part(0, start) + b'["%s"]' % marker.encode() + self._part(end, self.size), marker
        )

    def text(self, key: str, fields: Sequence[Field]) -> bytes:
        """All of it."""
        return self._part(0, self.size)

    @property
    def _source(self) -> bytes | int:
        return self._bytes if self._file is None else self._file

    def _read(self, start: int, fields: Sequence[Field]) -> tuple[Columns, int] | None:
        host = host_module()
        if host is None or start < 0:
            return None
        return host.read_json_records(self._source, self.size, start, fields, torch.get_num_threads())

    def _part(self, start: int, end: int) -> bytes:
        if self._file is None:
            return self._bytes if end - start == self.size else self._bytes[start:end]
        parts = []
        while start < end and (part := os.pread(self._file, min(end - start, 1 << 30), start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)


class Loaded:
    """What ``json.load`` makes of a file, or looks like it."""

    def __init__(self, content: Any, name: str) -> None:
        self.name = name
        self._content = content

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def plain_list(self, fields: Sequence[Field]) -> Columns | None:
        """The columns of a list of records; None where it is not plain."""
        host = host_module()
        if host is None or not isinstance(self._content, list | tuple):
            return None
        return host.read_loaded_records(list(self._content), fields)

    def plain_object(self, key: str, fields: Sequence[Field]) -> PlainObject | None:
        """An object with such a list as the value of a key; None where that is not plain."""
        if not isinstance(self._content, Mapping):
            return None
        columns = Loaded(self._content.get(key), self.name).plain_list(fields)
        if columns is None:
            return None
        marker = uuid.uuid4().hex
        return PlainObject(columns, _encoded({**self._content, key: [marker]}), marker)

    def text(self, key: str, fields: Sequence[Field]) -> bytes:
        """Its JSON, but for fields of the records that are not asked for."""
        names = [field.name for field in fields]
        if not isinstance(self._content, Mapping):
            return _encoded(_with_fields(self._content, names))
        return _encoded({**self._content, key: _with_fields(self._content.get(key), names)})


class BoxRows(Loaded):
    """An array (N, 7) of image, x, y, width, height, score, category, which pycocotools takes as results."""

    def __init__(self, rows: np.ndarray, name: str) -> None:
        self._rows = rows.astype(np.float64)
        super().__init__(None, name)

    def plain_list(self, fields: Sequence[Field]) -> Columns | None:
        """The columns of a list of records; None where it is not plain."""
        ids = self._rows[:, [0, 6]]
        whole = (np.abs(ids) < 2**53) & (ids == np.rint(ids))
        known = {"image_id", "category_id", "score", "bbox"}
        if not whole.all() or not np.isfinite(self._rows).all() or {field.name for field in fields} != known:
            return None
        images, categories = ids.astype(np.int64).T
        return {"image_id": images, "category_id": categories, "score": self._rows[:, 5], "bbox": self._rows[:, 1:5]}

    def text(self, key: str, fields: Sequence[Field]) -> bytes:
        """As JSON of records."""
        if any(field.needed and field.kind in ("numbers", "mask") for field in fields):
            raise ValueError(f"{self.name}: an array of shape (N, 7) holds boxes, and no keypoints or masks")
        records = [
            {"image_id": _id(image), "category_id": _id(category), "bbox": box, "score": score}
            for image, *box, score, category in self._rows.tolist()
        ]
        return _encoded(records)


def _id(value: float) -> float:
    return int(value) if value.is_integer() else value


def _with_fields(records: Any, names: Sequence[str]) -> Any:
    """Records with these fields alone; what is none stays as it is."""
    if not isinstance(records, list | tuple):
        return records
    return [
        {name: _mask(record[name]) for name in names if name in record} if isinstance(record, Mapping) else record
        for record in records
    ]


def _mask(value: Any) -> Any:
    """Run lengths as pycocotools encodes them, which are bytes, as JSON holds them."""
    if isinstance(value, Mapping) and isinstance(value.get("counts"), bytes):
        return {**value, "counts": value["counts"].decode("latin-1")}
    return value


def _encoded(content: Any) -> bytes:
    with needed_for("reading JSON records", extra="metrics"):
        import msgspec
    return msgspec.json.encode(content, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """NumPy's and torch's numbers and arrays as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"not something JSON can hold: {type(value).__name__}")


def _unzipped(data: bytes, name: str) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{name}: damaged gzip data: {error}") from error
