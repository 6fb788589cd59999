"""Asking a trained reader: from texts to answers that stand in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

from pydlx._checks import check_type, whole, whole_or_none
from pydlx.data.reading import Featurizer, Question, ReadingSet
from pydlx.models.readers.answering import Answer, decode_answers
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import Scores
from pydlx.models.readers.settings import in_parts, settings_of
from pydlx.models.text.batches import batches_by_length


class FoundAnswer(NamedTuple):
    """An answer that stands in a passage.

    Attributes:
        text: Its characters, as they stand there.
        start: Its first character's place in the passage.
        end: The place past its last character.
        probability: That it is the answer, of all spans of the passage and of none.
        score: Unnormalised, comparable among passages.
    """

    text: str
    start: int
    end: int
    probability: float
    score: float


class Asked(NamedTuple):
    """What a reader answers to a question.

    Attributes:
        question: The question.
        answers: By falling probability; empty if the passage or the question holds no token.
        null_probability: That the passage holds no answer; 0 for readers that have not learned to say so.
        null_score: The score of that; -inf likewise.
        best: The text of the best answer; "" if none is likelier.
    """

    question: Question
    answers: list[FoundAnswer]
    null_probability: float
    null_score: float

    @property
    def best(self) -> str:
        """The text of the best answer; "" if none is likelier, or there is none."""
        return self.answers[0].text if self.answers and self.answers[0].score >= self.null_score else ""


def ask(model: Reader, passage: str, question: str, *, top_k: int = 1, max_length: int | None = None) -> Asked:
    """Answer a question about a passage.

    Args:
        model: A trained reader, from ``load_model``.
        passage: Its text. A longer one than the reader was trained on is read in windows.
        question: What is asked.
        top_k: How many answers to give; fewer come from short passages.
        max_length: Most tokens of an answer; by default as in training.

    Raises:
        ValueError: If the reader has no vocabulary or gives NaN, or a text holds no token.

    Example:
        >>> model = load_model("runs/bidaf/best.ckpt")  # doctest: +SKIP
        >>> ask(model, "The Broncos won in 2016.", "Who won?").answers[0].text  # doctest: +SKIP
        'The Broncos'
    """
    for argument, text in (("passage", passage), ("question", question)):
        check_type("ask", argument, text, str, "text")
        if not text.strip():
            raise ValueError(f"ask: {argument} must hold a token, got none but white space")
    one = Question("", passage, question)
    return next(iter(ask_all(model, [one], top_k=top_k, max_length=max_length)))


def ask_all(
    model: Reader,
    questions: Iterable[Question],
    *,
    top_k: int = 1,
    max_length: int | None = None,
    batch_size: int = 32,
) -> Iterator[Asked]:
    """Answer many questions, in their order, a few hundred at a time.

    Args:
        model: A trained reader, from ``load_model``, on any device; it is put into evaluation mode.
        questions: Of ``read_squad`` or another reader of files.
        top_k: How many answers to give to each.
        max_length: Most tokens of an answer; by default as in training.
        batch_size: Passages that are read at once.

    Returns:
        An `Asked` for each question.

    Raises:
        ValueError: If the reader has no vocabulary; on the way, if its scores are NaN or infinite, as after a training
            that diverged.
    """
    settings = settings_of("ask_all", model, "span", "free_answer")
    whole("ask_all", "top_k", top_k, 1)
    whole("ask_all", "batch_size", batch_size, 1)
    length = whole_or_none("ask_all", "max_length", max_length, 1) or settings["answer_length"]
    featurizer = Featurizer.from_state(settings["featurizer"])
    parts = in_parts("ask_all", questions, Question, batch_size)
    sets = (ReadingSet(part, featurizer, training=False, max_passage=settings["max_passage"]) for part in parts)
    return itertools.chain.from_iterable(_asked(model.eval(), part, top_k, length, batch_size) for part in sets)


class _Window(NamedTuple):
    """What one window of a passage says: its answers, and the logarithm of the sum over all spans of exp(score)."""

    answers: list[FoundAnswer]
    null_score: float
    mass: float


@torch.no_grad()
def _asked(model: Reader, examples: ReadingSet, top_k: int, max_length: int, batch_size: int) -> Iterator[Asked]:
    """Answers to all questions of a set, from all windows of each one's passage."""
    windows: list[list[_Window]] = [[] for _ in examples.questions]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        scores = model(batch.passage, batch.question).wide()
        found = zip(numbers, decode_answers(scores, max_length, top_k), scores.mass().tolist(), strict=True)
        for number, answers, mass in found:
            if not math.isfinite(mass):
                raise ValueError(f"ask_all: model must give numbers for scores, got a sum over all spans of {mass}")
            texts = [_stands(examples, number, span) for span in answers.spans]
            windows[examples.windows[number].question].append(_Window(texts, answers.null_score, mass))
        _check_parts(scores)
    for question, of_question in zip(examples.questions, windows, strict=True):
        yield _together(question, of_question, top_k)


def _check_parts(scores: Scores) -> None:
    """Refuses NaN and inf that the sum over all spans does not show, such as those of ends given a start."""
    for part in scores:
        if part is not None and part.is_floating_point() and bool((part.isnan() | part.isposinf()).any()):
            raise ValueError(f"ask_all: model must give numbers for scores, got {float(part.max())}")


def _stands(examples: ReadingSet, number: int, span: Answer) -> FoundAnswer:
    """A span of an example's tokens, as it stands in the passage."""
    first, past = examples.characters(number, span.start, span.end)
    text = examples.question(number).passage[first:past]
    return FoundAnswer(text, first, past, span.probability, span.score)


def _together(question: Question, windows: list[_Window], top_k: int) -> Asked:
    """The best answers of all windows. No answer is one more span, whose score all windows share."""
    if not windows:
        return Asked(question, [], 0.0, -math.inf)
    null = windows[0].null_score
    largest = max(window.mass for window in windows)
    total = sum(math.exp(window.mass - largest) for window in windows)
    total -= (len(windows) - 1) * math.exp(null - largest)
    best: dict[tuple[int, int], FoundAnswer] = {}  # overlapping windows hold some answers twice
    for answer in sorted((answer for window in windows for answer in window.answers), key=lambda each: -each.score):
        probability = math.exp(answer.score - largest) / total
        best.setdefault((answer.start, answer.end), answer._replace(probability=probability))
    return Asked(question, list(best.values())[:top_k], math.exp(null - largest) / total, null)
