"""What readers give: scores of where the answer stands, in three kinds that are asked and learned from alike.

Scores are unnormalised, and those of one question in several passages can be compared. The probability of a span is
exp(score - mass), where mass is the logarithm of the sum of exp(score) over all spans, and over no answer where a
reader has learned to say that there is none.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import check_type, whole, whole_or_none
from pydlx.ops import decode_spans
from pydlx.ops.ranking import best


class Spans(NamedTuple):
    """Spans of B examples by falling score; where there are fewer, places are -1 and scores -inf.

    Attributes:
        start: (B, k), int64: first tokens.
        end: (B, k), int64: last tokens, inclusive.
        score: (B, k).
    """

    start: Tensor
    end: Tensor
    score: Tensor


class SpanScores(NamedTuple):
    """A score for each token to begin the answer and, apart from it, one to end it; a span has their sum.

    Attributes:
        start: (B, n): that the answer begins at a token; -inf in padding.
        end: (B, n): that it ends there, inclusive; -inf in padding.
        null: (B, 2): that it begins and ends nowhere, which the readers with ``no_answer=True`` learn; None otherwise.
    """

    start: Tensor
    end: Tensor
    null: Tensor | None = None

    def wide(self) -> SpanScores:
        """The same, of float32 at least: sums of 16 bits cannot tell answers apart whose scores can be told apart."""
        return SpanScores(_wide(self.start), _wide(self.end), _wide(self.null))

    def log_probabilities(self) -> SpanScores:
        """The same as logarithms of probabilities: of all starts, the null one included, the sum is 1; of ends, too."""
        if self.null is None:
            return SpanScores(self.start.log_softmax(1), self.end.log_softmax(1))
        start, end = (
            torch.cat([scores, self.null[:, side : side + 1]], 1).log_softmax(1)
            for side, scores in enumerate((self.start, self.end))
        )
        return SpanScores(start[:, :-1], end[:, :-1], torch.stack([start[:, -1], end[:, -1]], 1))

    def loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of -log p(start) - log p(end) for the first and last tokens (B,); -1 where there is no answer."""
        null = (None, None) if self.null is None else self.null.split(1, 1)
        return _cross_entropy(self.start, null[0], start) + _cross_entropy(self.end, null[1], end)

    def best(self, max_length: int | None, top_k: int) -> Spans:
        """The best spans of up to so many tokens."""
        return Spans(*decode_spans(self.start, self.end, max_length, top_k=top_k))

    def mass(self) -> Tensor:
        """(B,), the logarithm of the sum of exp(score) over all pairs of a start and an end, null ones included."""
        if self.null is None:
            return self.start.logsumexp(1) + self.end.logsumexp(1)
        sides = zip((self.start, self.end), self.null.unbind(1), strict=True)
        return sum((torch.logaddexp(side.logsumexp(1), null) for side, null in sides), self.null.new_zeros(()))

    def no_answer(self) -> Tensor | None:
        """(B,), the score of no answer; None for readers that have not learned to say so."""
        return None if self.null is None else self.null.sum(1)

    def places(self) -> Tensor:
        """(B, n), one score for each token, for readers that look for a word: that of beginning there."""
        return self.start


