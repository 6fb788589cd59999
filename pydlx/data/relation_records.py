"""DocRED's documents as typed records."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pydlx._optional import needed_for
from pydlx.data.json_files import JsonFile

with needed_for("reading relations", extra="readers"):
    import msgspec


_FORM = (
    '[{"title": "a", "sents": [["Anna", "lives", "in", "Rome"]], "vertexSet": [[{"name": "Anna", "sent_id": 0, '
    '"pos": [0, 1], "type": "PER"}], ...], "labels": [{"h": 0, "t": 1, "r": "P551", "evidence": [0]}]}], ends exclusive'
)


class RawMention(msgspec.Struct):
    """A mention in DocRED's format; the second number of `pos` is exclusive."""

    name: str
    sent_id: int
    pos: tuple[int, int]
    type: str = ""


class RawFact(msgspec.Struct):
    """A fact in DocRED's format: head, tail, relation and evidence."""

    h: int
    t: int
    r: str
    evidence: list[int] = []


class RawDocument(msgspec.Struct):
    """A document in DocRED's format; test sets have no labels."""

    title: str
    sents: tuple[tuple[str, ...], ...]
    vertexSet: list[list[RawMention]]
    labels: list[RawFact] = []


def documents(path: str | os.PathLike[str]) -> Iterator[RawDocument]:
    """Yield the documents of a file."""
    file = JsonFile("read_docred", path, _FORM)
    for place, raw in enumerate(file.decode(file.data, list[msgspec.Raw])):
        yield file.decode(raw, RawDocument, f"[{place}]")
