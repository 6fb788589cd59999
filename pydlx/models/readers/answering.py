"""From scores to answers."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pydlx._checks import check_type
from pydlx.models.readers.scores import SpanScores
from pydlx.ops import decode_spans


class Answer(NamedTuple):
    """A span of the passage.

    Attributes:
        start: Its first token.
        end: Its last token, inclusive.
        probability: That the answer begins and ends there.
        score: The sum of both scores, unnormalised, which compares answers of one question from several passages.
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
        null_score: The sum of both scores of that, comparable with the spans'; -inf likewise.
    """

    spans: list[Answer]
    null_probability: float
    null_score: float


@torch.no_grad()
def decode_answers(scores: SpanScores, max_length: int | None = 15, top_k: int = 1) -> list[Answers]:
    """Find the best answers of every example.

    Args:
        scores: What a reader returned for B examples.
        max_length: Most tokens of an answer; None for no limit.
        top_k: Spans per example.

    Returns:
        B of them.
    """
    check_type("decode_answers", "scores", scores, SpanScores, "SpanScores of a reader")
    scores = scores.wide()
    likely = scores.log_probabilities()
    starts, ends, logarithms = decode_spans(likely.start, likely.end, max_length, top_k=top_k)
    sums = scores.start.gather(1, starts.clamp(min=0)) + scores.end.gather(1, ends.clamp(min=0))
    rows = zip(starts.tolist(), ends.tolist(), logarithms.exp().tolist(), sums.tolist(), strict=True)
    found = [[Answer(*span) for span in zip(*row, strict=True) if span[0] >= 0] for row in rows]
    if scores.null is None or likely.null is None:
        return [Answers(spans, 0.0, -torch.inf) for spans in found]
    nulls = zip(likely.null.sum(1).exp().tolist(), scores.null.sum(1).tolist(), strict=True)
    return [Answers(spans, *null) for spans, null in zip(found, nulls, strict=True)]
