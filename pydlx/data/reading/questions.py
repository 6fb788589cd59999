"""Questions about passages, and reading JSON files in SQuAD's format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydlx._checks import check_path, check_type
from pydlx.data.reading.report import AnswerReport


@dataclass(frozen=True)
class Answer:
    """A right answer to a question, from a data set.

    Attributes:
        text: Text of the answer.
        start: Offset of its first character in the passage: ``passage[start : start + len(text)] == text``; -1 if the
            passage does not hold it.
    """

    text: str
    start: int = -1


@dataclass(frozen=True)
class Question:
    """A question about a passage.

    Attributes:
        id: Id of the question.
        passage: Text of the passage.
        question: Text of the question.
        answers: Right answers; empty if the passage has no answer, or none is known.
        title: Title of the passage's document.
    """

    id: str
    passage: str
    question: str
    answers: tuple[Answer, ...] = ()
    title: str = ""


def read_squad(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[Question]:
    """Read a JSON file in SQuAD's format lazily.

    This is the format of SQuAD 1.1 and 2.0 (Rajpurkar et al., arXiv 1606.05250 and 1806.03822), XQuAD, CMRC2018, DRCD,
    COVID-QA and ExpMRC. Additional fields are ignored; ids may be numbers. As in SQuAD's own script, a question without
    answers is unanswerable; ``is_impossible`` is not read. Passages and questions are not changed.

    If an answer is not at its offset, the occurrence in the passage that is nearest to the offset is used or, for a
    negative offset, the first one. An answer that is not in the passage keeps its text and gets `start` -1.

    Args:
        path: The file; may be gzipped and may begin with a byte order mark. It is mapped into memory and decoded one
            paragraph at a time.
        report: Collects answers that were moved or not found, and repeated ids.

    Raises:
        OSError: If the file cannot be read.
        ValueError: While iterating, if the file is not UTF-8, no JSON or in another format; the message says where.
        ImportError: If msgspec is not installed.
    """
    check_path("read_squad", "path", path)
    report = AnswerReport() if report is None else report
    check_type("read_squad", "report", report, AnswerReport, "an AnswerReport")
    from pydlx.data.json_files import JsonFile  # needs msgspec
    from pydlx.data.reading.records import Article, Paragraph, SquadFile

    file = JsonFile("read_squad", path)

    def paragraphs() -> Iterator[tuple[Paragraph, str]]:
        for i, raw in enumerate(file.decode(file.data, SquadFile).data):
            article = file.decode(raw, Article, f"data[{i}]")
            for j, text in enumerate(article.paragraphs):
                yield file.decode(text, Paragraph, f"data[{i}].paragraphs[{j}]"), article.title

    return with_checked_answers(
        (
            Question(
                str(asked.id),
                paragraph.context,
                asked.question,
                tuple(Answer(answer.text, answer.answer_start) for answer in asked.answers),
                title,
            )
            for paragraph, title in paragraphs()
            for asked in paragraph.qas
        ),
        report,
    )


def with_checked_answers(questions: Iterable[Question], report: AnswerReport) -> Iterator[Question]:
    """Yield the questions, with the offsets of their answers corrected and reported."""
    seen = set()
    for question in questions:
        report.questions += 1
        if question.id in seen:
            report.repeated.append((question.id, "an earlier question has the same id"))
        seen.add(question.id)
        answers = tuple(_placed(question, answer, report) for answer in question.answers)
        report.answers += len(answers)
        yield question if answers == question.answers else replace(question, answers=answers)


def _placed(question: Question, answer: Answer, report: AnswerReport) -> Answer:
    if answer.start >= 0 and answer.text.strip() and question.passage.startswith(answer.text, answer.start):
        return answer
    start = find_answer(question.passage, answer.text, answer.start)
    if start < 0:
        report.lost.append((question.id, f"the passage does not hold the answer {answer.text!r}"))
    else:
        report.moved.append((question.id, f"the answer {answer.text!r} is at {start}, not at {answer.start}"))
    return Answer(answer.text, start)


def check_answer_start(name: str, question: Question, answer: Answer) -> None:
    """Require that a training answer is at its offset in the passage."""
    if not question.passage.startswith(answer.text, answer.start):
        found = question.passage[answer.start : answer.start + len(answer.text)]
        raise ValueError(
            f"{name}: the answer {answer.text!r} of question {question.id!r} must stand at character "
            f"{answer.start} of its passage, got {found!r}"
        )


def find_answer(passage: str, text: str, near: int = -1) -> int:
    """Return the offset of a text in a passage, nearest to `near`, or the first if that is negative; -1 for none."""
    if not text.strip():
        return -1
    if near < 0:
        return passage.find(text)
    before, after = passage.rfind(text, 0, near + len(text)), passage.find(text, near)
    if before < 0 or after < 0:
        return max(before, after)
    return before if near - before <= after - near else after
