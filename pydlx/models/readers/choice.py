"""Multiple choice: a reader reads the passage with the question and each choice, and the one it finds most in wins.

A choice's score is the logarithm of the sum over all spans of exp(score), and choices are compared by a softmax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pydlx._checks import check_integers, check_type, listed, whole
from pydlx.data.reading.choice import ChoiceQuestion
from pydlx.data.reading.choice_set import ChoiceSet
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import Scores, check_scores
from pydlx.models.readers.settings import featurizer_of, in_parts
from pydlx.models.text.batches import batches_by_length


class Chosen(NamedTuple):
    """What a reader chooses.

    Attributes:
        question: The question.
        probabilities: Of each of its choices; empty if the passage holds no token or there is nothing to choose from.
        best: The likeliest choice's text, "" if there is none.
    """

    question: ChoiceQuestion
    probabilities: list[float]

    @property
    def best(self) -> str:
        """The likeliest choice's text; "" if there is none."""
        if not self.probabilities:
            return ""
        return self.question.choices[self.probabilities.index(max(self.probabilities))]


def choice_log_probabilities(scores: Scores, counts: Tensor) -> Tensor:
    """(B, k): the logarithm of each choice's probability among its question's; -inf where there are fewer than k.

    Args:
        scores: What a reader returned for R choices, those of a question side by side.
        counts: (B,), int64: how many of them each question has; R in all.
    """
    return _log_probabilities("choice_log_probabilities", scores, counts)


def _log_probabilities(name: str, scores: Scores, counts: Tensor) -> Tensor:
    check_scores(name, scores)
    check_integers(name, "counts", counts)
    masses = scores.wide().mass()
    if counts.dim() != 1 or int(counts.sum()) != len(masses) or bool((counts < 1).any()):
        wanted = f"positive, of shape (B,), and {len(masses)} in all"
        raise ValueError(f"{name}: counts must be {wanted}, got {counts.tolist()}")
    return pad_sequence(list(masses.split(counts.tolist())), True, -torch.inf).log_softmax(1)


def choice_loss(scores: Scores, counts: Tensor, answer: Tensor) -> Tensor:
    """Mean over the batch of -log p(answer).

    Args:
        scores: What a reader returned for R choices, those of a question side by side.
        counts: (B,), int64: how many of them each question has; R in all.
        answer: (B,), int64: the place of the right one.

    Raises:
        ValueError: A question has no right choice, or shapes do not fit.
    """
    likely = _log_probabilities("choice_loss", scores, counts)
    check_integers("choice_loss", "answer", answer)
    if answer.shape != counts.shape or bool(((answer < 0) | (answer >= counts)).any()):
        raise ValueError(
            f"choice_loss: answer must be a choice of each of {len(counts)} questions, got {answer.tolist()}"
        )
    return F.nll_loss(likely, answer)


def choose(model: Reader, passage: str, question: str, choices: Sequence[str]) -> Chosen:
    """Choose what a passage answers to a question.

    Args:
        model: A reader trained for this, from ``load_model``.
        passage: Its text.
        question: What is asked.
        choices: What may be chosen, at least one.

    Raises:
        ValueError: If the reader is not one that chooses, or a text holds no token.
    """
    texts = listed("choose", "choices", choices, "a list of texts")
    if not texts:
        raise ValueError("choose: choices must hold a text, got none")
    for argument, text in (("passage", passage), ("question", question), *(("choices", text) for text in texts)):
        check_type("choose", argument, text, str, "text")
        if not text.strip():
            raise ValueError(f"choose: {argument} must hold a token, got none but white space")
    return next(iter(choose_all(model, [ChoiceQuestion("", passage, question, tuple(texts))])))


def choose_all(model: Reader, questions: Iterable[ChoiceQuestion], *, batch_size: int = 16) -> Iterator[Chosen]:
    """Choose for many questions, in their order, a few hundred at a time.

    Args:
        model: A reader trained for this, from ``load_model``, on any device; it is put into evaluation mode.
        questions: Of ``read_dream``.
        batch_size: Questions that are read at once, with all their choices.

    Returns:
        A `Chosen` for each question.

    Raises:
        ValueError: If the reader is not one that chooses; on the way, if its scores are NaN.
    """
    featurizer = featurizer_of("choose_all", model, "choice")
    whole("choose_all", "batch_size", batch_size, 1)
    parts = in_parts("choose_all", questions, ChoiceQuestion, batch_size)
    return (
        chosen
        for part in parts
        for chosen in _chosen(model.eval(), ChoiceSet(part, featurizer, training=False), batch_size)
    )


@torch.no_grad()
def _chosen(model: Reader, examples: ChoiceSet, batch_size: int) -> Iterator[Chosen]:
    found: list[list[float]] = [[] for _ in examples.questions]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        likely = choice_log_probabilities(model(batch.passage, batch.question), batch.counts).exp()
        if bool(likely.isnan().any()):
            raise ValueError("choose_all: model must give numbers for scores, got NaN")
        for number, row, count in zip(numbers, likely.tolist(), batch.counts.tolist(), strict=True):
            found[examples.owners[number]] = row[:count]
    return iter([Chosen(question, row) for question, row in zip(examples.questions, found, strict=True)])
