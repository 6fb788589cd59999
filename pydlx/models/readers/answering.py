"""From scores to answers."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pydlx._checks import check_type
from pydlx.models.readers.scores import ConditionalScores, Scores, SpanScores, WholeSpanScores


class Answer(NamedTuple):
    """A span of the passage.

    Attributes:
        start: Its first token.
        end: Its last token, inclusive.
        probability: That the answer begins and ends there.
        score: Unnormalised; compares answers of one question from several passages.
    """

    start: int
    end: int
    probability: float
    score: float


class Answers(NamedTuple):
    """What a reader answers to one question.

    Attributes:
        spans: By falling probability; fewer than asked for where the passage has no more.
        null_probability: That the passage holds no answer; 0 for readers that have not learned to say so.
        null_score: The score of that, comparable with the spans'; -inf likewise.
    """

    spans: list[Answer]
    null_probability: float
    null_score: float


@torch.no_grad()
def decode_answers(scores: Scores, max_length: int | None = 15, top_k: int = 1) -> list[Answers]:
    """Find the best answers of every example.

    Args:
        scores: What a reader returned for B examples.
        max_length: Most tokens of an answer; None for no limit.
        top_k: Spans per example.

    Returns:
        B of them.
    """
    kinds = (SpanScores, WholeSpanScores, ConditionalScores)
    check_type("decode_answers", "scores", scores, kinds, "scores of a reader")
    scores = scores.wide()
    spans, mass, null = scores.best(max_length, top_k), scores.mass(), scores.no_answer()
    probability = (spans.score - mass.unsqueeze(1)).exp()
    rows = zip(*(part.tolist() for part in (spans.start, spans.end, probability, spans.score)), strict=True)
    found = [[Answer(*span) for span in zip(*row, strict=True) if span[0] >= 0] for row in rows]
    if null is None:
        return [Answers(answers, 0.0, -torch.inf) for answers in found]
    nulls = zip((null - mass).exp().tolist(), null.tolist(), strict=True)
    return [Answers(answers, *of_none) for answers, of_none in zip(found, nulls, strict=True)]
