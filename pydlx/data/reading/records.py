"""Typed records of JSON files with questions: SQuAD, DuReader, MS MARCO and DREAM."""

from __future__ import annotations

from pydlx._optional import needed_for

with needed_for("reading questions", extra="readers"):
    import msgspec


class SquadAnswer(msgspec.Struct):
    """An answer in SQuAD's format."""

    text: str
    answer_start: int = -1


class SquadQuestion(msgspec.Struct):
    """A question in SQuAD's format; test sets have no answers."""

    id: str | int
    question: str
    answers: list[SquadAnswer] = []


class Paragraph(msgspec.Struct):
    """A paragraph in SQuAD's format, with its questions."""

    context: str
    qas: list[SquadQuestion]


class Article(msgspec.Struct):
    """An article in SQuAD's format; its paragraphs are not decoded yet."""

    paragraphs: list[msgspec.Raw]
    title: str = ""


class SquadFile(msgspec.Struct):
    """A file in SQuAD's format; its articles are not decoded yet."""

    data: list[msgspec.Raw]


class DuReaderDocument(msgspec.Struct):
    """A document of DuReader; raw files have no segmented paragraphs."""

    paragraphs: list[str]
    title: str = ""
    segmented_paragraphs: list[list[str]] = []
    most_related_para: int | None = None
    is_selected: bool | None = None


class DuReaderQuestion(msgspec.Struct):
    """A question of DuReader; test files have no answers, raw files no spans."""

    question_id: str | int
    question: str
    documents: list[DuReaderDocument]
    question_type: str = ""
    answers: list[str] = []
    answer_spans: list[tuple[int, int]] = []
    answer_docs: list[int] = []


class MarcoPassage(msgspec.Struct):
    """A passage of MS MARCO."""

    passage_text: str
    is_selected: int | None = None


class MarcoQuestion(msgspec.Struct):
    """A question of MS MARCO, from a file with one question per line."""

    query_id: str | int
    query: str
    passages: list[MarcoPassage]
    answers: list[str] = []
    query_type: str = ""


class MarcoColumns(msgspec.Struct):
    """MS MARCO's published format, columns by key; passages and answers are not decoded yet."""

    query_id: dict[str, str | int]
    query: dict[str, str]
    passages: dict[str, msgspec.Raw]
    answers: dict[str, msgspec.Raw] = {}
    query_type: dict[str, str] = {}


class DreamQuestion(msgspec.Struct):
    """A question of DREAM or C3."""

    question: str
    choice: list[str]
    answer: str | None = None


class DreamDialogue(msgspec.Struct, array_like=True):
    """A dialogue of DREAM or C3: a list of turns, questions and id."""

    turns: list[str]
    questions: list[DreamQuestion]
    id: str | int


DreamFile = list[msgspec.Raw]
