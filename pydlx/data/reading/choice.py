"""Multiple-choice questions: reading files of DREAM and C3."""

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
    """A multiple-choice question about a passage.

    Attributes:
        id: Id of the question.
        passage: Text of the passage.
        question: Text of the question.
        choices: Texts of the choices.
        answer: Index of the right choice; -1 if it is unknown or none of the choices.
    """

    id: str
    passage: str
    question: str
    choices: tuple[str, ...]
    answer: int = -1


def read_dream(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[ChoiceQuestion]:
    """Read a JSON file in DREAM's format (Sun et al., arXiv 1902.00164) lazily.

    The file is a list of ``[turns, [{question, choice, answer}], id]``; C3 (Sun et al., arXiv 1904.09679) has the same
    format. A passage joins the turns of a dialogue by line breaks. A question's id is the dialogue's id with the
    question's index: ``14-349-0``. The answer is the first choice with the same text.

    Args:
        path: The file; may be gzipped.
        report: Collects answers that are none of their choices, and repeated ids.

    Raises:
        OSError: If the file cannot be read.
        ValueError: While iterating, if the file is not UTF-8, no JSON or in another format; the message says where.
        ImportError: If msgspec is not installed.
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
