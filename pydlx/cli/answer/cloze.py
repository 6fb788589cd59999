"""Gaps filled with words of a passage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydlx.cli.answer.files import said, write_text
from pydlx.cli.progress import counting
from pydlx.data.reading import AnswerReport, read_cmrc2017
from pydlx.models.readers import Reader
from pydlx.models.readers.cloze import fill, fill_all


def answer(model: Reader, passage: str, question: str, top: int) -> tuple[dict[str, Any], str]:
    """The likeliest words for one gap, as plain data and as text."""
    filled = fill(model, passage, question, top_k=top)
    rows = [f"{word.probability:>11.3f}  {word.text}" for word in filled.words]
    return {"words": [word._asdict() for word in filled.words]}, "\n".join([f"{'probability':>11}  word", *rows])


def answer_file(model: Reader, data: Path, out: Path) -> str:
    """Writes CMRC2017's lines of id and word; says how many there are."""
    report = AnswerReport()
    questions = list(read_cmrc2017(data, report=report))
    found = fill_all(model, questions)
    words = {each.question.id: each.best for each in (next(found) for _ in counting(questions, "answering"))}
    write_text(out, "".join(f"<{id}> ||| {word}\n" for id, word in words.items()))
    return said(report, words, out)
