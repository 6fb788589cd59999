"""Answers that are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydlx.cli.answer.said import say_count, write_json
from pydlx.cli.progress import counting, doing
from pydlx.data.reading import AnswerReport, read_dream
from pydlx.models.readers import Reader
from pydlx.models.readers.choice import choose, choose_all
from pydlx.tables import print_table


class Choices:
    """How likely each choice is."""

    def __init__(self, model: Reader, passage: str, question: str, choices: Sequence[str]) -> None:
        with doing("reading"):
            chosen = choose(model, passage, question, choices)
        self.found = sorted(zip(chosen.probabilities, choices, strict=True), key=lambda each: -each[0])

    def plain(self) -> dict[str, Any]:
        """What ``--json`` gives."""
        return {"choices": [{"text": text, "probability": probability} for probability, text in self.found]}

    def show(self) -> None:
        """Prints a table."""
        rows = [(f"{probability:.3f}", text) for probability, text in self.found]
        print_table(rows, ("probability", "choice"), left=(1,))


def answer_file(model: Reader, data: Path, out: Path) -> None:
    """Writes {id: choice} for a file of DREAM's form; says how many there are."""
    report = AnswerReport()
    questions = list(read_dream(data, report))
    found = choose_all(model, questions)
    answers = {each.question.id: each.best for each in (next(found) for _ in counting(questions, "answering"))}
    write_json(out, answers)
    say_count(report, answers, out)
