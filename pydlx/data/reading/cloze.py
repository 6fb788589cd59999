"""Cloze questions: passages of segmented words, and a sentence in which one word is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydlx._checks import check_path, check_type
from pydlx.data.reading.questions import Answer, Question
from pydlx.data.reading.report import AnswerReport

BLANK = "XXXXX"  # stands for the missing word, in the question and, in CMRC2017, in the passage's sentence too
_BAR = "|||"
_QUERY = re.compile(r"<qid_\w+>")


def read_cmrc2017(
    doc_query: str | os.PathLike[str], answers: str | os.PathLike[str] | None = None, report: AnswerReport | None = None
) -> Iterator[Question]:
    """Reads CMRC2017's cloze questions (Cui et al., arXiv 1709.08299), one after another.

    A passage is its sentences, a line each, of words with spaces between them, which ``create_tokeniser("spaces")``
    cuts. The question holds ``XXXXX`` where a word is missing. Ids are those of the file without brackets: ``qid_0``.
    The answer stands where its word first occurs in the passage as a whole word, at -1 if it does not.

    Args:
        doc_query: Lines of number, `` ||| ``, sentence; and ``<qid_0>``, `` ||| ``, question behind each passage's.
        answers: Lines of ``<qid_0>``, `` ||| ``, word. Without it questions have no answers.
        report: Takes note of answers that their passage does not hold.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not UTF-8 or not of this form, an id comes twice, or the files' ids differ; the message
            says where.
    """
    check_path("read_cmrc2017", "doc_query", doc_query)
    report = AnswerReport() if report is None else report
    check_type("read_cmrc2017", "report", report, AnswerReport, "an AnswerReport")
    words = None
    if answers is not None:
        check_path("read_cmrc2017", "answers", answers)
        words = _answers(answers)
    return _questions(doc_query, words, report)


def _questions(path: str | os.PathLike[str], words: dict[str, str] | None, report: AnswerReport) -> Iterator[Question]:
    sentences: list[str] = []
    seen: set[str] = set()
    for where, label, text in _lines(path):
        if not _QUERY.fullmatch(label):
            sentences.append(text)
            continue
        if not sentences or BLANK not in text:
            raise ValueError(f"{where}: a question must follow sentences and hold {BLANK}, got {text[:40]!r}")
        if label in seen:
            raise ValueError(f"{where}: {label} comes twice")
        if words is not None and label not in words:
            raise ValueError(f"{where}: {label} has no line in the file of answers")
        seen.add(label)
        yield _question(label.strip("<>"), "\n".join(sentences), text, None if words is None else words[label], report)
        sentences = []
    if sentences:
        raise ValueError(f"read_cmrc2017: '{path}' ends with sentences that no question follows")
    if words is not None and (unknown := sorted(set(words) - seen)):
        raise ValueError(f"read_cmrc2017: the answers to {', '.join(unknown[:5])} have no question in '{path}'")


def _question(id: str, passage: str, question: str, word: str | None, report: AnswerReport) -> Question:
    report.questions += 1
    if word is None:
        return Question(id, passage, question)
    report.answers += 1
    found = re.search(rf"(?<!\S){re.escape(word)}(?!\S)", passage) if word else None
    if found is None:
        report.lost.append((id, f"the passage does not hold the word {word!r}"))
    return Question(id, passage, question, (Answer(word, found.start() if found else -1),))


def _answers(path: str | os.PathLike[str]) -> dict[str, str]:
    words: dict[str, str] = {}
    for where, label, word in _lines(path):
        if label in words:
            raise ValueError(f"{where}: {label} comes twice")
        words[label] = word
    return words


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[str, str, str]]:
    """Place, label and text of each line that is not blank."""
    with Path(path).open(encoding="utf-8-sig", newline="\n") as stream:
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                label, bar, text = line.partition(_BAR)
                where = f"read_cmrc2017: '{path}', line {number}"
                if not bar:
                    raise ValueError(f"{where}: must be a label, '{_BAR}' and text, got {line.strip()[:40]!r}")
                yield where, label.strip(), text.strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"read_cmrc2017: '{path}' must be UTF-8, got other bytes after line {number}") from error
