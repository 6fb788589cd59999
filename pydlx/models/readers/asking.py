"""Asking a trained reader: from a passage and a question, as texts, to answers with their place in the passage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

from pydlx._checks import check_type, whole, whole_or_none
from pydlx.data.reading import Featurizer, Question, ReadingSet
from pydlx.models.readers.answering import ScoredSpan, decode_answers
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import Scores
from pydlx.models.readers.settings import in_chunks, settings_of
from pydlx.models.text.batches import batches_by_length


class FoundAnswer(NamedTuple):
    """An answer, cut from the passage: ``passage[start:end] == text``.

    Attributes:
        text: The answer as written in the passage.
        start: Offset of its first character in the passage.
        end: Offset past its last character.
        probability: Probability that it is the answer, among all spans of the passage and no answer.
        score: Unnormalised score, comparable between passages.
    """

    text: str
    start: int
    end: int
    probability: float
    score: float


class Asked(NamedTuple):
    """A reader's answers to a question.

    Attributes:
        question: The question.
        answers: By descending probability; empty if the passage or the question holds no token.
        null_probability: Probability that the passage holds no answer; 0 for readers built without ``no_answer``.
        null_score: Score of no answer; -inf for readers built without ``no_answer``.
        best: Text of the best answer; "" if no answer is likelier.
    """

    question: Question
    answers: list[FoundAnswer]
    null_probability: float
    null_score: float

    @property
    def best(self) -> str:
        """Text of the best answer; "" if `answers` is empty or no answer is likelier."""
        return self.answers[0].text if self.answers and self.answers[0].score >= self.null_score else ""


def ask(model: Reader, passage: str, question: str, *, top_k: int = 1, max_length: int | None = None) -> Asked:
    """Answer a question about a passage.

    Args:
        model: A trained reader, from ``load_model``.
        passage: Text of the passage. One that is longer than in training is read in overlapping windows.
        question: Text of the question.
        top_k: Number of answers; short passages give fewer.
        max_length: Maximum number of tokens of an answer; by default as in training.

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
    """Answer many questions lazily and in order, a few hundred at a time.

    Args:
        model: A trained reader, from ``load_model``, on any device; it is put into evaluation mode.
        questions: Questions, such as ``read_squad`` returns.
        top_k: Number of answers to each question.
        max_length: Maximum number of tokens of an answer; by default as in training.
        batch_size: Number of passages, or windows of them, in a batch.

    Returns:
        An iterator of one `Asked` for each question.

    Raises:
        ValueError: If the reader has no vocabulary; while iterating, if its scores are NaN or infinite, as after a
            training that diverged.
    """
    settings = settings_of("ask_all", model, "span", "free_answer")
    whole("ask_all", "top_k", top_k, 1)
    whole("ask_all", "batch_size", batch_size, 1)
    length = whole_or_none("ask_all", "max_length", max_length, 1) or settings["answer_length"]
    featurizer = Featurizer.from_state(settings["featurizer"])
    parts = in_chunks("ask_all", questions, Question, batch_size)
    sets = (ReadingSet(part, featurizer, training=False, max_passage=settings["max_passage"]) for part in parts)
    return itertools.chain.from_iterable(_asked(model.eval(), part, top_k, length, batch_size) for part in sets)


class _Window(NamedTuple):
    """Answers from one window of a passage, and the logarithm of the sum of exp(score) over all spans of the window."""

    answers: list[FoundAnswer]
    null_score: float
    log_partition: float


@torch.no_grad()
def _asked(model: Reader, examples: ReadingSet, top_k: int, max_length: int, batch_size: int) -> Iterator[Asked]:
    """Yield the answers to all questions of a set, each from all windows of its passage."""
    windows: list[list[_Window]] = [[] for _ in examples.questions]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        scores = model(batch.passage, batch.question).upcast()
        found = zip(numbers, decode_answers(scores, max_length, top_k), scores.log_partition().tolist(), strict=True)
        for number, answers, log_partition in found:
            if not math.isfinite(log_partition):
                raise ValueError(
                    f"ask_all: model must give numbers for scores, got a sum over all spans of {log_partition}"
                )
            texts = [_as_text(examples, number, span) for span in answers.spans]
            windows[examples.windows[number].question].append(_Window(texts, answers.null_score, log_partition))
        _check_finite(scores)
    for question, of_question in zip(examples.questions, windows, strict=True):
        yield _merge_windows(question, of_question, top_k)


def _check_finite(scores: Scores) -> None:
    """Refuse NaN and inf that the sum over all spans does not show, such as in end scores given a start."""
    for part in scores:
        if part is not None and part.is_floating_point() and bool((part.isnan() | part.isposinf()).any()):
            raise ValueError(f"ask_all: model must give numbers for scores, got {float(part.max())}")


def _as_text(examples: ReadingSet, number: int, span: ScoredSpan) -> FoundAnswer:
    """Turn a span of an example's tokens into the text of the passage that it covers."""
    first, past = examples.characters(number, span.start, span.end)
    text = examples.question(number).passage[first:past]
    return FoundAnswer(text, first, past, span.probability, span.score)


def _merge_windows(question: Question, windows: list[_Window], top_k: int) -> Asked:
    """Return the best answers of all windows, with probabilities over the spans of all windows and no answer.

    Every window's sum includes no answer, with the same score in each; it is counted once.
    """
    if not windows:
        return Asked(question, [], 0.0, -math.inf)
    null = windows[0].null_score
    largest = max(window.log_partition for window in windows)
    total = sum(math.exp(window.log_partition - largest) for window in windows)
    total -= (len(windows) - 1) * math.exp(null - largest)
    best: dict[tuple[int, int], FoundAnswer] = {}  # windows overlap: an answer may occur twice
    for answer in sorted((answer for window in windows for answer in window.answers), key=lambda each: -each.score):
        probability = math.exp(answer.score - largest) / total
        best.setdefault((answer.start, answer.end), answer._replace(probability=probability))
    return Asked(question, list(best.values())[:top_k], math.exp(null - largest) / total, null)
