"""``pydlx predict`` with models that find entities in texts."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydlx.cli.progress import counting, doing
from pydlx.cli.texts import DATA_SUFFIXES, given_text
from pydlx.data.entities import AnnotatedText, Entity, read_entities, write_entities
from pydlx.files import check_writable
from pydlx.models.entities import EntityTagger, FoundEntity, find_all_entities, find_entities

_COLOURS = (31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96)  # of types, in the terminal's numbers


def predict(model: EntityTagger, args: argparse.Namespace) -> int:
    """Finds entities in texts, or in all of a file."""
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must be from 0 to 1, got {args.threshold}")
    if args.data:
        return _predict_file(model, args)
    if args.out is not None:
        raise ValueError("--out must not be given without --data")
    for number, given in enumerate(args.inputs):
        if given.endswith(DATA_SUFFIXES) and Path(given).exists():
            raise ValueError(f"input: '{given}' looks like data; give --data and --out to find entities in its texts")
        text = given_text(given, "input")
        with doing("reading"):
            found = find_entities(model, text, threshold=args.threshold, flat=args.flat)
        if args.json:
            print(json.dumps({"text": text, "entities": [e._asdict() for e in found]}, ensure_ascii=False))
            continue
        assert model.companion is not None
        colours = _colours(model.companion["types"]) if sys.stdout.isatty() else {}
        print("\n" * (number > 0) + marked(text, found, colours) + "\n\n" + _listed(found))
    return 0


def _predict_file(model: EntityTagger, args: argparse.Namespace) -> int:
    if args.json:
        raise ValueError("--json must not be given with --data")
    if len(args.inputs) > 1:
        raise ValueError(f"input must be one file with --data, got {len(args.inputs)}")
    data = Path(args.inputs[0])
    if args.out is None:
        raise ValueError("--out must name a file with --data")
    if args.out.resolve() == data.resolve():
        raise ValueError(f"--out must be another file than the input, got {args.out}")
    if args.out.suffix == ".tsv":
        raise ValueError(f"--out must name a file for lines of JSON, not a table, got {args.out}")
    check_writable(args.out)
    texts = list(read_entities(data))
    found = find_all_entities(model, (text.text for text in texts), threshold=args.threshold, flat=args.flat)
    written = [_with(text, next(found)) for text in counting(texts, "reading")]
    write_entities(args.out, written)
    count = sum(len(text.entities) for text in written)
    print(f"{len(written)} texts: {count} entities, written to {args.out}")
    return 0


def _with(text: AnnotatedText, found: Sequence[FoundEntity]) -> AnnotatedText:
    return AnnotatedText(text.id, text.text, tuple(Entity(e.type, e.start, e.end) for e in found))


def _colours(types: Sequence[str]) -> dict[str, int]:
    return {kind: _COLOURS[number % len(_COLOURS)] for number, kind in enumerate(types)}


def marked(text: str, entities: Sequence[FoundEntity], colours: dict[str, int]) -> str:
    """The text with ``[`` before each entity and ``|TYPE]`` behind it, nested ones within, in the types' colours.

    What several entities hold has the colour of the shortest.
    """

    def coloured(part: str, kind: str) -> str:
        return f"\033[{colours[kind]}m{part}\033[0m" if colours else part

    bounds = sorted({0, len(text), *(e.start for e in entities), *(e.end + 1 for e in entities)})
    shown: list[str] = []
    for first, past in itertools.pairwise(bounds):
        holding = sorted((e for e in entities if e.start <= first and past <= e.end + 1), key=lambda e: e.start - e.end)
        shown += (coloured("[", entity.type) for entity in holding if entity.start == first)
        part = text[first:past]
        shown.append(coloured(part, holding[-1].type) if holding else part)
        shown += (coloured(f"|{entity.type}]", entity.type) for entity in holding[::-1] if entity.end + 1 == past)
    return "".join(shown).strip("\n")


def _listed(entities: Sequence[FoundEntity]) -> str:
    """A table of the entities."""
    if not entities:
        return "no entities"
    rows = [("score", "type", "from", "to", "text")]
    rows += [(f"{e.score:.3f}", e.type, str(e.start), str(e.end), " ".join(e.text.split())) for e in entities]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{score:>{widths[0]}}  {kind:<{widths[1]}}  {start:>{widths[2]}}  {end:>{widths[3]}}  {words}"
        for score, kind, start, end, words in rows
    )
