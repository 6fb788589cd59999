"""Cloze questions with a span reader: a gap is filled with a word of the passage by attention sum.

Kadlec, Schmid, Bajgar and Kleindienst, "Text understanding with the attention sum reader network", arXiv 1603.01547:

    s = softmax of the token scores over the positions of all candidate words
    p(word) = sum of s over the positions of the word
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
from pydlx.models.readers.settings import featurizer_of, in_chunks
from pydlx.models.text.batches import batches_by_length


class FoundWord(NamedTuple):
    """A word of a passage.

    Attributes:
        text: The word.
        probability: Probability that it is the missing word, among all candidate words of the passage.
    """

    text: str
    probability: float


class Filled(NamedTuple):
    """The words with which a reader fills a gap.

    Attributes:
        question: The question.
        words: By descending probability; empty if the passage holds no word.
        best: The most probable word, "" if there is none.
    """

    question: Question
    words: list[FoundWord]

    @property
    def best(self) -> str:
        """The most probable word; "" if there is none."""
        return self.words[0].text if self.words else ""


def cloze_loss(scores: Scores, candidates: Tensor, answer: Tensor) -> Tensor:
    """Mean over the batch of -log p(answer).

    Args:
        scores: What a reader returned for B passages of up to n tokens.
        candidates: (B, n) int64: for each token, the index of the first token with the same word; -1 for no candidate.
        answer: (B,) int64, the index of the first token with the right word.

    Raises:
        ValueError: If an answer is no candidate of its passage, or shapes do not fit.
    """
    log_s = _log_token_probabilities("cloze_loss", scores, candidates)
    check_integers("cloze_loss", "answer", answer)
    if answer.shape != candidates.shape[:1]:
        raise ValueError(f"cloze_loss: answer must have shape {(len(candidates),)}, got {tuple(answer.shape)}")
    wrong = (candidates != answer.unsqueeze(1)) | (candidates < 0)
    if bool(wrong.all(1).any()):
        raise ValueError("cloze_loss: answer must be a candidate of its passage, got one that is not")
    return -log_s.masked_fill(wrong, -torch.inf).logsumexp(1).mean()


def word_probabilities(scores: Scores, candidates: Tensor) -> Tensor:
    """Return (B, n): at the first token of each word, the probability that this word is the missing one; 0 elsewhere.

    Args:
        scores: What a reader returned for B passages of up to n tokens.
        candidates: (B, n) int64: for each token, the index of the first token with the same word; -1 for no candidate.
    """
    s = _log_token_probabilities("word_probabilities", scores, candidates).exp()
    return torch.zeros_like(s).scatter_add(1, candidates.clamp(min=0), s)


def _log_token_probabilities(name: str, scores: Scores, candidates: Tensor) -> Tensor:
    """Return log s of each token, (B, n); -inf for tokens that are no candidate."""
    check_scores(name, scores)
    check_integers(name, "candidates", candidates)
    tokens = scores.upcast().token_scores()
    if candidates.shape != tokens.shape:
        raise ValueError(
            f"{name}: candidates must have shape {tuple(tokens.shape)}, as the scores, got {tuple(candidates.shape)}"
        )
    if bool((candidates >= candidates.shape[1]).any()):
        raise ValueError(
            f"{name}: candidates must be places of {candidates.shape[1]} tokens or -1, got {int(candidates.max())}"
        )
    return tokens.masked_fill(candidates < 0, -torch.inf).log_softmax(1)


def fill(model: Reader, passage: str, question: str, *, top_k: int = 1) -> Filled:
    """Fill a question's gap, ``XXXXX``, with a word of a passage.

    Args:
        model: A reader trained on cloze questions, from ``load_model``.
        passage: Text of the passage.
        question: A sentence with ``XXXXX`` as a token in place of a word.
        top_k: Number of words; short passages give fewer.

    Raises:
        ValueError: If the reader was trained for another task, a text holds no token, or the question no gap.
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
    """Fill the gaps of many questions lazily and in order, a few hundred at a time.

    Args:
        model: A reader trained on cloze questions, from ``load_model``, on any device; it is put into evaluation mode.
        questions: Questions, such as ``read_cmrc2017`` returns.
        top_k: Number of words for each question.
        batch_size: Number of passages in a batch.

    Returns:
        An iterator of one `Filled` for each question.

    Raises:
        ValueError: If the reader was trained for another task; while iterating, if its scores are NaN.
    """
    featurizer = featurizer_of("fill_all", model, "cloze")
    whole("fill_all", "top_k", top_k, 1)
    whole("fill_all", "batch_size", batch_size, 1)
    parts = in_chunks("fill_all", questions, Question, batch_size)
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
