"""Compares trained readers on a file of questions: a table of scores, learning curves and some answers.

    pydlx train reader model=bidaf data=train.json val=dev.json out=runs/bidaf
    python examples/reading_results.py dev.json runs/bidaf [RUN ...] [--score cmrc] [--answers 20] [--out FOLDER]

Each RUN is an output folder of ``pydlx train reader``; its ``best.ckpt`` answers the questions of the file. Writes to
FOLDER (demo_output): ``scores.md``, a table of the scores; ``curves.png``, the validation's F1 by step; and
``answers.md``, some of the first run's answers, drawn at random with a fixed seed.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

from pydlx.cli.progress import doing
from pydlx.data.reading import Question, read_squad
from pydlx.files import replacing
from pydlx.metrics import cmrc_answer_scores, squad_answer_scores
from pydlx.models import load_model
from pydlx.models.readers import ask_all
from pydlx.training.curves import draw_learning_curves

SCORES = {"squad": squad_answer_scores, "cmrc": cmrc_answer_scores}
Scored = tuple[str, float, float]  # an answer, its exact match and its F1


def main() -> None:
    """Asks each reader all questions and writes the three files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="questions in SQuAD's form")
    parser.add_argument("runs", type=Path, nargs="+", help="output folders of pydlx train reader")
    parser.add_argument("--score", choices=sorted(SCORES), default="squad")
    parser.add_argument("--limit", type=int, help="ask only this many questions, from the first")
    parser.add_argument("--answers", type=int, default=20, help="how many answers to write (default 20)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    questions = list(read_squad(options.data))[: options.limit]
    rows = [["reader", "parameters", "exact match", "F1", "questions per second"], ["---"] + 4 * ["---:"]]
    answers: list[list[Scored]] = []
    for run in options.runs:
        model: Any = load_model(run / "best.ckpt")
        start = time.perf_counter()
        with doing(f"asking {run.name}"):
            texts = [asked.best for asked in ask_all(model, questions)]
        seconds = time.perf_counter() - start
        answers.append(scored(questions, texts, options.score))
        exact, f1 = (100 * sum(row[column] for row in answers[-1]) / len(questions) for column in (1, 2))
        size = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
        rows.append([run.name, f"{size:,}", f"{exact:.1f}", f"{f1:.1f}", f"{len(questions) / seconds:.0f}"])
        print(*rows[-1])
    write_table(rows, options.out / "scores.md")
    write_table(answer_rows(questions, answers[0], options.answers), options.out / "answers.md")
    draw_learning_curves(options.runs, "val/f1", options.out / "curves.png", by="step", label="F1, validation")
    print(f"written to {options.out}")


def scored(questions: list[Question], texts: list[str], score: str) -> list[Scored]:
    """Returns each answer with its exact match and F1 against the right answers."""
    golds = [[answer.text for answer in question.answers] for question in questions]
    return [(text, *SCORES[score](text, right)) for text, right in zip(texts, golds, strict=True)]


def answer_rows(questions: list[Question], answers: list[Scored], count: int) -> list[list[str]]:
    """Returns a table of ``count`` answers, drawn with a fixed seed."""
    rows = [["question", "answer", "right answers", "F1"], ["---", "---", "---", "---:"]]
    for place in sorted(random.Random(0).sample(range(len(questions)), min(count, len(questions)))):
        text, _, f1 = answers[place]
        right = " / ".join(dict.fromkeys(answer.text for answer in questions[place].answers))
        rows.append([*(cell(part) for part in (questions[place].question, text, right)), f"{100 * f1:.0f}"])
    return rows


def cell(text: str) -> str:
    """Returns a text as a cell of a Markdown table: on one line, bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def write_table(rows: list[list[str]], path: Path) -> None:
    """Writes a table in Markdown."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"| {' | '.join(row)} |\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
