"""What a reader of questions changed, could not place or left out: counted, and listed with the ids."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydlx.data.report import Note, Report


@dataclass
class AnswerReport(Report):
    """What happened to the questions and answers of a file. Nothing is dropped that is not listed here.

    Attributes:
        questions: How many were read.
        answers: How many answers they have.
        moved: Answers that did not stand where the file says, and were found elsewhere in their passage.
        lost: Answers that their passage does not hold. They keep their text, for scoring, and start at -1.
        widened: Answers that begin or end inside a token, and were widened to its edges.
        left_out: Questions that are no examples, and why.
        shortened: Questions that are longer than a pretrained encoder reads, of which the beginning is read.
        repeated: Questions whose id an earlier one has. They are kept.
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
        """How many answers do not stand where the file says."""
        return len(self.moved) + len(self.lost)
