"""``pydlx predict`` with models that find entities in texts."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from pydlx.cli.inputs import DATA_SUFFIXES, given_text, standard_input
from pydlx.cli.options import STANDARD
from pydlx.cli.outputs import give_json, output_file, say, words_beside
from pydlx.cli.progress import counting, doing
from pydlx.data.entities import AnnotatedText, Entity, read_entities, write_entities
from pydlx.models.entities import EntityTagger, FoundEntity, find_all_entities, find_entities
from pydlx.tables import print_pieces, print_table

# Of types, in turn.
_COLOURS = tuple(
    f"{bright}{colour}"
    for bright in ("", "bright_")
    for colour in ("red", "green", "yellow", "blue", "magenta", "cyan")
)


def predict(model: EntityTagger, args: argparse.Namespace) -> int:
    """Finds entities in texts, or in all of a file."""
    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ValueError(f"--threshold must be from 0 to 1, got {args.threshold}")
    if args.data is not None:
        _predict_file(model, args)
        return 0
    if args.out is not None:
        raise ValueError("--out must not be given without --data")
    assert model.companion is not None
    colours = _colours(model.companion["types"])
    plain = []
    for number, text in enumerate(list(_texts(args.inputs))):
        with doing("reading"):
            found = find_entities(model, text, threshold=args.threshold, flat=args.flat)
        plain.append({"text": text, "entities": [entity._asdict() for entity in found]})
        if args.json != STANDARD:
            print("\n" * (number > 0), end="")
            _show(text, found, colours)
    give_json(args.json, plain)
    return 0


def _texts(inputs: Sequence[str]) -> Iterator[str]:
    """The texts that are given, by themselves, by name or through a pipe."""
    for given in inputs:
        if given.endswith(DATA_SUFFIXES) and Path(given).exists():
            raise ValueError(f"INPUT: '{given}' looks like data; give it to --data to find entities in its texts")
        yield given_text(given, "INPUT")


def _predict_file(model: EntityTagger, args: argparse.Namespace) -> None:
    if args.out.suffix == ".tsv":
        raise ValueError(f"--out must name a file for lines of JSON, not a table, got '{args.out}'")
    with ExitStack() as stack:
        data = stack.enter_context(standard_input("--data")) if args.data == STANDARD else args.data
        texts = list(read_entities(data))
    found = find_all_entities(model, (text.text for text in texts), threshold=args.threshold, flat=args.flat)
    written = [_with(text, next(found)) for text in counting(texts, "reading")]
    with output_file(args.out) as place:
        write_entities(place, written)
    number = sum(len(text.entities) for text in written)
    say(f"{len(written)} texts: {number} entities, written to {args.out}", words_beside(args.out))


def _with(text: AnnotatedText, found: Sequence[FoundEntity]) -> AnnotatedText:
    return AnnotatedText(text.id, text.text, tuple(Entity(e.type, e.start, e.end) for e in found))


def _colours(types: Sequence[str]) -> dict[str, str]:
    return {kind: _COLOURS[number % len(_COLOURS)] for number, kind in enumerate(types)}


def _show(text: str, found: Sequence[FoundEntity], colours: dict[str, str]) -> None:
    """Prints the text with its entities marked, and a table of them."""
    print_pieces(marked(text.strip("\n"), _moved(found, len(text) - len(text.lstrip("\n"))), colours))
    print()
    if not found:
        print("no entities")
        return
    rows = [(f"{e.score:.3f}", e.type, e.start, e.end, " ".join(e.text.split())) for e in found]
    print_table(rows, ("score", "type", "from", "to", "text"), left=(1, 4))


def _moved(found: Sequence[FoundEntity], by: int) -> list[FoundEntity]:
    return [entity._replace(start=entity.start - by, end=entity.end - by) for entity in found]


def marked(text: str, entities: Sequence[FoundEntity], colours: dict[str, str]) -> list[tuple[str, str]]:
    """The text with ``[`` before each entity and ``|TYPE]`` behind it, nested ones within, in pieces and their colours.

    What several entities hold has the colour of the shortest.
    """
    bounds = sorted({0, len(text), *(e.start for e in entities), *(e.end + 1 for e in entities)})
    shown: list[tuple[str, str]] = []
    for first, past in itertools.pairwise(bounds):
        holding = sorted((e for e in entities if e.start <= first and past <= e.end + 1), key=lambda e: e.start - e.end)
        shown += (("[", colours[entity.type]) for entity in holding if entity.start == first)
        shown.append((text[first:past], colours[holding[-1].type] if holding else ""))
        shown += ((f"|{entity.type}]", colours[entity.type]) for entity in holding[::-1] if entity.end + 1 == past)
    return shown
