"""JSON files of questions as typed records."""

from __future__ import annotations

from pydlx._optional import needed_for

with needed_for("reading questions", extra="readers"):
    import msgspec


class SquadAnswer(msgspec.Struct):
    """Of SQuAD's form."""

    text: str
    answer_start: int = -1


class SquadQuestion(msgspec.Struct):
    """Of SQuAD's form; sets without truth have no answers."""

    id: str | int
    question: str
    answers: list[SquadAnswer] = []


class Paragraph(msgspec.Struct):
    """Of SQuAD's form."""

    context: str
    qas: list[SquadQuestion]


class Article(msgspec.Struct):
    """Of SQuAD's form; its paragraphs are still text."""

    paragraphs: list[msgspec.Raw]
    title: str = ""


class SquadFile(msgspec.Struct):
    """Of SQuAD's form; its articles are still text."""

    data: list[msgspec.Raw]


class DuReaderDocument(msgspec.Struct):
    """Of DuReader; raw files have no segmented paragraphs."""

    paragraphs: list[str]
    title: str = ""
    segmented_paragraphs: list[list[str]] = []
    most_related_para: int | None = None
    is_selected: bool | None = None


class DuReaderQuestion(msgspec.Struct):
    """Of DuReader; test files have no answers, raw files no spans."""

    question_id: str | int
    question: str
    documents: list[DuReaderDocument]
    question_type: str = ""
    answers: list[str] = []
    answer_spans: list[tuple[int, int]] = []
    answer_docs: list[int] = []


class MarcoPassage(msgspec.Struct):
    """Of MS MARCO."""

    passage_text: str
    is_selected: int | None = None


class MarcoQuestion(msgspec.Struct):
    """Of MS MARCO, a line."""

    query_id: str | int
    query: str
    passages: list[MarcoPassage]
    answers: list[str] = []
    query_type: str = ""


class MarcoColumns(msgspec.Struct):
    """Of MS MARCO, the published form; passages and answers are still text."""

    query_id: dict[str, str | int]
    query: dict[str, str]
    passages: dict[str, msgspec.Raw]
    answers: dict[str, msgspec.Raw] = {}
    query_type: dict[str, str] = {}


class DreamQuestion(msgspec.Struct):
    """Of DREAM and C3."""

    question: str
    choice: list[str]
    answer: str | None = None


class DreamDialogue(msgspec.Struct, array_like=True):
    """Of DREAM and C3: a list of turns, questions and id."""

    turns: list[str]
    questions: list[DreamQuestion]
    id: str | int


DreamFile = list[msgspec.Raw]
