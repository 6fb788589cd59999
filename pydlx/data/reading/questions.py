"""Questions about passages, and the JSON files of SQuAD's form that hold them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydlx._checks import check_path, check_type
from pydlx.data.reading.report import AnswerReport


@dataclass(frozen=True)
class Answer:
    """A text that answers a question.

    Attributes:
        text: What it says.
        start: Its first character in the passage, such that ``passage[start : start + len(text)] == text``; -1 if the
            passage does not hold it.
    """

    text: str
    start: int = -1


@dataclass(frozen=True)
class Question:
    """A question about a passage.

    Attributes:
        id: Of the question.
        passage: What to read.
        question: What is asked.
        answers: Any of them is right. None: the passage does not answer, or the file does not say.
        title: Of the passage's document.
    """

    id: str
    passage: str
    question: str
    answers: tuple[Answer, ...] = ()
    title: str = ""


def read_squad(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[Question]:
    """Reads a JSON file of SQuAD's form, question after question.

    That is SQuAD 1.1 and 2.0 (Rajpurkar et al., arXiv 1606.05250 and 1806.03822), and what takes their form: XQuAD,
    CMRC2018, DRCD, COVID-QA, ExpMRC. Fields that they add are passed over, ids may be numbers. As in SQuAD's own script
    a question without answers is one that the passage does not answer; ``is_impossible`` is not read.

    The file is mapped into memory and one paragraph at a time becomes Python objects. Files may be gzipped and may
    begin with a byte order mark. Passages and questions come as they stand, empty ones too.

    An answer that does not stand at its offset is looked for in the passage: the nearest occurrence is taken, or the
    first if the offset is negative. If there is none it keeps its text and starts at -1.

    Args:
        path: The file.
        report: Takes note of what was moved, lost or repeated.

    Raises:
        OSError: The file cannot be read.
        ValueError: On the way: the file is not UTF-8, no JSON or not of this form; the message says where.
        ImportError: msgspec is not installed.
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

    return noted(
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


def noted(questions: Iterable[Question], report: AnswerReport) -> Iterator[Question]:
    """The questions with their answers where they stand in the passage, and notes of what was not as it should be."""
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


def check_stands(name: str, question: Question, answer: Answer) -> None:
    """Require that an answer to train on stands where it says."""
    if not question.passage.startswith(answer.text, answer.start):
        found = question.passage[answer.start : answer.start + len(answer.text)]
        raise ValueError(
            f"{name}: the answer {answer.text!r} of question {question.id!r} must stand at character "
            f"{answer.start} of its passage, got {found!r}"
        )


def find_answer(passage: str, text: str, near: int = -1) -> int:
    """Where a text occurs in a passage: nearest to a place, or first if that is negative; -1 if it does not occur."""
    if not text.strip():
        return -1
    if near < 0:
        return passage.find(text)
    before, after = passage.rfind(text, 0, near + len(text)), passage.find(text, near)
    if before < 0 or after < 0:
        return max(before, after)
    return before if near - before <= after - near else after
