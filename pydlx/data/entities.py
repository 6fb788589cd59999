"""Texts with annotated entities: CLUENER's JSON lines and LitBank's tables of nested tags.

Ends of spans are inclusive, as in both formats: the last character or token, not the one past it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydlx._checks import check_path, check_type, described, listed
from pydlx.data.report import Note, Report
from pydlx.files import replacing


class Entity(NamedTuple):
    """An entity: a span of a text with a type.

    Attributes:
        type: Its type, such as ``"PER"``.
        start: Index of its first character or token.
        end: Index of its last character or token, inclusive.
    """

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class AnnotatedText:
    """A text and its entities, which may be nested or overlap.

    Attributes:
        id: Its place in the file: ``"line 7"`` of JSON lines, ``"file:7"`` for the seventh sentence of a table.
        text: A string, where spans count characters, or a tuple of tokens, where spans count tokens.
        entities: Entities of the text; file readers sort them by start, end and type, without duplicates.

    Raises:
        ValueError: If an entity is no span of the text.
    """

    id: str
    text: str | tuple[str, ...]
    entities: tuple[Entity, ...] = ()

    def __post_init__(self) -> None:
        for entity in self.entities:
            if wrong := _misplaced(self.text, entity):
                raise ValueError(f"AnnotatedText: entities must be spans of their text ({self.id}), got {wrong}")

    def surface(self, entity: Entity) -> str:
        """Return the text of an entity; tokens are joined by spaces."""
        return _surface(self.text, entity)


@dataclass
class EntityReport(Report):
    """What a file reader changed or left out. Everything that it drops is listed here.

    Attributes:
        texts: Number of texts read.
        entities: Number of their entities.
        left_out: Entities that were left out because they are no span of their text or have an unknown type.
        repeated: Entities with the span and the type of another one; they count once.
        mended: Tags ``I-X`` that continue no entity; they begin one, as in conlleval.
        without_entities: Texts without entities. They are kept.
    """

    texts: int = 0
    entities: int = 0
    left_out: list[Note] = field(default_factory=list)
    repeated: list[Note] = field(default_factory=list)
    mended: list[Note] = field(default_factory=list)
    without_entities: list[Note] = field(default_factory=list)


def read_cluener(
    path: str | os.PathLike[str], report: EntityReport | None = None, *, types: Sequence[str] | None = None
) -> Iterator[AnnotatedText]:
    """Read JSON lines in CLUENER's format (Xu et al., arXiv 2001.04351) lazily.

    A line is ``{"text": ..., "label": {type: {surface: [[start, end], ...]}}}`` with inclusive ends. ``label`` may be
    missing, other fields are ignored. ``text`` may also be a list of tokens, as :func:`write_entities` writes it; the
    surface then joins them by spaces.

    Entities are left out, and reported, if they are no span of the text, if the text at the span differs from the
    surface (most often because the end is exclusive), or if their type is not in `types`.

    Args:
        path: The file; may be gzipped and may begin with a byte order mark.
        report: Collects what is left out or repeated.
        types: Types to keep, by default all.

    Raises:
        OSError: If the file cannot be read.
        ValueError: While iterating, if the file is not UTF-8 or a line has another format; the message names the line.
        ImportError: If msgspec is not installed.
    """
    check_path("read_cluener", "path", path)
    texts = _CheckedTexts("read_cluener", report, types)
    from pydlx.data.entity_records import cluener_lines  # needs msgspec

    return (
        texts.text(where, text, ((Entity(kind, *span), surface) for kind, surface, span in spans))
        for where, text, spans in cluener_lines(path)
    )


def read_litbank(
    path: str | os.PathLike[str], report: EntityReport | None = None, *, types: Sequence[str] | None = None
) -> Iterator[AnnotatedText]:
    """Read tables of tokens with nested tags, such as LitBank's (Bamman et al., NAACL 2019), sentence by sentence.

    A line is a token and one or more tags ``O``, ``B-X`` or ``I-X``, separated by tabs; a blank line ends a sentence.
    Each column of tags is one level of nesting and is decoded separately. An ``I-X`` that continues no entity begins
    one, and is reported.

    Args:
        path: A file, or a folder whose files ``*.tsv`` are read in the order of their names.
        report: Collects what is left out, repeated or mended.
        types: Types to keep, by default all.

    Raises:
        OSError: If a file cannot be read, or the folder holds none.
        ValueError: While iterating, if a file is not UTF-8 or a line has another format; the message names the line.
    """
    check_path("read_litbank", "path", path)
    texts = _CheckedTexts("read_litbank", report, types)
    place = Path(path)
    files = sorted(place.glob("*.tsv")) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise FileNotFoundError(f"read_litbank: no such file, or folder with *.tsv: '{path}'")
    return (texts.sentence(f"{file.stem}:{number}", rows) for file in files for number, rows in _sentences(file))


def read_entities(
    path: str | os.PathLike[str], report: EntityReport | None = None, *, types: Sequence[str] | None = None
) -> Iterator[AnnotatedText]:
    """Read a folder or a ``*.tsv`` file by :func:`read_litbank`, any other file by :func:`read_cluener`.

    Args:
        path: A file or a folder.
        report: Collects what is left out, repeated or mended.
        types: Types to keep, by default all.

    Raises:
        OSError: As in these functions.
        ValueError: As in these functions.
    """
    check_path("read_entities", "path", path)
    table = Path(path).is_dir() or Path(path).suffix == ".tsv"
    return (read_litbank if table else read_cluener)(path, report, types=types)


def entities_of_tags(tags: Sequence[str]) -> list[Entity]:
    """Decode a sequence of tags ``O``, ``B-X`` and ``I-X`` to its entities, in their order.

    An ``I-X`` that continues no entity of its type begins one, as in conlleval and in seqeval's default mode.

    Args:
        tags: One tag for each token.

    Raises:
        ValueError: If a tag is none of these.

    Example:
        >>> entities_of_tags(["B-PER", "I-PER", "O", "I-LOC"])
        [Entity(type='PER', start=0, end=1), Entity(type='LOC', start=3, end=3)]
    """
    given = listed("entities_of_tags", "tags", tags, "a sequence of tags")
    if wrong := _no_tags(given):
        raise ValueError(f"entities_of_tags: tags must be O, B-TYPE or I-TYPE, got {described(wrong[0])}")
    return [entity for entity, _ in _of_tags(given)]


def write_entities(path: str | os.PathLike[str], texts: Iterable[AnnotatedText]) -> None:
    """Write texts and their entities as JSON lines, which :func:`read_cluener` reads.

    Args:
        path: The file.
        texts: One text for each line.

    Raises:
        OSError: If the file cannot be written; an existing file is then left as it was.
    """
    name = "write_entities"
    check_path(name, "path", path)
    check_type(name, "texts", texts, Iterable, "annotated texts")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for text in texts:
            check_type(name, "texts", text, AnnotatedText, "annotated texts")
            stream.write(f"{json.dumps(_record(text), ensure_ascii=False)}\n")


def _record(text: AnnotatedText) -> dict[str, object]:
    label: dict[str, dict[str, list[list[int]]]] = {}
    for entity in text.entities:
        spans = label.setdefault(entity.type, {}).setdefault(text.surface(entity), [])
        spans.append([int(entity.start), int(entity.end)])
    return {"text": text.text, "label": label}


class _CheckedTexts:
    """Makes `AnnotatedText` of a file's records, and reports what is wrong with them."""

    def __init__(self, name: str, report: EntityReport | None, types: Sequence[str] | None) -> None:
        self.report = EntityReport() if report is None else report
        check_type(name, "report", self.report, EntityReport, "an EntityReport")
        self.types = None if types is None else listed(name, "types", types, "a list of types")
        if self.types is not None and not all(isinstance(kind, str) for kind in self.types):
            raise TypeError(f"{name}: types must be strings, got {self.types!r}")

    def text(self, id: str, text: str | tuple[str, ...], found: Iterable[tuple[Entity, str | None]]) -> AnnotatedText:
        entities: set[Entity] = set()
        for entity, surface in found:
            wrong = self._wrong(text, entity, surface)
            if wrong:
                self.report.left_out.append((id, wrong))
            elif entity in entities:
                self.report.repeated.append((id, f"{_words(entity)} comes twice"))
            entities |= set() if wrong else {entity}
        self.report.texts += 1
        self.report.entities += len(entities)
        if not entities:
            self.report.without_entities.append((id, "no entity"))
        return AnnotatedText(id, text, tuple(sorted(entities, key=lambda e: (e.start, e.end, e.type))))

    def sentence(self, id: str, rows: list[list[str]]) -> AnnotatedText:
        tokens, *levels = zip(*rows, strict=True)
        return self.text(id, tokens, ((entity, None) for tags in levels for entity in self._of_tags(id, tags)))

    def _of_tags(self, id: str, tags: Sequence[str]) -> Iterator[Entity]:
        for entity, begun in _of_tags(tags):
            if not begun:
                self.report.mended.append((id, f"I-{entity.type} at {entity.start} continues nothing"))
            yield entity

    def _wrong(self, text: str | tuple[str, ...], entity: Entity, surface: str | None) -> str | None:
        if self.types is not None and entity.type not in self.types:
            return f"{_words(entity)}, none of the types"
        if wrong := _misplaced(text, entity):
            return wrong
        if surface is not None and surface != _surface(text, entity):
            return f"{_words(entity)}, {_surface(text, entity)!r} in the text and {surface!r} by its surface"
        return None


