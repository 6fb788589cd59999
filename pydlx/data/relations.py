"""Documents with entities and the relations between them, in the format of DocRED and Re-DocRED."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydlx._checks import check_path, check_type, is_whole, listed
from pydlx.data.report import Note, Report
from pydlx.files import replacing

if TYPE_CHECKING:
    from pydlx.data.relation_records import RawDocument

NO_RELATION = "Na"  # has id 0, which is the threshold class of the adaptive losses


class Mention(NamedTuple):
    """A mention of an entity.

    Attributes:
        sentence: Index of its sentence.
        start: Index of its first word in the sentence.
        end: Index of its last word, inclusive; files have exclusive ends.
        name: Its text in the file, whose spaces may differ from those between the words.
        type: Type of the entity, such as ``"PER"``. Mentions of one entity may have different types.
    """

    sentence: int
    start: int
    end: int
    name: str
    type: str


class Fact(NamedTuple):
    """A fact: a relation between two entities of a document.

    Attributes:
        head: Index of the head entity.
        tail: Index of the tail entity.
        relation: Its name, such as ``"P17"``.
        evidence: Indices of the sentences that state it; may be empty.
    """

    head: int
    tail: int
    relation: str
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True)
class RelationDocument:
    """A document, its entities, and the relations between them.

    Attributes:
        title: Title of the document, by which predictions refer to it.
        sentences: Words of each sentence.
        entities: Mentions of each entity. An entity keeps its index even if none of its mentions is valid.
        facts: Facts, each (head, tail, relation) once.
    """

    title: str
    sentences: tuple[tuple[str, ...], ...]
    entities: tuple[tuple[Mention, ...], ...]
    facts: tuple[Fact, ...] = ()

    @property
    def sentence_starts(self) -> tuple[int, ...]:
        """Index of each sentence's first word in the document; add it to a mention's `start` and `end`."""
        return tuple(accumulate(map(len, self.sentences), initial=0))[:-1]


@dataclass
class RelationReport(Report):
    """What the file reader changed or left out. Everything that it drops is listed here.

    Attributes:
        documents: Number of documents read.
        entities: Number of their entities.
        mentions: Number of mentions of these.
        facts: Number of facts.
        left_out: Mentions that are no span of their sentence, facts whose entities do not exist or whose relation is
            unknown, and evidence without a sentence.
        repeated: Mentions and facts that occur twice and count once, and documents with the title of an earlier one,
            which are kept.
        renamed: Mentions whose name differs from the words of the span, spaces aside. They are kept.
        without_mentions: Entities without mentions. They are kept.
        without_entities: Documents without entities. They are kept.
        without_facts: Documents without facts. They are kept.
    """

    documents: int = 0
    entities: int = 0
    mentions: int = 0
    facts: int = 0
    left_out: list[Note] = field(default_factory=list)
    repeated: list[Note] = field(default_factory=list)
    renamed: list[Note] = field(default_factory=list)
    without_mentions: list[Note] = field(default_factory=list)
    without_entities: list[Note] = field(default_factory=list)
    without_facts: list[Note] = field(default_factory=list)


def read_docred(
    path: str | os.PathLike[str], report: RelationReport | None = None, *, relations: Sequence[str] | None = None
) -> Iterator[RelationDocument]:
    """Read a file in DocRED's format (Yao et al., arXiv 1906.06127) lazily, document by document.

    The file is a JSON list of ``{"title", "sents", "vertexSet", "labels"}``. ``vertexSet`` has a list of mentions
    ``{"name", "sent_id", "pos", "type"}`` for each entity, ``labels`` holds facts ``{"h", "t", "r", "evidence"}`` and
    may be missing. Other fields are ignored. Re-DocRED (Tan et al., arXiv 2205.12696) has the same format.

    Args:
        path: The file; may be gzipped and may begin with a byte order mark.
        report: Collects what is left out, repeated or empty.
        relations: Names of the relations to keep, see :func:`read_relation_names`; by default all but ``"Na"``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: While iterating, if the file is not UTF-8, no JSON or in another format; the message says where.
        ImportError: If msgspec is not installed.
    """
    name = "read_docred"
    check_path(name, "path", path)
    report = RelationReport() if report is None else report
    check_type(name, "report", report, RelationReport, "a RelationReport")
    known = None if relations is None else listed(name, "relations", relations, "a list of names")
    if known is not None and not all(isinstance(relation, str) for relation in known):
        raise TypeError(f"{name}: relations must be strings, got {known!r}")
    from pydlx.data.relation_records import documents  # needs msgspec

    return _checked(documents(path), report, None if known is None else set(known))


def read_relation_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of relations from a file such as DocRED's ``rel2id.json``, in the order of their ids.

    Args:
        path: A JSON object from names to ids: 0 to C − 1, each once, 0 for ``"Na"``.

    Returns:
        C names, the first of which is ``"Na"``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is not UTF-8, no JSON, or in another format.
    """
    name = "read_relation_names"
    check_path(name, "path", path)
    try:
        ids: Any = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{name}: '{path}' must be JSON in UTF-8, got {error}") from error
    if not isinstance(ids, dict) or not all(map(is_whole, ids.values())):
        raise ValueError(f"{name}: '{path}' must be whole numbers by name")
    names = sorted(ids, key=lambda relation: ids[relation])
    if [ids[relation] for relation in names] != list(range(len(ids))) or names[:1] != [NO_RELATION]:
        raise ValueError(f"{name}: '{path}' must have the ids from 0 to {len(ids) - 1}, 0 for {NO_RELATION!r}")
    return tuple(names)


