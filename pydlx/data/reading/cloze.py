"""Cloze questions, sentences in which a word of the passage is missing: reading files of CMRC2017."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydlx._checks import check_path, check_type
from pydlx.data.reading.questions import Answer, Question
from pydlx.data.reading.report import AnswerReport

BLANK = "XXXXX"  # takes the place of the missing word, in the question and, in CMRC2017, also in the passage
_BAR = "|||"
_QUERY = re.compile(r"<qid_\w+>")


def read_cmrc2017(
    doc_query: str | os.PathLike[str], answers: str | os.PathLike[str] | None = None, report: AnswerReport | None = None
) -> Iterator[Question]:
    """Read CMRC2017's cloze questions (Cui et al., arXiv 1709.08299) lazily.

    A passage joins its sentences by line breaks. Words are separated by spaces, for ``create_tokeniser("spaces")``. The
    question has ``XXXXX`` in place of the missing word. Ids are those of the file without brackets, such as ``qid_0``.
    An answer's `start` is the first occurrence of its word in the passage as a whole word, or -1.

    Args:
        doc_query: File with lines ``number ||| sentence`` and, after the sentences of each passage, a line
            ``<qid_0> ||| question``.
        answers: File with lines ``<qid_0> ||| word``. Without it, questions have no answers.
        report: Collects answers that are not in their passage.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is not UTF-8 or has another format, an id is repeated, or the files' ids differ; the
            message says where.
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
    """Yield place, label and text of each line that is not blank."""
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
