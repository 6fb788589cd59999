"""Gaps in sentences, filled with words of a passage by a reader: attention sum.

Kadlec, Schmid, Bajgar and Kleindienst, "Text understanding with the attention sum reader network", arXiv 1603.01547:

    s = softmax over the candidates' places of the scores of single tokens        (equation 2)
    p(word) = sum of s over the places of the word                                (equation 3)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pydlx._checks import check_integers, check_type, whole
from pydlx.data.reading import BLANK, Question
from pydlx.data.reading.cloze_set import ClozeSet
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import Scores, check_scores
from pydlx.models.readers.settings import featurizer_of, in_parts
from pydlx.models.text.batches import batches_by_length


class FoundWord(NamedTuple):
    """A word of a passage.

    Attributes:
        text: The word.
        probability: That it is the missing one, of all words of the passage.
    """

    text: str
    probability: float


class Filled(NamedTuple):
    """What a reader fills a gap with.

    Attributes:
        question: The question.
        words: By falling probability; empty if the passage holds no word.
        best: The likeliest word, "" if there is none.
    """

    question: Question
    words: list[FoundWord]

    @property
    def best(self) -> str:
        """The likeliest word; "" if there is none."""
        return self.words[0].text if self.words else ""


def cloze_loss(scores: Scores, candidates: Tensor, answer: Tensor) -> Tensor:
    """Mean over the batch of -log p(answer).

    Args:
        scores: What a reader returned for B passages of up to n tokens.
        candidates: (B, n), int64: where the word of each token stands first in its passage; -1 for no candidate.
        answer: (B,), int64: where the right word stands first.

    Raises:
        ValueError: The passage does not hold a right word, or shapes do not fit.
    """
    likely = _likely("cloze_loss", scores, candidates)
    check_integers("cloze_loss", "answer", answer)
    if answer.shape != candidates.shape[:1]:
        raise ValueError(f"cloze_loss: answer must have shape {(len(candidates),)}, got {tuple(answer.shape)}")
    wrong = (candidates != answer.unsqueeze(1)) | (candidates < 0)
    if bool(wrong.all(1).any()):
        raise ValueError("cloze_loss: answer must be a candidate of its passage, got one that is not")
    return -likely.masked_fill(wrong, -torch.inf).logsumexp(1).mean()


def word_probabilities(scores: Scores, candidates: Tensor) -> Tensor:
    """(B, n): at the place where a word stands first, the probability that it is the missing one; 0 elsewhere.

    Args:
        scores: What a reader returned for B passages of up to n tokens.
        candidates: (B, n), int64: where the word of each token stands first in its passage; -1 for no candidate.
    """
    likely = _likely("word_probabilities", scores, candidates).exp()
    return torch.zeros_like(likely).scatter_add(1, candidates.clamp(min=0), likely)


def _likely(name: str, scores: Scores, candidates: Tensor) -> Tensor:
    """(B, n): logarithm of the share s of each token."""
    check_scores(name, scores)
    check_integers(name, "candidates", candidates)
    places = scores.wide().places()
    if candidates.shape != places.shape:
        raise ValueError(
            f"{name}: candidates must have shape {tuple(places.shape)}, as the scores, got {tuple(candidates.shape)}"
        )
    if bool((candidates >= candidates.shape[1]).any()):
        raise ValueError(
            f"{name}: candidates must be places of {candidates.shape[1]} tokens or -1, got {int(candidates.max())}"
        )
    return places.masked_fill(candidates < 0, -torch.inf).log_softmax(1)


def fill(model: Reader, passage: str, question: str, *, top_k: int = 1) -> Filled:
    """Fill a question's gap, ``XXXXX``, with a word of a passage.

    Args:
        model: A reader trained for this, from ``load_model``.
        passage: Its text.
        question: A sentence with ``XXXXX`` in it.
        top_k: How many words to give; fewer come from short passages.

    Raises:
        ValueError: If the reader is not one that fills gaps, or a text holds no token, or the question no gap.
    """
    for argument, text in (("passage", passage), ("question", question)):
        check_type("fill", argument, text, str, "text")
        if not text.strip():
            raise ValueError(f"fill: {argument} must hold a token, got none but white space")
    if BLANK not in question:
        raise ValueError(f"fill: question must hold {BLANK}, got {question!r}")
    tokens = featurizer_of("fill", model, "cloze").tokeniser(question)
    if not any(question[first:past] == BLANK for first, past in tokens):
        raise ValueError(f"fill: question must hold {BLANK} as a token of its own, got {question!r}")
    return next(iter(fill_all(model, [Question("", passage, question)], top_k=top_k)))


def fill_all(model: Reader, questions: Iterable[Question], *, top_k: int = 1, batch_size: int = 32) -> Iterator[Filled]:
    """Fill many questions' gaps, in their order, a few hundred at a time.

    Args:
        model: A reader trained for this, from ``load_model``, on any device; it is put into evaluation mode.
        questions: Of ``read_cmrc2017``.
        top_k: How many words to give for each.
        batch_size: Passages that are read at once.

    Returns:
        A `Filled` for each question.

    Raises:
        ValueError: If the reader is not one that fills gaps; on the way, if its scores are NaN.
    """
    featurizer = featurizer_of("fill_all", model, "cloze")
    whole("fill_all", "top_k", top_k, 1)
    whole("fill_all", "batch_size", batch_size, 1)
    parts = in_parts("fill_all", questions, Question, batch_size)
    return (
        filled
        for part in parts
        for filled in _filled(model.eval(), ClozeSet(part, featurizer, training=False), top_k, batch_size)
    )


@torch.no_grad()
def _filled(model: Reader, examples: ClozeSet, top_k: int, batch_size: int) -> Iterator[Filled]:
    words: list[list[FoundWord]] = [[] for _ in examples.questions]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        probabilities = word_probabilities(model(batch.passage, batch.question), batch.candidates)
        if bool(probabilities.isnan().any()):
            raise ValueError("fill_all: model must give numbers for scores, got NaN")
        values, places = probabilities.topk(min(top_k, probabilities.shape[1]), 1)
        for number, row in zip(numbers, zip(values.tolist(), places.tolist(), strict=True), strict=True):
            found = [FoundWord(examples.word(number, place), p) for p, place in zip(*row, strict=True) if p > 0]
            words[examples.owners[number]] = found
    return iter([Filled(question, found) for question, found in zip(examples.questions, words, strict=True)])
