"""Questions over several documents with free answers: reading files of DuReader and MS MARCO."""

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

NO_ANSWER = "No Answer Present."  # MS MARCO's reference for questions that its passages do not answer


@dataclass(frozen=True)
class Document:
    """A document that may hold the answer.

    Attributes:
        title: Its title; may be empty.
        paragraphs: Texts of its paragraphs.
        selected: Whether the annotators used it for their answers; None if unknown.
    """

    title: str
    paragraphs: tuple[str, ...]
    selected: bool | None = None


@dataclass(frozen=True)
class FreeQuestion:
    """A question over several documents, with free answers.

    Attributes:
        id: Id of the question.
        question: Text of the question.
        documents: Documents to read.
        references: Reference answers as in the file; empty if the file has none.
        kind: Kind of the question in the file, such as ``"DESCRIPTION"``.
        training: A question about one paragraph, whose answer is the training span; None if there is none.
    """

    id: str
    question: str
    documents: tuple[Document, ...]
    references: tuple[str, ...] = ()
    kind: str = ""
    training: Question | None = None


def read_dureader(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[FreeQuestion]:
    """Read a file of DuReader 2.0 (He et al., arXiv 1711.05073), with one question per line, lazily.

    ``training`` comes from the first of ``answer_spans``, a span of words in the most related paragraph of a document.
    Its passage is the raw paragraph, with the spaces that the segmented one lacks.

    Args:
        path: The file, raw or preprocessed; may be gzipped.
        report: Collects spans that are not in their document.

    Raises:
        OSError: If the file cannot be read.
        ValueError: While iterating, if the file is not UTF-8 or a line has another format; the message names the line.
        ImportError: If msgspec is not installed.
    """
    check_path("read_dureader", "path", path)
    report = AnswerReport() if report is None else report
    check_type("read_dureader", "report", report, AnswerReport, "an AnswerReport")
    from pydlx.data.json_files import JsonFile  # needs msgspec
    from pydlx.data.reading.records import DuReaderQuestion

    file = JsonFile("read_dureader", path)
    records = ((f"line {number}", line) for number, line in file.lines())
    return _counted(
        (_of_dureader(file.decode(line, DuReaderQuestion, where), report) for where, line in records), report
    )


def read_marco(path: str | os.PathLike[str], report: AnswerReport | None = None) -> Iterator[FreeQuestion]:
    """Read a file of MS MARCO v2, question answering (Bajaj et al., arXiv 1611.09268), lazily.

    The file is an object of columns, as published, or has one question per line. ``training`` is the first literal
    occurrence of an answer in a selected passage or, if there is none, in any passage. References include
    ``No Answer Present.``

    Args:
        path: The file; may be gzipped.
        report: Collects questions without an answer that occurs literally in a passage.

    Raises:
        OSError: If the file cannot be read.
        ValueError: While iterating, if the file is not UTF-8 or has another format; the message says where.
        ImportError: If msgspec is not installed.
    """
    check_path("read_marco", "path", path)
    report = AnswerReport() if report is None else report
    check_type("read_marco", "report", report, AnswerReport, "an AnswerReport")
    from pydlx.data.json_files import JsonFile  # needs msgspec
    from pydlx.data.reading.records import MarcoQuestion

    file = JsonFile("read_marco", path)
    if re.match(rb'\s*\{\s*"\w+"\s*:\s*\{', file.data[:1000]):
        return _counted((_of_marco(record, report) for record in _marco_columns(file)), report)
    lines = (file.decode(line, MarcoQuestion, f"line {number}") for number, line in file.lines())
    return _counted((_of_marco(record, report) for record in lines), report)


def _counted(questions: Iterable[FreeQuestion], report: AnswerReport) -> Iterator[FreeQuestion]:
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
    """Convert the span of words to characters of the paragraph; both have the same characters except for spaces."""
    first, last = record.answer_spans[0]
    place = record.answer_docs[0] if record.answer_docs else -1
    if not 0 <= place < len(record.documents):
        return None
    document = record.documents[place]
    related = document.most_related_para
    if related is None or not 0 <= related < min(len(document.paragraphs), len(document.segmented_paragraphs)):
        return None
    words, passage = document.segmented_paragraphs[related], document.paragraphs[related]
    visible = [place for place, character in enumerate(passage) if not character.isspace()]
    before, inside = (len("".join("".join(part).split())) for part in (words[:first], words[first : last + 1]))
    if not (0 <= first <= last < len(words) and inside) or before + inside > len(visible):
        return None
    start, end = visible[before], visible[before + inside - 1] + 1
    if "".join(passage[start:end].split()) != "".join("".join(words[first : last + 1]).split()):
        return None
    answer = Answer(passage[start:end], start)
    return Question(str(record.question_id), passage, record.question, (answer,), document.title)


def _marco_columns(file: JsonFile) -> Iterator[MarcoQuestion]:
    """Yield the questions of the published format, decoding passages and answers of one at a time."""
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
