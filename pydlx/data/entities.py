"""Texts in which entities are marked: CLUENER's JSON lines and LitBank's tables of nested tags.

The end of every span is its last character or token, as in both kinds of file, and not the one past it.
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
    """A span of a text and what it is.

    Attributes:
        type: Such as ``"PER"``.
        start: Its first character or token.
        end: Its last one, inclusive.
    """

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class AnnotatedText:
    """A text and the entities in it, which may overlap and lie in each other.

    Attributes:
        id: Where it stands: ``"line 7"`` of a file of JSON lines, ``"file:7"`` of the sentences of a table.
        text: A string, of which spans count characters, or a tuple of tokens, of which they count tokens.
        entities: Spans of the text. Readers give each once, in the order of start, end and type.

    Raises:
        ValueError: An entity is no span of the text.
    """

    id: str
    text: str | tuple[str, ...]
    entities: tuple[Entity, ...] = ()

    def __post_init__(self) -> None:
        for entity in self.entities:
            if wrong := _misplaced(self.text, entity):
                raise ValueError(f"AnnotatedText: entities must be spans of their text ({self.id}), got {wrong}")

    def surface(self, entity: Entity) -> str:
        """The words of an entity, tokens with spaces between them."""
        return _surface(self.text, entity)


@dataclass
class EntityReport(Report):
    """What happened to the entities of a file. Nothing is dropped that is not listed here.

    Attributes:
        texts: How many were read.
        entities: How many they have.
        left_out: Spans that are none of their text, or not of a known type, and why.
        repeated: Spans that their text has already with the same type, which count once.
        mended: Tags ``I-X`` that continue nothing; they begin an entity, as in conlleval.
        without_entities: Texts without any. They are kept.
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
    """Reads JSON lines of CLUENER's form (Xu et al., arXiv 2001.04351), text after text.

    A line is ``{"text": ..., "label": {type: {surface: [[start, end], ...]}}}``, the end inclusive; ``label`` may be
    absent, other fields are passed over. Besides strings ``text`` may be a list of tokens, as :func:`write_entities`
    writes it; the surface then has a space between two of them.

    Left out, with a note: spans outside of the text or with an end before their start, those where the text reads
    otherwise than their surface (an exclusive end, most often), and types that are not in `types`.

    Args:
        path: The file; may be gzipped and may begin with a byte order mark.
        report: Takes note of what was left out or repeated.
        types: The types to take. By default all.

    Raises:
        OSError: The file cannot be read.
        ValueError: On the way: the file is not UTF-8, or a line is not of this form; the message says which.
        ImportError: msgspec is not installed.
    """
    check_path("read_cluener", "path", path)
    noted = _Noted("read_cluener", report, types)
    from pydlx.data.entity_records import cluener_lines  # needs msgspec

    return (
        noted.text(where, text, ((Entity(kind, *span), surface) for kind, surface, span in spans))
        for where, text, spans in cluener_lines(path)
    )


def read_litbank(
    path: str | os.PathLike[str], report: EntityReport | None = None, *, types: Sequence[str] | None = None
) -> Iterator[AnnotatedText]:
    """Reads tables of tokens and nested tags such as LitBank's (Bamman et al., NAACL 2019), sentence after sentence.

    A line is a token and one or more tags ``O``, ``B-X`` or ``I-X``, with tabs between them; a blank line ends a
    sentence. Each column of tags is one level of nesting, read by itself. An ``I-X`` that continues nothing begins an
    entity, with a note.

    Args:
        path: A file, or a folder, of which all files ``*.tsv`` are read in the order of their names.
        report: Takes note of what was left out, repeated or mended.
        types: The types to take. By default all.

    Raises:
        OSError: A file cannot be read, or the folder holds none.
        ValueError: On the way: a file is not UTF-8, or a line is not of this form; the message says which.
    """
    check_path("read_litbank", "path", path)
    noted = _Noted("read_litbank", report, types)
    place = Path(path)
    files = sorted(place.glob("*.tsv")) if place.is_dir() else [place]
    if not files or not files[0].is_file():
        raise FileNotFoundError(f"read_litbank: no such file, or folder with *.tsv: '{path}'")
    return (noted.sentence(f"{file.stem}:{number}", rows) for file in files for number, rows in _sentences(file))


def read_entities(
    path: str | os.PathLike[str], report: EntityReport | None = None, *, types: Sequence[str] | None = None
) -> Iterator[AnnotatedText]:
    """Reads a folder or a ``*.tsv`` as :func:`read_litbank` does, any other file as :func:`read_cluener` does.

    Args:
        path: What to read.
        report: Takes note of what was left out, repeated or mended.
        types: The types to take. By default all.

    Raises:
        OSError: As these raise it.
        ValueError: As these raise it.
    """
    check_path("read_entities", "path", path)
    table = Path(path).is_dir() or Path(path).suffix == ".tsv"
    return (read_litbank if table else read_cluener)(path, report, types=types)


def entities_of_tags(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sequence of tags ``O``, ``B-X`` and ``I-X``, in their order.

    An ``I-X`` that continues no entity of its type begins one, as in conlleval and in seqeval's default mode.

    Args:
        tags: One for each token.

    Raises:
        ValueError: A tag is none of these.

    Example:
        >>> entities_of_tags(["B-PER", "I-PER", "O", "I-LOC"])
        [Entity(type='PER', start=0, end=1), Entity(type='LOC', start=3, end=3)]
    """
    given = listed("entities_of_tags", "tags", tags, "a sequence of tags")
    if wrong := _no_tags(given):
        raise ValueError(f"entities_of_tags: tags must be O, B-TYPE or I-TYPE, got {described(wrong[0])}")
    return [entity for entity, _ in _of_tags(given)]


def write_entities(path: str | os.PathLike[str], texts: Iterable[AnnotatedText]) -> None:
    """Writes texts and their entities as JSON lines, which :func:`read_cluener` reads.

    Args:
        path: The file.
        texts: Each becomes a line.

    Raises:
        OSError: The file cannot be written; what stood there before is untouched.
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


class _Noted:
    """Makes texts of what a file holds, and takes note of what is not as it should be."""

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
    """The entities of a column of tags, each with whether it begins with B."""
    start, inside, begun = 0, "", True  # inside: the type of the entity that is open
    for place, tag in enumerate([*tags, "O"]):
        kind = tag[2:]
        if tag[0] == "I" and kind == inside:
            continue
        if inside:
            yield Entity(inside, start, place - 1), begun
        start, inside, begun = place, kind, tag[0] != "I"


def _misplaced(text: str | tuple[str, ...], entity: Entity) -> str | None:
    """What is wrong with the place of an entity."""
    if not 0 <= entity.start <= entity.end < len(text):
        return f"{_words(entity)}, no span of a text of {len(text)}"
    return None


def _words(entity: Entity) -> str:
    return f"{entity.type} from {entity.start} to {entity.end}"


def _surface(text: str | tuple[str, ...], entity: Entity) -> str:
    part = text[entity.start : entity.end + 1]
    return part if isinstance(part, str) else " ".join(part)


def _sentences(path: Path) -> Iterator[tuple[int, list[list[str]]]]:
    """The sentences of a table with their numbers from 1: a list of token and tags for each line."""
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
    """Those that are no tags."""
    return [
        tag
        for tag in values
        if not (isinstance(tag, str) and (tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2)))
    ]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1; blank ones are empty."""
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                yield number, line.rstrip("\r\n") if line.strip() else ""
        except UnicodeDecodeError as error:
            raise ValueError(f"read_litbank: '{path}' must be UTF-8, got other bytes after line {number}") from error
