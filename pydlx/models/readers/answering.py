"""Decoding the scores of a reader to answer spans with probabilities."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pydlx._checks import check_type
from pydlx.models.readers.scores import ConditionalScores, Scores, SpanScores, WholeSpanScores


class ScoredSpan(NamedTuple):
    """A span of the passage's tokens, with its probability of being the answer.

    Attributes:
        start: Index of its first token.
        end: Index of its last token, inclusive.
        probability: Probability that the answer begins and ends there.
        score: Unnormalised score, comparable between several passages for one question.
    """

    start: int
    end: int
    probability: float
    score: float


class Answers(NamedTuple):
    """The best answer spans of one question, and the probability that there is no answer.

    Attributes:
        spans: By descending probability; fewer than asked for if the passage has no more.
        null_probability: Probability that the passage holds no answer; 0 for readers built without ``no_answer``.
        null_score: Score of no answer, comparable with the spans' scores; -inf for readers without ``no_answer``.
    """

    spans: list[ScoredSpan]
    null_probability: float
    null_score: float


@torch.no_grad()
def decode_answers(scores: Scores, max_length: int | None = 15, top_k: int = 1) -> list[Answers]:
    """Find the best answers of every example.

    Args:
        scores: What a reader returned for B examples.
        max_length: Maximum number of tokens of an answer; None for no limit.
        top_k: Number of spans per example.

    Returns:
        `Answers` for each of the B examples.
    """
    kinds = (SpanScores, WholeSpanScores, ConditionalScores)
    check_type("decode_answers", "scores", scores, kinds, "scores of a reader")
    scores = scores.upcast()
    spans, log_partition, null = scores.best(max_length, top_k), scores.log_partition(), scores.no_answer()
    probability = (spans.score - log_partition.unsqueeze(1)).exp()
    rows = zip(*(part.tolist() for part in (spans.start, spans.end, probability, spans.score)), strict=True)
    found = [[ScoredSpan(*span) for span in zip(*row, strict=True) if span[0] >= 0] for row in rows]
    if null is None:
        return [Answers(answers, 0.0, -torch.inf) for answers in found]
    nulls = zip((null - log_partition).exp().tolist(), null.tolist(), strict=True)
    return [Answers(answers, *no_answer) for answers, no_answer in zip(found, nulls, strict=True)]
