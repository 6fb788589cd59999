"""Questions over several documents with answers in people's own words: DuReader and MS MARCO."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydlx._checks import check_path, check_type
from pydlx.data.reading.questions import Answer, Question
from pydlx.data.reading.report import AnswerReport

if TYPE_CHECKING:
    from pydlx.data.json_files import JsonFile
    from pydlx.data.reading.records import DuReaderQuestion, MarcoQuestion

NO_ANSWER = "No Answer Present."  # MS MARCO's only reference of a question that its passages do not answer


@dataclass(frozen=True)
class Document:
    """Where an answer may be found.

    Attributes:
        title: May be empty.
        paragraphs: Its text.
        selected: Whether whoever wrote the answers used it; None if the file does not say.
    """

    title: str
    paragraphs: tuple[str, ...]
    selected: bool | None = None


@dataclass(frozen=True)
class FreeQuestion:
    """A question with answers in free words.

    Attributes:
        id: Of the question.
        question: What is asked.
        documents: What to read.
        references: Answers to compare with, as the file has them. None: the file does not say.
        kind: What the file calls its kind, such as ``"DESCRIPTION"``.
        training: The paragraph and the span in it to train on; None if there is none.
    """

    id: str
    question: str
    documents: tuple[Document, ...]
    references: tuple[str, ...] = ()
    kind: str = ""
    training: Question | None = None


def read_dureader(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[FreeQuestion]:
    """Reads a file of DuReader 2.0 (He et al., arXiv 1711.05073), one question a line.

    ``training`` is the first of ``answer_spans``, words of the most related paragraph of a document. The paragraph
    comes as it stands, with the blanks that its segmented form lacks.

    Args:
        path: The file, raw or preprocessed; may be gzipped.
        report: Takes note of spans that are not in their document.

    Raises:
        OSError: The file cannot be read.
        ValueError: On the way: the file is not UTF-8, or a line is not of this form; the message says which.
        ImportError: msgspec is not installed.
    """
    check_path("read_dureader", "path", path)
    report = AnswerReport() if report is None else report
    check_type("read_dureader", "report", report, AnswerReport, "an AnswerReport")
    from pydlx.data.json_files import JsonFile  # needs msgspec
    from pydlx.data.reading.records import DuReaderQuestion

    file = JsonFile("read_dureader", path)
    records = ((f"line {number}", line) for number, line in file.lines())
    return _noted((_of_dureader(file.decode(line, DuReaderQuestion, where), report) for where, line in records), report)


def read_marco(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[FreeQuestion]:
    """Reads a file of MS MARCO v2, question answering (Bajaj et al., arXiv 1611.09268).

    Either form is read: the published one, an object of columns, and one question a line. ``training`` is the first
    place where a selected passage, or else any, holds an answer word for word. References keep ``No Answer Present.``

    Args:
        path: The file; may be gzipped.
        report: Takes note of questions none of whose answers is in a passage.

    Raises:
        OSError: The file cannot be read.
        ValueError: On the way: the file is not UTF-8 or not of these forms; the message says where.
        ImportError: msgspec is not installed.
    """
    check_path("read_marco", "path", path)
    report = AnswerReport() if report is None else report
    check_type("read_marco", "report", report, AnswerReport, "an AnswerReport")
    from pydlx.data.json_files import JsonFile  # needs msgspec
    from pydlx.data.reading.records import MarcoQuestion

    file = JsonFile("read_marco", path)
    if re.match(rb'\s*\{\s*"\w+"\s*:\s*\{', file.data[:1000]):
        return _noted((_of_marco(record, report) for record in _marco_columns(file)), report)
    lines = (file.decode(line, MarcoQuestion, f"line {number}") for number, line in file.lines())
    return _noted((_of_marco(record, report) for record in lines), report)


def _noted(questions: Iterable[FreeQuestion], report: AnswerReport) -> Iterator[FreeQuestion]:
    seen = set()
    for question in questions:
        report.questions += 1
        report.answers += len(question.references)
        if question.id in seen:
            report.repeated.append((question.id, "an earlier question has the same id"))
        seen.add(question.id)
        yield question


def _of_dureader(record: DuReaderQuestion, report: AnswerReport) -> FreeQuestion:
    training = None
    if record.answer_spans:
        training = _dureader_span(record)
        if training is None:
            report.lost.append((str(record.question_id), "its answer span is not in its document"))
    return FreeQuestion(
        str(record.question_id),
        record.question,
        tuple(Document(d.title, tuple(d.paragraphs), d.is_selected) for d in record.documents),
        tuple(record.answers),
        record.question_type,
        training,
    )


def _dureader_span(record: DuReaderQuestion) -> Question | None:
    """The span of words as characters of the paragraph: both have the same characters, blanks apart."""
    first, last = record.answer_spans[0]
    place = record.answer_docs[0] if record.answer_docs else -1
    if not 0 <= place < len(record.documents):
        return None
    document = record.documents[place]
    related = document.most_related_para
    if related is None or not 0 <= related < min(len(document.paragraphs), len(document.segmented_paragraphs)):
        return None
    words, passage = document.segmented_paragraphs[related], document.paragraphs[related]
    solid = [place for place, character in enumerate(passage) if not character.isspace()]
    before, inside = (len("".join("".join(part).split())) for part in (words[:first], words[first : last + 1]))
    if not (0 <= first <= last < len(words) and inside) or before + inside > len(solid):
        return None
    start, end = solid[before], solid[before + inside - 1] + 1
    if "".join(passage[start:end].split()) != "".join("".join(words[first : last + 1]).split()):
        return None
    answer = Answer(passage[start:end], start)
    return Question(str(record.question_id), passage, record.question, (answer,), document.title)


def _marco_columns(file: JsonFile) -> Iterator[MarcoQuestion]:
    """The questions of the published form, of which one at a time becomes Python objects."""
    from pydlx.data.reading.records import MarcoColumns, MarcoPassage, MarcoQuestion

    columns = file.decode(file.data, MarcoColumns)
    for key, query in columns.query.items():
        if key not in columns.query_id or key not in columns.passages:
            raise ValueError(f"{file.name}: '{file.path}': query[{key!r}] must have query_id and passages")
        passages = file.decode(columns.passages[key], list[MarcoPassage], f"passages[{key!r}]")
        answers = file.decode(columns.answers.get(key, b"[]"), list[str], f"answers[{key!r}]")
        yield MarcoQuestion(columns.query_id[key], query, passages, answers, columns.query_type.get(key, ""))


def _of_marco(record: MarcoQuestion, report: AnswerReport) -> FreeQuestion:
    id = str(record.query_id)
    passages = sorted(record.passages, key=lambda passage: not passage.is_selected)
    found = (
        Question(id, passage.passage_text, record.query, (Answer(answer, start),))
        for passage in passages
        for answer in record.answers
        if answer.strip() and (start := passage.passage_text.find(answer)) >= 0
    )
    training = next(found, None)
    if training is None and any(answer != NO_ANSWER for answer in record.answers):
        report.lost.append((id, "no passage holds any of its answers word for word"))
    documents = tuple(Document("", (p.passage_text,), bool(p.is_selected)) for p in record.passages)
    return FreeQuestion(id, record.query, documents, tuple(record.answers), record.query_type, training)
