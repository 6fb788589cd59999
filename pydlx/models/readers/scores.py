"""Scores that readers return: three types with the same methods for training and decoding.

Scores are unnormalised, and for one question they are comparable between passages. The probability of a span is
exp(score - log_partition), where log_partition is the logarithm of the sum of exp(score) over all spans and, for
readers with ``no_answer=True``, no answer.
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
    """The k best spans of B examples by descending score. An example with fewer is filled with -1 and scores -inf.

    Attributes:
        start: (B, k) int64, first tokens.
        end: (B, k) int64, last tokens, inclusive.
        score: (B, k), scores.
    """

    start: Tensor
    end: Tensor
    score: Tensor


class SpanScores(NamedTuple):
    """Independent start and end scores of each token; a span's score is their sum.

    Attributes:
        start: (B, n), scores that the answer starts at a token; -inf in padding.
        end: (B, n), scores that it ends at a token, inclusive; -inf in padding.
        null: (B, 2), start and end scores of no answer, for readers with ``no_answer=True``; otherwise None.
    """

    start: Tensor
    end: Tensor
    null: Tensor | None = None

    def upcast(self) -> SpanScores:
        """Convert to at least float32: in half precision, sums of different scores may round to the same number."""
        return SpanScores(_upcast(self.start), _upcast(self.end), _upcast(self.null))

    def log_probabilities(self) -> SpanScores:
        """Return log-probabilities: normalised over all starts, the null start included, and over all ends likewise."""
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
        """Return the best spans of up to `max_length` tokens."""
        return Spans(*decode_spans(self.start, self.end, max_length, top_k=top_k))

    def log_partition(self) -> Tensor:
        """Return (B,), the logarithm of the sum of exp(score) over all pairs of start and end, null included."""
        if self.null is None:
            return self.start.logsumexp(1) + self.end.logsumexp(1)
        sides = zip((self.start, self.end), self.null.unbind(1), strict=True)
        return sum((torch.logaddexp(side.logsumexp(1), null) for side, null in sides), self.null.new_zeros(()))

    def no_answer(self) -> Tensor | None:
        """Return (B,), the score of no answer; None for readers built without ``no_answer``."""
        return None if self.null is None else self.null.sum(1)

    def token_scores(self) -> Tensor:
        """Return one score per token, (B, n), for cloze questions: its start score."""
        return self.start


class WholeSpanScores(NamedTuple):
    """A score for each span of up to w tokens.

    Attributes:
        spans: (B, n, w); [:, i, k] is the score of the span from token i to i + k, -inf if it reaches into padding.
        null: (B, 1), score of no answer, for readers with ``no_answer=True``; otherwise None.
    """

    spans: Tensor
    null: Tensor | None = None

    def upcast(self) -> WholeSpanScores:
        """Convert to at least float32."""
        return WholeSpanScores(_upcast(self.spans), _upcast(self.null))

    def loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of -log p(span) for the first and last tokens (B,); -1 where there is no answer.

        Examples whose answer has more than w tokens are left out of the mean, because such spans have no score.
        """
        return _cross_entropy(self.spans.flatten(1), self.null, *self._targets(start, end))

    def logistic_loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Binary cross-entropy of every span, and of no answer, summed; the mean over the batch.

        For the right span it is -log σ(score), for every other -log(1 - σ(score)). Starts and ends are as in `loss`.
        """
        scores, (target, ignored) = _all(self.spans.flatten(1), self.null), self._targets(start, end)
        target = target.masked_fill(target < 0, scores.shape[1] - 1).masked_fill(ignored, 0)
        losses = F.softplus(scores).sum(1) - scores.gather(1, target.unsqueeze(1)).squeeze(1)
        return losses.masked_fill(ignored, 0).sum() / (~ignored).sum().clamp(min=1)

    def _targets(self, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Return the indices (B,) of spans in ``spans.flatten(1)``, -1 for no answer, and which are too long."""
        width = self.spans.shape[2]
        target = torch.where(start < 0, start, start * width + end - start)
        return target, (start >= 0) & (end - start >= width)

    def best(self, max_length: int | None, top_k: int) -> Spans:
        """Return the best spans of up to `max_length` tokens; ties go to the earlier start, then to the shorter one."""
        max_length, top_k = _checked("WholeSpanScores", max_length, top_k)
        width = self.spans.shape[2] if max_length is None else min(max_length, self.spans.shape[2])
        score, place = best(F.pad(self.spans[:, :, :width].flatten(1), (0, top_k), value=-torch.inf), top_k)
        found, start = score > -torch.inf, place // width
        return Spans(torch.where(found, start, -1), torch.where(found, start + place % width, -1), score)

    def log_partition(self) -> Tensor:
        """Return (B,), the logarithm of the sum of exp(score) over all spans and no answer."""
        return _all(self.spans.flatten(1), self.null).logsumexp(1)

    def no_answer(self) -> Tensor | None:
        """Return (B,), the score of no answer; None for readers built without ``no_answer``."""
        return None if self.null is None else self.null.squeeze(1)

    def token_scores(self) -> Tensor:
        """Return one score per token, (B, n), for cloze questions: that of the span of this token alone."""
        return self.spans[:, :, 0]