def _of_tags(tags: Sequence[str]) -> Iterator[tuple[Entity, bool]]:
    """Yield the entities of a column of tags, each with whether it begins with B."""
    start, inside, begun = 0, "", True  # inside: type of the open entity, "" for none
    for place, tag in enumerate([*tags, "O"]):
        kind = tag[2:]
        if tag[0] == "I" and kind == inside:
            continue
        if inside:
            yield Entity(inside, start, place - 1), begun
        start, inside, begun = place, kind, tag[0] != "I"


def _misplaced(text: str | tuple[str, ...], entity: Entity) -> str | None:
    """Return what is wrong with an entity's span, or None."""
    if not 0 <= entity.start <= entity.end < len(text):
        return f"{_words(entity)}, no span of a text of {len(text)}"
    return None


def _words(entity: Entity) -> str:
    return f"{entity.type} from {entity.start} to {entity.end}"


def _surface(text: str | tuple[str, ...], entity: Entity) -> str:
    part = text[entity.start : entity.end + 1]
    return part if isinstance(part, str) else " ".join(part)


def _sentences(path: Path) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the sentences of a table with their numbers from 1; a sentence is a list of [token, *tags]."""
    rows: list[list[str]] = []
    count = 0
    for number, line in _lines(path):
        if line:
            rows.append(_row(f"read_litbank: '{path}', line {number}", line, rows))
        elif rows:
            count += 1
            yield count, rows
            rows = []
    if rows:
        yield count + 1, rows


def _row(where: str, line: str, before: list[list[str]]) -> list[str]:
    token, *tags = line.removesuffix("\t").split("\t")
    if not token or not tags:
        raise ValueError(f"{where}: must be a token and tags with tabs between them, got {line[:40]!r}")
    if before and len(tags) != len(before[0]) - 1:
        raise ValueError(f"{where}: must have {len(before[0]) - 1} tags like its sentence, got {len(tags)}")
    if wrong := _no_tags(tags):
        raise ValueError(f"{where}: tags must be O, B-TYPE or I-TYPE, got {wrong[0]!r}")
    return [token, *tags]


def _no_tags(values: Iterable[object]) -> list[object]:
    """Return the values that are no tags."""
    return [
        tag
        for tag in values
        if not (isinstance(tag, str) and (tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2)))
    ]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers from 1; blank lines are empty strings."""
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                yield number, line.rstrip("\r\n") if line.strip() else ""
        except UnicodeDecodeError as error:
            raise ValueError(f"read_litbank: '{path}' must be UTF-8, got other bytes after line {number}") from error
