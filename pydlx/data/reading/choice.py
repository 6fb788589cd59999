"""Questions with choices, one of which is right: DREAM and C3."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydlx._checks import check_path, check_type
from pydlx.data.reading.report import AnswerReport

if TYPE_CHECKING:
    from pydlx.data.json_files import JsonFile


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question about a passage, with answers to choose from.

    Attributes:
        id: Of the question.
        passage: What to read.
        question: What is asked.
        choices: What may be chosen.
        answer: The place of the right one among them; -1 if it is none of them or the file does not say.
    """

    id: str
    passage: str
    question: str
    choices: tuple[str, ...]
    answer: int = -1


def read_dream(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[ChoiceQuestion]:
    """Reads a JSON file of DREAM's form (Sun et al., arXiv 1902.00164), question after question.

    That is a list of ``[turns, [{question, choice, answer}], id]``, which C3 (Sun et al., arXiv 1904.09679) has too. A
    passage is its turns, a line each. A question's id is the dialogue's with the number of the question in it:
    ``14-349-0``. An answer counts as the first choice of the same text.

    Args:
        path: The file; may be gzipped.
        report: Takes note of answers that are none of their choices, and of repeated ids.

    Raises:
        OSError: The file cannot be read.
        ValueError: On the way: the file is not UTF-8, no JSON or not of this form; the message says where.
        ImportError: msgspec is not installed.
    """
    check_path("read_dream", "path", path)
    report = AnswerReport() if report is None else report
    check_type("read_dream", "report", report, AnswerReport, "an AnswerReport")
    from pydlx.data.json_files import JsonFile  # needs msgspec

    return _questions(JsonFile("read_dream", path), report)


def _questions(file: JsonFile, report: AnswerReport) -> Iterator[ChoiceQuestion]:
    from pydlx.data.reading.records import DreamDialogue, DreamFile

    seen = set()
    for number, raw in enumerate(file.decode(file.data, DreamFile)):
        dialogue = file.decode(raw, DreamDialogue, f"[{number}]")
        for place, asked in enumerate(dialogue.questions):
            id = f"{dialogue.id}-{place}"
            report.questions += 1
            if id in seen:
                report.repeated.append((id, "an earlier question has the same id"))
            seen.add(id)
            answer = -1
            if asked.answer is not None:
                report.answers += 1
                if asked.answer in asked.choice:
                    answer = asked.choice.index(asked.answer)
                else:
                    report.lost.append((id, f"the answer {asked.answer!r} is none of its choices"))
            yield ChoiceQuestion(id, "\n".join(dialogue.turns), asked.question, tuple(asked.choice), answer)
