"""Conversion of questions over several documents to questions about one passage, for span readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pydlx._checks import check_flag, check_number, check_type, listed, whole, whole_or_none
from pydlx.data.reading.answers import answer_characters
from pydlx.data.reading.free_answer import NO_ANSWER, Document, FreeQuestion, read_dureader, read_marco
from pydlx.data.reading.questions import Answer, Question
from pydlx.data.reading.report import AnswerReport
from pydlx.data.text.tokenisers import Tokeniser, check_tokeniser

FREE_FORMATS = {"dureader": read_dureader, "marco": read_marco}


class SpanMatch(NamedTuple):
    """The span of a passage that is most similar to a reference answer.

    Attributes:
        first: Index of its first token.
        last: Index of its last token, inclusive.
        f1: F1 of the tokens of span and reference, from 0 to 1.
    """

    first: int
    last: int
    f1: float


def best_span(tokens: Sequence[str], reference: Sequence[str], longest: int | None = None) -> SpanMatch | None:
    """Find the span with the best F1 against a reference answer, comparing multisets of tokens.

    Ties go to the earlier start, then to the shorter span. DuReader's ``answer_spans`` were made in this way (He et
    al., arXiv 1711.05073, section 5).

    Args:
        tokens: The n tokens of a passage.
        reference: The m tokens of a reference answer.
        longest: Maximum number of tokens of a span; None for no limit.

    Returns:
        The span; None if passage and reference share no token.
    """
    tokens = listed("best_span", "tokens", tokens, "tokens")
    wanted = Counter(listed("best_span", "reference", reference, "tokens"))
    kinds = {word: kind for kind, word in enumerate(wanted)}
    shared = np.array([kinds.get(word, -1) for word in tokens])
    at = np.flatnonzero(shared >= 0)  # the best spans begin and end with a token of the reference
    if not len(at):
        return None
    longest = len(tokens) if longest is None else whole("best_span", "longest", longest, 1)
    most, size = np.array(list(wanted.values())), sum(wanted.values())
    best = SpanMatch(0, 0, 0.0)
    counts = np.cumsum(np.eye(len(most), dtype=np.int32)[shared[at]], 0)
    for number, first in enumerate(at):
        lengths = at[number:] - first + 1
        inside = counts[number : number + np.searchsorted(lengths, longest, "right")]
        before = counts[number - 1] if number else 0
        overlap = np.minimum(inside - before, most).sum(1)
        f1 = 2 * overlap / (lengths[: len(inside)] + size)
        place = int(f1.argmax())
        if f1[place] > best.f1:
            best = SpanMatch(int(first), int(at[number + place]), float(f1[place]))
    return best


def with_best_spans(
    questions: Iterable[FreeQuestion],
    tokeniser: Tokeniser,
    *,
    longest: int | None = None,
    least: float = 0.3,
    report: AnswerReport | None = None,
) -> Iterator[FreeQuestion]:
    """Give questions without a training span the span with the best F1 against any of their references.

    As in DuReader, only the paragraph with most tokens of the reference is searched in each document.

    Args:
        questions: Questions, such as ``read_dureader`` or ``read_marco`` return.
        tokeniser: Tokeniser of paragraphs and references.
        longest: Maximum number of tokens of a span; None for no limit.
        least: Minimum F1 of a training span.
        report: Collects questions whose documents hold no such span.
    """
    check_tokeniser("with_best_spans", "tokeniser", tokeniser)
    report = AnswerReport() if report is None else report
    check_type("with_best_spans", "report", report, AnswerReport, "an AnswerReport")
    check_type("with_best_spans", "questions", questions, Iterable, "questions over documents")
    whole_or_none("with_best_spans", "longest", longest, 1)
    check_number("with_best_spans", "least", least)
    if not 0 <= least <= 1:
        raise ValueError(f"with_best_spans: least must be from 0 to 1, got {least}")
    return (_with_span(question, tokeniser, longest, least, report) for question in questions)


def _with_span(
    question: FreeQuestion, tokeniser: Tokeniser, longest: int | None, least: float, report: AnswerReport
) -> FreeQuestion:
    check_type("with_best_spans", "questions", question, FreeQuestion, "questions over documents")
    references = [text for text in question.references if text.strip() and text != NO_ANSWER]
    if question.training is not None or not references:
        return question
    best, found = least, None
    for reference in references:
        wanted = _words(reference, tokeniser)
        for document in question.documents:
            for paragraph in _most_related(document, wanted, tokeniser, 1):
                text = document.paragraphs[paragraph]
                offsets = np.array(tokeniser(text)).reshape(-1, 2)
                match = best_span(_words(text, tokeniser), wanted, longest)
                if match is not None and match.f1 >= best:
                    best = match.f1
                    first, past = answer_characters(offsets, match.first, match.last)
                    answer = Answer(text[first:past], first)
                    found = Question(question.id, text, question.question, (answer,), document.title)
    if found is None:
        report.lost.append((question.id, f"no span of its documents has an F1 of {least} with an answer"))
    return replace(question, training=found)


def as_question(
    question: FreeQuestion,
    tokeniser: Tokeniser,
    *,
    documents: int | None = None,
    paragraphs: int = 1,
    training: bool = False,
) -> Question:
    """Join those paragraphs of a question's documents that share most tokens with it to one passage, by line breaks.

    The reader's softmax then spans all paragraphs, so it also learns from those without the answer.

    Args:
        question: A question, such as ``read_dureader`` or ``read_marco`` return.
        tokeniser: Tokeniser of paragraphs and question.
        documents: Number of documents to use, the first ones, which a search engine ranked best; None for all.
        paragraphs: Number of paragraphs of each document, those that hold most tokens of the question.
        training: Whether to include the paragraph with the training span, if necessary instead of the last one, and to
            make that span the only answer. Otherwise the references are the answers, without offsets, except empty ones
            and MS MARCO's "No Answer Present.".
    """
    check_type("as_question", "question", question, FreeQuestion, "a FreeQuestion")
    check_tokeniser("as_question", "tokeniser", tokeniser)
    whole_or_none("as_question", "documents", documents, 1)
    whole("as_question", "paragraphs", paragraphs, 1)
    check_flag("as_question", "training", training)
    asked = _words(question.question, tokeniser)
    trained = question.training if training else None
    lines: list[str] = []
    start = -1
    for document in _read(question, trained, documents):
        places = _most_related(document, asked, tokeniser, paragraphs)
        if trained is not None and start < 0 and trained.passage in document.paragraphs:
            own = document.paragraphs.index(trained.passage)
            places = places if own in places else sorted([*places[: paragraphs - 1], own])
            before = [document.paragraphs[place] for place in places if place < own]
            start = sum(len(line) + 1 for line in (*lines, *before)) + trained.answers[0].start
        lines += [document.paragraphs[place] for place in places]
    answers: tuple[Answer, ...] = ()
    if not training:
        answers = tuple(Answer(text) for text in question.references if text.strip() and text != NO_ANSWER)
    elif trained is not None:
        answers = (Answer(trained.answers[0].text, start),)
    return Question(question.id, "\n".join(lines), question.question, answers)


def _read(question: FreeQuestion, trained: Question | None, count: int | None) -> list[Document]:
    """Return the first documents; if necessary, the one with the training span replaces the last."""
    read = list(question.documents[:count])
    if trained is None or any(trained.passage in document.paragraphs for document in read):
        return read
    holds = [document for document in question.documents if trained.passage in document.paragraphs]
    return [*read[:-1], holds[0]] if holds else read


def _most_related(document: Document, words: Sequence[str], tokeniser: Tokeniser, most: int) -> list[int]:
    """Return the indices of the paragraphs with most of the words; ties go to the shorter, then to the earlier one."""
    wanted = Counter(words)
    ranks = []
    for place, text in enumerate(document.paragraphs):
        held = Counter(_words(text, tokeniser))
        if held:
            ranks.append((-sum((wanted & held).values()), held.total(), place))
    return sorted(place for _, _, place in sorted(ranks)[:most])


def _words(text: str, tokeniser: Tokeniser) -> list[str]:
    return [text[first:past] for first, past in tokeniser(text)]
