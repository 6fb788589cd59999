"""Answers that stand in a passage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydlx.cli.answer.files import said, write_json
from pydlx.cli.progress import counting
from pydlx.data.reading import AnswerReport, read_squad
from pydlx.models.readers import Asked, FoundAnswer, Reader, ask, ask_all

_CONTEXT = 400  # characters of a long passage that are shown before and behind the answer


def answer(
    model: Reader, passage: str, question: str, top: int, max_length: int | None, colour: bool
) -> tuple[dict[str, Any], str]:
    """The best answers to one question, as plain data and as text."""
    asked = ask(model, passage, question, top_k=top, max_length=max_length)
    return _plain(asked), _shown(asked, colour)


def answer_file(model: Reader, data: Path, out: Path, na_probs: Path | None, max_length: int | None) -> str:
    """Writes {id: answer} and, if asked for, {id: probability of no answer}; says how many there are."""
    report = AnswerReport()
    questions = list(read_squad(data, report))
    found = ask_all(model, questions, max_length=max_length)
    asked = [next(found) for _ in counting(questions, "answering")]
    answers = {each.question.id: each.best for each in asked}
    write_json(out, answers)
    if na_probs is not None:
        write_json(na_probs, {each.question.id: each.null_probability for each in asked})
    return said(report, answers, out)


def _plain(asked: Asked) -> dict[str, Any]:
    null = {"probability": asked.null_probability, "score": asked.null_score} if _knows_none(asked) else None
    return {"answers": [answer._asdict() for answer in asked.answers], "no_answer": null}


def _knows_none(asked: Asked) -> bool:
    """Whether the reader has learned that a passage may hold no answer."""
    return math.isfinite(asked.null_score)


def _shown(asked: Asked, colour: bool) -> str:
    """The passage with the best answer marked, unless no answer is likelier, and all answers below."""
    rows = [(answer.score, answer.probability, " ".join(answer.text.split())) for answer in asked.answers]
    if _knows_none(asked):
        rows.append((asked.null_score, asked.null_probability, "(no answer)"))
        rows.sort(key=lambda row: -row[0])
    lines = [f"{'probability':>11}  {'score':>7}  answer"]
    lines += [f"{probability:>11.3f}  {score:>7.2f}  {text}" for score, probability, text in rows]
    if asked.best:
        lines = [_marked(asked.question.passage, asked.answers[0], colour), "", *lines]
    return "\n".join(lines)


def _marked(passage: str, answer: FoundAnswer, colour: bool) -> str:
    """The answer's surroundings, and the answer in reverse video, or in brackets where there are no colours."""
    first, past = max(0, answer.start - _CONTEXT), min(len(passage), answer.end + _CONTEXT)
    begin, end = ("\033[7m", "\033[0m") if colour else ("[[", "]]")
    shown = f"{passage[first : answer.start]}{begin}{answer.text}{end}{passage[answer.end : past]}".strip("\n")
    return f"{'… ' if first else ''}{shown}{' …' if past < len(passage) else ''}"