class ConditionalScores(NamedTuple):
    """Start scores of each token and, for k given starts, end scores of each token.

    As p(start, end) = p(start) p(end | start), a span's score is its start score plus log p(end | start).

    Attributes:
        start: (B, n), scores that the answer starts at a token; -inf in padding.
        given: (B, k) int64, the starts for which there are end scores.
        end: (B, k, n), scores that it ends at a token, inclusive, given a start; -inf in padding and before the start.
        null: (B, 1), score of no answer, for readers with ``no_answer=True``; otherwise None.
    """

    start: Tensor
    given: Tensor
    end: Tensor
    null: Tensor | None = None

    def upcast(self) -> ConditionalScores:
        """Convert to at least float32."""
        return ConditionalScores(_upcast(self.start), self.given, _upcast(self.end), _upcast(self.null))

    def loss(self, start: Tensor, end: Tensor) -> Tensor:
        """Mean of -log p(start) - log p(end | start) for the first and last tokens (B,); -1 where there is no answer.

        The first of `given` must be `start`, or any token where there is no answer.
        """
        none = start < 0
        return _cross_entropy(self.start, self.null, start) + _cross_entropy(
            self.end[:, 0], None, end.masked_fill(none, 0), none, of=len(start)
        )

    def best(self, max_length: int | None, top_k: int) -> Spans:
        """Return the best spans of up to `max_length` tokens that start at one of the k given starts."""
        max_length, top_k = _checked("ConditionalScores", max_length, top_k)
        n = self.start.shape[1]
        far = torch.arange(n, device=self.end.device) - self.given.unsqueeze(2)  # (B, k, n), tokens from the start
        inside = (far >= 0) & (far < (n if max_length is None else max_length))
        starts = self.start.gather(1, self.given).unsqueeze(2)
        scores = (starts + self.end.log_softmax(2)).masked_fill(~inside | (starts == -torch.inf), -torch.inf)
        score, place = best(F.pad(scores.flatten(1), (0, top_k), value=-torch.inf), top_k)
        found = score > -torch.inf
        start = self.given.gather(1, (place // n).clamp(max=self.given.shape[1] - 1))
        return Spans(torch.where(found, start, -1), torch.where(found, place % n, -1), score)

    def log_partition(self) -> Tensor:
        """Return (B,), the logarithm of the sum of exp(score) over all spans, of any start, and no answer."""
        return _all(self.start, self.null).logsumexp(1)

    def no_answer(self) -> Tensor | None:
        """Return (B,), the score of no answer; None for readers built without ``no_answer``."""
        return None if self.null is None else self.null.squeeze(1)

    def token_scores(self) -> Tensor:
        """Return one score per token, (B, n), for cloze questions: its start score."""
        return self.start


Scores = SpanScores | WholeSpanScores | ConditionalScores


def check_scores(name: str, scores: Any) -> None:
    """Refuse anything but `SpanScores`, `WholeSpanScores` or `ConditionalScores`."""
    check_type(name, "scores", scores, (SpanScores, WholeSpanScores, ConditionalScores), "scores of a reader")


def _checked(name: str, max_length: int | None, top_k: int) -> tuple[int | None, int]:
    """Check the arguments of ``best``, as ``decode_spans`` does."""
    return whole_or_none(name, "max_length", max_length, 1), whole(name, "top_k", top_k, 1)


TensorOrNone = TypeVar("TensorOrNone", Tensor, Tensor | None)


def _upcast(x: TensorOrNone) -> TensorOrNone:
    return None if x is None else x.to(torch.promote_types(x.dtype, torch.float32))


def _all(scores: Tensor, null: Tensor | None) -> Tensor:
    """Append the score of no answer, if there is one, to scores (B, n)."""
    return scores if null is None else torch.cat([scores, null], 1)


def _cross_entropy(
    scores: Tensor, null: Tensor | None, target: Tensor, ignored: Tensor | None = None, of: int | None = None
) -> Tensor:
    """Mean of -log p(target) for targets (B,), where -1 stands for the null score.

    Args:
        ignored: (B,), True at examples that are left out.
        of: Divisor of the sum; by default the number of examples that are not ignored.
    """
    scores, target = _upcast(_all(scores, null)), target.masked_fill(target < 0, scores.shape[1])
    if ignored is None:
        return F.cross_entropy(scores, target)
    total = F.cross_entropy(scores, target.masked_fill(ignored, -100), reduction="sum")
    return total / ((~ignored).sum().clamp(min=1) if of is None else of)
