"""Multiple choice with a span reader: it reads the passage once per choice, with question and choice as its question.

A choice's score is the logarithm of the sum of exp(score) over all spans of that reading; a softmax over the choices
gives their probabilities.
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
from pydlx.models.readers.settings import featurizer_of, in_chunks
from pydlx.models.text.batches import batches_by_length


class Chosen(NamedTuple):
    """A reader's choice.

    Attributes:
        question: The question.
        probabilities: Probability of each choice; empty if the passage holds no token or there are no choices.
        best: Text of the most probable choice, "" if there is none.
    """

    question: ChoiceQuestion
    probabilities: list[float]

    @property
    def best(self) -> str:
        """Text of the most probable choice; "" if there is none."""
        if not self.probabilities:
            return ""
        return self.question.choices[self.probabilities.index(max(self.probabilities))]


def choice_log_probabilities(scores: Scores, counts: Tensor) -> Tensor:
    """Return log-probabilities (B, k) of the choices of each question; -inf where a question has fewer than k.

    Args:
        scores: What a reader returned for R choices, those of a question next to each other.
        counts: (B,) int64, the number of choices of each question; their sum is R.
    """
    return _log_probabilities("choice_log_probabilities", scores, counts)


def _log_probabilities(name: str, scores: Scores, counts: Tensor) -> Tensor:
    check_scores(name, scores)
    check_integers(name, "counts", counts)
    logits = scores.upcast().log_partition()
    if counts.dim() != 1 or int(counts.sum()) != len(logits) or bool((counts < 1).any()):
        wanted = f"positive, of shape (B,), and {len(logits)} in all"
        raise ValueError(f"{name}: counts must be {wanted}, got {counts.tolist()}")
    return pad_sequence(list(logits.split(counts.tolist())), True, -torch.inf).log_softmax(1)


def choice_loss(scores: Scores, counts: Tensor, answer: Tensor) -> Tensor:
    """Mean over the batch of -log p(answer).

    Args:
        scores: What a reader returned for R choices, those of a question next to each other.
        counts: (B,) int64, the number of choices of each question; their sum is R.
        answer: (B,) int64, the index of the right choice among its question's.

    Raises:
        ValueError: If an answer is not an index of its question's choices, or shapes do not fit.
    """
    log_probabilities = _log_probabilities("choice_loss", scores, counts)
    check_integers("choice_loss", "answer", answer)
    if answer.shape != counts.shape or bool(((answer < 0) | (answer >= counts)).any()):
        raise ValueError(
            f"choice_loss: answer must be a choice of each of {len(counts)} questions, got {answer.tolist()}"
        )
    return F.nll_loss(log_probabilities, answer)


def choose(model: Reader, passage: str, question: str, choices: Sequence[str]) -> Chosen:
    """Choose the answer to a question about a passage.

    Args:
        model: A reader trained on multiple choice, from ``load_model``.
        passage: Text of the passage.
        question: Text of the question.
        choices: Texts of the choices, at least one.

    Raises:
        ValueError: If the reader was trained for another task, or a text holds no token.
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
    """Choose the answers to many questions lazily and in order, a few hundred at a time.

    Args:
        model: A reader trained on multiple choice, from ``load_model``, on any device; it is put into evaluation mode.
        questions: Questions, such as ``read_dream`` returns.
        batch_size: Number of questions in a batch, each with all its choices.

    Returns:
        An iterator of one `Chosen` for each question.

    Raises:
        ValueError: If the reader was trained for another task; while iterating, if its scores are NaN.
    """
    featurizer = featurizer_of("choose_all", model, "choice")
    whole("choose_all", "batch_size", batch_size, 1)
    parts = in_chunks("choose_all", questions, ChoiceQuestion, batch_size)
    return (
        chosen
        for part in parts
        for chosen in _chosen(model.eval(), ChoiceSet(part, featurizer, training=False), batch_size)
    )


@torch.no_grad()
def _chosen(model: Reader, examples: ChoiceSet, batch_size: int) -> Iterator[Chosen]:
    found: list[list[float]] = [[] for _ in examples.questions]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        probabilities = choice_log_probabilities(model(batch.passage, batch.question), batch.counts).exp()
        if bool(probabilities.isnan().any()):
            raise ValueError("choose_all: model must give numbers for scores, got NaN")
        for number, row, count in zip(numbers, probabilities.tolist(), batch.counts.tolist(), strict=True):
            found[examples.owners[number]] = row[:count]
    return iter([Chosen(question, row) for question, row in zip(examples.questions, found, strict=True)])
