"""Compares trained models of relations over several seeds: a table of scores, their predictions and learning curves.

    pydlx train relation data=redocred_dev.json loss=adaptive_focal seed=0 out=runs/adaptive_focal-0
    python examples/relation_results.py redocred_test.json runs/*-? --train redocred_dev.json [--out FOLDER]

Each RUN is an output folder of ``pydlx train relation``, named NAME-SEED; runs of one NAME share a row of the table.
Their ``best.ckpt`` finds the relations of the documents. Writes to FOLDER (demo_output): ``scores.md``, means and
standard deviations over the seeds, in percent; ``facts/RUN.json``, the predictions in DocRED's submission format, for
``pydlx eval relations``; and ``curves.png``, the validation's F1 by epoch.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydlx.cli.progress import doing
from pydlx.data import Fact, RelationDocument, read_docred, write_facts
from pydlx.files import replacing
from pydlx.metrics import relation_score
from pydlx.models import load_model
from pydlx.models.relations import find_all_relations
from pydlx.training.curves import draw_learning_curves

SCORES = {
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "ign_f1": "Ign F1",
    "frequent_f1": "F1, frequent",
    "long_tail_f1": "F1, long tail",
    "together": "recall, together",
    "apart": "recall, apart",
}


def main() -> None:
    """Predicts with each model, scores the predictions and writes the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="documents in DocRED's form")
    parser.add_argument("runs", type=Path, nargs="+", help="output folders of pydlx train relation")
    parser.add_argument("--train", type=Path, required=True, help="the documents that the models were trained on")
    parser.add_argument("--limit", type=int, help="read only this many documents, from the first")
    parser.add_argument("--out", type=Path, default=Path("demo_output"))
    options = parser.parse_args()
    (options.out / "facts").mkdir(parents=True, exist_ok=True)
    documents, training = list(read_docred(options.data))[: options.limit], list(read_docred(options.train))
    results: dict[str, list[dict[str, float]]] = {}
    for run in options.runs:
        with doing(f"reading with {run.name}"):
            facts = found_facts(load_model(run / "best.ckpt"), documents)
        write_facts(options.out / "facts" / f"{run.name}.json", facts)
        scores = scores_of(documents, facts, training)
        results.setdefault(run.name.rpartition("-")[0] or run.name, []).append(scores)
        print(run.name, *(f"{SCORES[name]} {100 * scores[name]:.1f}" for name in SCORES), sep="  ")
    write_table(result_rows(results), options.out / "scores.md")
    draw_learning_curves(options.runs, "val/f1", options.out / "curves.png", label="F1, validation")
    print(f"written to {options.out}")


def found_facts(model: Any, documents: Sequence[RelationDocument]) -> dict[str, list[Fact]]:
    """Returns the facts that a model predicts, by the document's title."""
    found = zip(documents, find_all_relations(model, documents), strict=True)
    return {document.title: [Fact(e.head, e.tail, e.relation, e.evidence) for e in each] for document, each in found}


def scores_of(
    documents: Sequence[RelationDocument], facts: dict[str, list[Fact]], training: Sequence[RelationDocument]
) -> dict[str, float]:
    """Returns the scores, and the recall of facts by whether some sentence mentions both entities.

    ``together`` is the recall of facts with such a sentence, ``apart`` of those without.
    """
    rows = [
        {"title": title, "h_idx": fact.head, "t_idx": fact.tail, "r": fact.relation}
        for title, those in facts.items()
        for fact in those
    ]
    found = {(title, *fact[:3]) for title, those in facts.items() for fact in those}
    sides: dict[bool, list[bool]] = {True: [], False: []}
    for document in documents:
        named = [{mention.sentence for mention in places} for places in document.entities]
        for fact in document.facts:
            sides[bool(named[fact.head] & named[fact.tail])].append((document.title, *fact[:3]) in found)
    recalls = {"together": mean(sides[True]), "apart": mean(sides[False])}
    return relation_score(documents, rows, train=training) | recalls


def result_rows(results: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    """Returns a table with a row for each group of runs."""
    rows = [["", "runs", *SCORES.values()], ["---", *(["---:"] * (len(SCORES) + 1))]]
    for name, runs in results.items():
        rows.append([name, str(len(runs)), *(spread([100 * run[score] for run in runs]) for score in SCORES)])
    return rows


def spread(values: Sequence[float]) -> str:
    """Formats mean and standard deviation; a single value has no standard deviation."""
    average = f"{statistics.fmean(values):.1f}"
    return average if len(values) < 2 else f"{average} ± {statistics.stdev(values):.1f}"


def mean(values: Iterable[bool]) -> float:
    """Returns the share of True; 0 for no values."""
    values = list(values)
    return sum(values) / max(len(values), 1)


def write_table(rows: list[list[str]], path: Path) -> None:
    """Writes a table in Markdown."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"| {' | '.join(row)} |\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
