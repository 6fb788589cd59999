"""``pydlx predict`` with models that find relations between the entities of documents."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydlx.cli.progress import counting
from pydlx.data.relations import Fact, RelationDocument, RelationReport, read_docred, write_facts
from pydlx.files import check_writable
from pydlx.models.relations import DocumentRelations, FoundRelation, entity_name, find_all_relations

_WIDEST = 40  # characters of a name that are shown


def predict(model: DocumentRelations, args: argparse.Namespace) -> int:
    """Finds relations in the documents of files; shows them, or writes them all."""
    _check(args)
    names = {} if args.relation_names is None else _names(args.relation_names)
    report = RelationReport()
    documents = [document for given in args.inputs for document in read_docred(given, report)]
    if report.left_out:
        where, what = report.left_out[0]
        count = len(report.left_out)
        print(f"warning: {count} parts of the documents are left out, the first in {where!r}: {what}", file=sys.stderr)
    if args.out is not None:
        _check_titles(documents)
    found = find_all_relations(model, documents, threshold=args.threshold, top_k=args.top_k)
    relations = [next(found) for _ in counting(documents, "reading")]
    if args.out is not None:
        facts = {
            document.title: [Fact(each.head, each.tail, each.relation, each.evidence) for each in those]
            for document, those in zip(documents, relations, strict=True)
        }
        write_facts(args.out, facts)
        print(f"{report.documents} documents: {sum(map(len, relations))} relations, written to {args.out}")
    elif args.json:
        for document, those in zip(documents, relations, strict=True):
            print(json.dumps(_plain(document, those, names), ensure_ascii=False))
    else:
        print("\n\n".join(shown(*pair, names) for pair in zip(documents, relations, strict=True)))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuses options that are out of range or do not go together."""
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ValueError(f"--threshold must be between 0 and 1, got {args.threshold}")
    if args.top_k is not None and args.top_k < 1:
        raise ValueError(f"--top-k must be positive, got {args.top_k}")
    if args.out is None:
        return
    if args.json:
        raise ValueError("--json must not be given with --out, which writes JSON")
    if args.out.resolve() in {Path(given).resolve() for given in args.inputs}:
        raise ValueError(f"--out must be another file than the documents, got {args.out}")
    check_writable(args.out)


def _check_titles(documents: Sequence[RelationDocument]) -> None:
    """Refuses documents of one title, which a submission cannot tell apart."""
    seen: set[str] = set()
    for document in documents:
        if document.title in seen:
            raise ValueError(
                f"documents must have different titles to be written with --out, got {document.title!r} twice"
            )
        seen.add(document.title)


def _names(path: Path) -> dict[str, str]:
    """Names of relations, of a file such as DocRED's ``rel_info.json``."""
    try:
        names: Any = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"--relation-names: '{path}' must be JSON in UTF-8, got {error}") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"--relation-names: '{path}' must be a JSON object of names by relation")
    return names


def _plain(document: RelationDocument, found: Sequence[FoundRelation], names: Mapping[str, str]) -> dict[str, Any]:
    rows = []
    for each in found:
        named = {"name": names[each.relation]} if each.relation in names else {}
        sides = {"head_name": entity_name(document, each.head), "tail_name": entity_name(document, each.tail)}
        rows.append({**each._asdict(), **named, **sides})
    return {"title": document.title, "relations": rows}


def shown(document: RelationDocument, found: Sequence[FoundRelation], names: Mapping[str, str]) -> str:
    """The title, and a table of the relations with the sentences that name both entities."""
    if not found:
        return f"{document.title}\nno relations"
    rows = [("score", "head", "relation", "tail", "sentences")]
    for each in found:
        head, tail = (_short(entity_name(document, entity)) for entity in (each.head, each.tail))
        relation = f"{each.relation} {names[each.relation]}" if each.relation in names else each.relation
        rows.append((f"{each.score:.3f}", head, _short(relation), tail, ", ".join(map(str, each.evidence)) or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows)
    return "\n".join([document.title, *lines])


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 2]} …"