class WholeSpanScores(NamedTuple):
    """A score for each span of up to w tokens.

    Attributes:
        spans: (B, n, w): of the k + 1 tokens from i on at [:, i, k]; -inf where they reach into padding.
        null: (B, 1): that there is no answer, as in `SpanScores`.
    """

    spans: Tensor
    null: Tensor | None = None

    def wide(self) -> WholeSpanScores:
        """The same, of float32 at least."""
        return WholeSpanScores(_wide(self.spans), _wide(self.null))

    def loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of -log p(span) for the first and last tokens (B,); -1 where there is no answer.

        Spans of more than w tokens have no score: their examples do not count.
        """
        return _cross_entropy(self.spans.flatten(1), self.null, *self._targets(start, end))

    def logistic_loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of -log σ(score) of the right span plus the sum of -log(1 - σ(score)) of all others and of no answer.

        Whether each span is the answer is a question of its own here. First and last tokens (B,) are as in `loss`.
        """
        scores, (target, ignored) = _all(self.spans.flatten(1), self.null), self._targets(start, end)
        target = target.masked_fill(target < 0, scores.shape[1] - 1).masked_fill(ignored, 0)
        losses = F.softplus(scores).sum(1) - scores.gather(1, target.unsqueeze(1)).squeeze(1)
        return losses.masked_fill(ignored, 0).sum() / (~ignored).sum().clamp(min=1)

    def _targets(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """The places (B,) of spans in ``spans.flatten(1)``, -1 for no answer, and which spans have none."""
        width = self.spans.shape[2]
        target = torch.where(start < 0, start, start * width + end - start)
        return target, (start >= 0) & (end - start >= width)

    def best(self, max_length: int | None, top_k: int) -> Spans:
        """The best spans of up to so many tokens; of equal ones the first comes first, then the shorter."""
        max_length, top_k = _checked("WholeSpanScores", max_length, top_k)
        width = self.spans.shape[2] if max_length is None else min(max_length, self.spans.shape[2])
        score, place = best(F.pad(self.spans[:, :, :width].flatten(1), (0, top_k), value=-torch.inf), top_k)
        found, start = score > -torch.inf, place // width
        return Spans(torch.where(found, start, -1), torch.where(found, start + place % width, -1), score)

    def mass(self) -> Tensor:
        """(B,), the logarithm of the sum of exp(score) over all spans and no answer."""
        return _all(self.spans.flatten(1), self.null).logsumexp(1)

    def no_answer(self) -> Tensor | None:
        """(B,), the score of no answer; None for readers that have not learned to say so."""
        return None if self.null is None else self.null.squeeze(1)

    def places(self) -> Tensor:
        """(B, n), one score for each token, for readers that look for a word: that of the span of this token alone."""
        return self.spans[:, :, 0]


class ConditionalScores(NamedTuple):
    """A score for each token to begin the answer, and for the best k of these, one for each token to end it then.

    p(start, end) is p(start) p(end | start), and so the score of a span is its start's and log p(end | start).

    Attributes:
        start: (B, n): that the answer begins at a token; -inf in padding.
        given: (B, k), int64: the starts that are followed up.
        end: (B, k, n): that it ends at a token, inclusive, if it begins there; -inf in padding and before it begins.
        null: (B, 1): that it begins nowhere, as in `SpanScores`.
    """

    start: Tensor
    given: Tensor
    end: Tensor
    null: Tensor | None = None

    def wide(self) -> ConditionalScores:
        """The same, of float32 at least."""
        return ConditionalScores(_wide(self.start), self.given, _wide(self.end), _wide(self.null))

    def loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of -log p(start) - log p(end | start) for the first and last tokens (B,); -1 where there is no answer.

        The first of `given` must be `start`, or any token where there is no answer.
        """
        none = start < 0
        return _cross_entropy(self.start, self.null, start) + _cross_entropy(
            self.end[:, 0], None, end.masked_fill(none, 0), none, of=len(start)
        )

    def best(self, max_length: int | None, top_k: int) -> Spans:
        """The best spans of up to so many tokens, of those that begin at one of the k starts."""
        max_length, top_k = _checked("ConditionalScores", max_length, top_k)
        n = self.start.shape[1]
        far = torch.arange(n, device=self.end.device) - self.given.unsqueeze(2)  # (B, k, n) tokens behind the start
        inside = (far >= 0) & (far < (n if max_length is None else max_length))
        starts = self.start.gather(1, self.given).unsqueeze(2)
        scores = (starts + self.end.log_softmax(2)).masked_fill(~inside | (starts == -torch.inf), -torch.inf)
        score, place = best(F.pad(scores.flatten(1), (0, top_k), value=-torch.inf), top_k)
        found = score > -torch.inf
        start = self.given.gather(1, (place // n).clamp(max=self.given.shape[1] - 1))
        return Spans(torch.where(found, start, -1), torch.where(found, place % n, -1), score)

    def mass(self) -> Tensor:
        """(B,), the logarithm of the sum of exp(score) over all spans, those of other starts too, and no answer."""
        return _all(self.start, self.null).logsumexp(1)

    def no_answer(self) -> Tensor | None:
        """(B,), the score of no answer; None for readers that have not learned to say so."""
        return None if self.null is None else self.null.squeeze(1)

    def places(self) -> Tensor:
        """(B, n), one score for each token, for readers that look for a word: that of beginning there."""
        return self.start


Scores = SpanScores | WholeSpanScores | ConditionalScores


def check_scores(name: str, scores: Any) -> None:
    """Refuses what is none of these."""
    check_type(name, "scores", scores, (SpanScores, WholeSpanScores, ConditionalScores), "scores of a reader")


def _checked(name: str, max_length: int | None, top_k: int) -> tuple[int | None, int]:
    """What ``best`` may be asked for, as ``decode_spans`` has it."""
    return whole_or_none(name, "max_length", max_length, 1), whole(name, "top_k", top_k, 1)


Maybe = TypeVar("Maybe", Tensor, Tensor | None)


def _wide(x: Maybe) -> Maybe:
    return None if x is None else x.to(torch.promote_types(x.dtype, torch.float32))


def _all(scores: Tensor, null: Tensor | None) -> Tensor:
    """Scores (B, n) and behind them that of none, if there is one."""
    return scores if null is None else torch.cat([scores, null], 1)


def _cross_entropy(
    scores: Tensor, null: Tensor | None, target: Tensor, ignored: Tensor | None = None, of: int | None = None
) -> Tensor:
    """Mean of -log p(target) for targets (B,), where -1 is the null score.

    Args:
        ignored: (B,), True where a target does not count.
        of: By how many the sum is divided; by default as many as count.
    """
    scores, target = _wide(_all(scores, null)), target.masked_fill(target < 0, scores.shape[1])
    if ignored is None:
        return F.cross_entropy(scores, target)
    total = F.cross_entropy(scores, target.masked_fill(ignored, -100), reduction="sum")
    return total / ((~ignored).sum().clamp(min=1) if of is None else of)
