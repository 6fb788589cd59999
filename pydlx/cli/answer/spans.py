"""Answers that stand in a passage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydlx.cli.answer.said import say_count, write_json
from pydlx.cli.progress import counting, doing
from pydlx.data.reading import AnswerReport, read_squad
from pydlx.models.readers import Asked, FoundAnswer, Reader, ask, ask_all
from pydlx.tables import print_pieces, print_table, shows_styles

_CONTEXT = 400  # characters of a long passage that are shown before and behind the answer


class Spans:
    """The best answers to one question."""

    def __init__(self, model: Reader, passage: str, question: str, top: int, max_length: int | None) -> None:
        with doing("reading"):
            self.asked = ask(model, passage, question, top_k=top, max_length=max_length)

    def plain(self) -> dict[str, Any]:
        """What ``--json`` gives."""
        asked = self.asked
        null = {"probability": asked.null_probability, "score": asked.null_score} if _knows_none(asked) else None
        return {"answers": [answer._asdict() for answer in asked.answers], "no_answer": null}

    def show(self) -> None:
        """Prints the passage with the best answer marked, unless no answer is likelier, and a table of all answers."""
        asked = self.asked
        rows = [(answer.score, answer.probability, " ".join(answer.text.split())) for answer in asked.answers]
        if _knows_none(asked):
            rows.append((asked.null_score, asked.null_probability, "(no answer)"))
            rows.sort(key=lambda row: -row[0])
        if asked.best:
            print_pieces(_marked(asked.question.passage, asked.answers[0]))
            print()
        cells = [(f"{probability:.3f}", f"{score:.2f}", text) for score, probability, text in rows]
        print_table(cells, ("probability", "score", "answer"), left=(2,))


def answer_file(model: Reader, data: Path, out: Path, na_probs: Path | None, max_length: int | None) -> None:
    """Writes {id: answer} and, if asked for, {id: probability of no answer}; says how many there are."""
    report = AnswerReport()
    questions = list(read_squad(data, report))
    found = ask_all(model, questions, max_length=max_length)
    asked = [next(found) for _ in counting(questions, "answering")]
    answers = {each.question.id: each.best for each in asked}
    write_json(out, answers)
    if na_probs is not None:
        write_json(na_probs, {each.question.id: each.null_probability for each in asked})
    say_count(report, answers, out)


def _knows_none(asked: Asked) -> bool:
    """Whether the reader has learned that a passage may hold no answer."""
    return math.isfinite(asked.null_score)


def _marked(passage: str, answer: FoundAnswer) -> list[tuple[str, str]]:
    """The answer's surroundings, and the answer in reverse video, or in brackets where there are no styles."""
    first, past = max(0, answer.start - _CONTEXT), min(len(passage), answer.end + _CONTEXT)
    before, behind = passage[first : answer.start].lstrip("\n"), passage[answer.end : past].rstrip("\n")
    found = answer.text if shows_styles() else f"[[{answer.text}]]"
    return [("… " * (first > 0) + before, ""), (found, "reverse"), (behind + " …" * (past < len(passage)), "")]
