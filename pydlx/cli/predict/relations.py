"""``pydlx predict`` with models that find relations between the entities of documents."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydlx.cli.inputs import check_file, standard_input
from pydlx.cli.options import STANDARD
from pydlx.cli.outputs import give_json, output_file, say, words_beside
from pydlx.cli.progress import counting
from pydlx.data.relations import Fact, RelationDocument, RelationReport, read_docred, write_facts
from pydlx.models.relations import DocumentRelations, FoundRelation, entity_name, find_all_relations
from pydlx.tables import print_table

_WIDEST = 40  # characters of a name that are shown

Found = Sequence[tuple[RelationDocument, Sequence[FoundRelation]]]


def predict(model: DocumentRelations, args: argparse.Namespace) -> int:
    """Finds relations in the documents of files; shows them, or writes them all."""
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ValueError(f"--threshold must be between 0 and 1, got {args.threshold}")
    if args.out is not None and args.data is None:
        raise ValueError("--out must not be given without --data")
    names = {} if args.relation_names is None else _names(args.relation_names)
    documents = _documents(args)
    if args.data is not None:
        _check_titles(documents)
    found = find_all_relations(model, documents, threshold=args.threshold, top_k=args.top_k)
    pairs = [(document, next(found)) for document in counting(documents, "reading")]
    if args.data is not None:
        _write(pairs, args.out)
    elif not give_json(args.json, [_plain(*pair, names) for pair in pairs]):
        for number, pair in enumerate(pairs):
            print("\n" * (number > 0), end="")
            show(*pair, names)
    return 0


def _documents(args: argparse.Namespace) -> list[RelationDocument]:
    """The documents of all files; says on stderr what of them is left out."""
    report = RelationReport()
    documents: list[RelationDocument] = []
    argument = "INPUT" if args.data is None else "--data"
    for path in args.inputs if args.data is None else [args.data]:
        if path == STANDARD:
            with standard_input(argument) as place:
                documents += read_docred(place, report)
        else:
            check_file(path, argument)
            documents += read_docred(path, report)
    if report.left_out:
        where, what = report.left_out[0]
        parts = len(report.left_out)
        print(f"warning: {parts} parts of the documents are left out, the first in {where!r}: {what}", file=sys.stderr)
    return documents


def _write(pairs: Found, out: Path) -> None:
    """Writes a submission, and says how many relations it has."""
    facts = {
        document.title: [Fact(each.head, each.tail, each.relation, each.evidence) for each in those]
        for document, those in pairs
    }
    with output_file(out) as place:
        write_facts(place, facts)
    number = sum(len(those) for _, those in pairs)
    say(f"{len(pairs)} documents: {number} relations, written to {out}", words_beside(out))


def _check_titles(documents: Sequence[RelationDocument]) -> None:
    """Refuses documents of one title, which a submission cannot tell apart."""
    seen: set[str] = set()
    for document in documents:
        if document.title in seen:
            raise ValueError(f"documents must have different titles to be written, got {document.title!r} twice")
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


def show(document: RelationDocument, found: Sequence[FoundRelation], names: Mapping[str, str]) -> None:
    """Prints the title, and a table of the relations with the sentences that name both entities."""
    print(document.title)
    if not found:
        print("no relations")
        return
    rows = []
    for each in found:
        head, tail = (_short(entity_name(document, entity)) for entity in (each.head, each.tail))
        relation = f"{each.relation} {names[each.relation]}" if each.relation in names else each.relation
        rows.append((f"{each.score:.3f}", head, _short(relation), tail, ", ".join(map(str, each.evidence)) or "-"))
    print_table(rows, ("score", "head", "relation", "tail", "sentences"), left=range(5))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 2]} …"
