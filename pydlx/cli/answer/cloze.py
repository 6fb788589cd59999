"""Gaps filled with words of a passage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydlx.cli.answer.said import say_count, write_answers
from pydlx.cli.progress import counting, doing
from pydlx.data.reading import AnswerReport, read_cmrc2017
from pydlx.models.readers import Reader
from pydlx.models.readers.cloze import fill, fill_all
from pydlx.tables import print_table


class Words:
    """The likeliest words for one gap."""

    def __init__(self, model: Reader, passage: str, question: str, top: int) -> None:
        with doing("reading"):
            self.found = fill(model, passage, question, top_k=top).words

    def plain(self) -> dict[str, Any]:
        """What ``--json`` gives."""
        return {"words": [word._asdict() for word in self.found]}

    def show(self) -> None:
        """Prints a table."""
        rows = [(f"{word.probability:.3f}", word.text) for word in self.found]
        print_table(rows, ("probability", "word"), left=(1,))


def answer_file(model: Reader, data: Path, out: Path) -> None:
    """Writes CMRC2017's lines of id and word; says how many there are."""
    report = AnswerReport()
    questions = list(read_cmrc2017(data, report=report))
    found = fill_all(model, questions)
    words = {each.question.id: each.best for each in (next(found) for _ in counting(questions, "answering"))}
    write_answers(out, "".join(f"<{id}> ||| {word}\n" for id, word in words.items()))
    say_count(report, words, out)
