"""The report of what reading and converting questions changed or left out, listed by the ids of the questions."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydlx.data.report import Note, Report


@dataclass
class AnswerReport(Report):
    """What happened to the questions and answers of a file. Everything that is dropped is listed here.

    Attributes:
        questions: Number of questions read.
        answers: Number of their answers.
        moved: Answers that were not at their offset but elsewhere in the passage.
        lost: Answers that are not in their passage. They keep their text, for scoring, and get `start` -1.
        widened: Answers that begin or end inside a token; their spans were widened to whole tokens.
        left_out: Questions that give no example, with the reason.
        shortened: Questions that are too long for a pretrained encoder and are cut off.
        repeated: Questions with the id of an earlier one. They are kept.
    """

    questions: int = 0
    answers: int = 0
    moved: list[Note] = field(default_factory=list)
    lost: list[Note] = field(default_factory=list)
    widened: list[Note] = field(default_factory=list)
    left_out: list[Note] = field(default_factory=list)
    shortened: list[Note] = field(default_factory=list)
    repeated: list[Note] = field(default_factory=list)

    @property
    def misplaced(self) -> int:
        """Number of answers that are not at their offset."""
        return len(self.moved) + len(self.lost)
