"""Answers that are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydlx.cli.answer.files import said, write_json
from pydlx.cli.progress import counting
from pydlx.data.reading import AnswerReport, read_dream
from pydlx.models.readers import Reader
from pydlx.models.readers.choice import choose, choose_all


def answer(model: Reader, passage: str, question: str, choices: Sequence[str]) -> tuple[dict[str, Any], str]:
    """How likely each choice is, as plain data and as text."""
    chosen = choose(model, passage, question, choices)
    found = sorted(zip(chosen.probabilities, choices, strict=True), key=lambda each: -each[0])
    plain = {"choices": [{"text": text, "probability": probability} for probability, text in found]}
    rows = [f"{probability:>11.3f}  {text}" for probability, text in found]
    return plain, "\n".join([f"{'probability':>11}  choice", *rows])


def answer_file(model: Reader, data: Path, out: Path) -> str:
    """Writes {id: choice} for a file of DREAM's form; says how many there are."""
    report = AnswerReport()
    questions = list(read_dream(data, report))
    found = choose_all(model, questions)
    answers = {each.question.id: each.best for each in (next(found) for _ in counting(questions, "answering"))}
    write_json(out, answers)
    return said(report, answers, out)
