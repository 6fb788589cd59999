"""Answers from several documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydlx.cli.answer.said import say_count, write_answers
from pydlx.cli.progress import counting
from pydlx.data.reading import AnswerReport, FreeQuestion
from pydlx.data.reading.documents import FREE_FORMATS
from pydlx.models.readers import Reader
from pydlx.models.readers.documents import ask_documents


def answer_file(model: Reader, data: Path, out: Path, form: str, max_length: int | None) -> None:
    """Writes a JSON object in each line, as DuReader's or MS MARCO's script reads it; says how many there are."""
    report = AnswerReport()
    questions = list(FREE_FORMATS[form](data, report))
    found = ask_documents(model, questions, max_length=max_length)
    answers, lines = {}, []
    for question in counting(questions, "answering"):
        text = next(found).best
        answers[question.id] = text
        lines.append(json.dumps(_record(question, text, form), ensure_ascii=False) + "\n")
    write_answers(out, "".join(lines))
    say_count(report, answers, out)


def _record(question: FreeQuestion, text: str, form: str) -> dict[str, Any]:
    number = int(question.id) if question.id.isdecimal() else question.id  # ids are numbers in both sets' files
    if form == "marco":
        return {"query_id": number, "answers": [text]}
    return {
        "question_id": number,
        "question_type": question.kind,
        "answers": [text],
        "yesno_answers": [],
        "entity_answers": [[]],
    }