def write_facts(path: str | os.PathLike[str], facts: Mapping[str, Iterable[Fact]]) -> None:
    """Write facts in the format of DocRED's submissions: JSON list of ``{"title", "h_idx", "t_idx", "r", "evidence"}``.

    Args:
        path: The file.
        facts: Facts of each document, by its title.

    Raises:
        OSError: If the file cannot be written; an existing file is then left as it was.
    """
    name = "write_facts"
    check_path(name, "path", path)
    check_type(name, "facts", facts, Mapping, "facts by title")
    rows = []
    for title, found in facts.items():
        for fact in listed(name, "facts", found, "facts by title"):
            check_type(name, "facts", fact, Fact, "facts by title")
            row = {"title": title, "h_idx": int(fact.head), "t_idx": int(fact.tail), "r": fact.relation}
            rows.append(row | {"evidence": [int(sentence) for sentence in fact.evidence]})
    with replacing(path) as temporary:
        temporary.write_text(f"{json.dumps(rows, ensure_ascii=False)}\n", encoding="utf-8")


def frequent_relations(documents: Iterable[RelationDocument], count: int = 10) -> list[str]:
    """Return the `count` most frequent relations of documents; ties are broken alphabetically."""
    amounts = Counter(fact.relation for document in documents for fact in document.facts)
    return sorted(amounts, key=lambda relation: (-amounts[relation], relation))[:count]


def names_of_fact(document: RelationDocument, head: int, tail: int, relation: str) -> set[tuple[str, str, str]]:
    """Return (head name, tail name, relation) for all combinations of the names of two entities."""
    heads, tails = ({mention.name for mention in document.entities[entity]} for entity in (head, tail))
    return {(one, other, relation) for one, other in product(heads, tails)}


def named_facts(documents: Iterable[RelationDocument]) -> set[tuple[str, str, str]]:
    """Return (head name, tail name, relation) for all facts of documents and all names of their entities."""
    return {
        names
        for document in documents
        for fact in document.facts
        for names in names_of_fact(document, fact.head, fact.tail, fact.relation)
    }


def _checked(raw: Iterable[RawDocument], report: RelationReport, known: set[str] | None) -> Iterator[RelationDocument]:
    titles: set[str] = set()
    for document in raw:
        if document.title in titles:
            report.repeated.append((document.title, "an earlier document has the same title"))
        titles.add(document.title)
        yield _document(document, report, known)


def _document(raw: RawDocument, report: RelationReport, known: set[str] | None) -> RelationDocument:
    title = raw.title
    entities = tuple(_mentions(raw, number, report) for number in range(len(raw.vertexSet)))
    facts = _facts(raw, report, known)
    report.documents += 1
    report.entities += len(entities)
    report.mentions += sum(map(len, entities))
    report.facts += len(facts)
    report.without_mentions += [(title, f"entity {i} has no mention") for i, those in enumerate(entities) if not those]
    if not entities:
        report.without_entities.append((title, "no entity"))
    if not facts:
        report.without_facts.append((title, "no fact"))
    return RelationDocument(title, raw.sents, entities, facts)


def _mentions(raw: RawDocument, number: int, report: RelationReport) -> tuple[Mention, ...]:
    """Return the valid mentions of one entity, without duplicates."""
    found: dict[Mention, None] = {}
    for record in raw.vertexSet[number]:
        (start, end), sentence = record.pos, record.sent_id
        what = f"entity {number}: {record.name!r}, words {start} to {end - 1} of sentence {sentence}"
        if not (0 <= sentence < len(raw.sents) and 0 <= start < end <= len(raw.sents[sentence])):
            report.left_out.append((raw.title, f"{what}: no span of the document"))
            continue
        mention = Mention(sentence, start, end - 1, record.name, record.type)
        words = " ".join(raw.sents[sentence][start:end])
        if mention in found:
            report.repeated.append((raw.title, f"{what}: comes twice"))
        elif _without_spaces(words) != _without_spaces(record.name):
            report.renamed.append((raw.title, f"{what}: reads {words!r}"))
        found[mention] = None
    return tuple(found)


def _facts(raw: RawDocument, report: RelationReport, known: set[str] | None) -> tuple[Fact, ...]:
    found: dict[tuple[int, int, str], Fact] = {}
    for label in raw.labels:
        key = label.h, label.t, label.r
        what = f"{label.r} of entities {label.h} and {label.t}"
        if not all(0 <= entity < len(raw.vertexSet) for entity in (label.h, label.t)):
            report.left_out.append((raw.title, f"{what}: there are {len(raw.vertexSet)} entities"))
        elif label.h == label.t:
            report.left_out.append((raw.title, f"{what}: these are one entity"))
        elif label.r == NO_RELATION or (known is not None and label.r not in known):
            report.left_out.append((raw.title, f"{what}: none of the relations"))
        elif key in found:
            report.repeated.append((raw.title, f"{what}: comes twice"))
        else:
            evidence = [sentence for sentence in label.evidence if 0 <= sentence < len(raw.sents)]
            if len(evidence) < len(label.evidence):
                report.left_out.append((raw.title, f"{what}: evidence {label.evidence} of {len(raw.sents)} sentences"))
            found[key] = Fact(*key, tuple(evidence))
    return tuple(found.values())


def _without_spaces(text: str) -> str:
    return "".join(text.split())
