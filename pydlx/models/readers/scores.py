"""What every reader gives: a score for each token to begin and to end the answer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SpanScores(NamedTuple):
    """Unnormalised scores. Those of one question in several passages can be compared.

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
        start, end, null = (
            None if side is None else side.to(torch.promote_types(side.dtype, torch.float32)) for side in self
        )
        assert start is not None
        assert end is not None
        return SpanScores(start, end, null)

    def log_probabilities(self) -> SpanScores:
        """The same as logarithms of probabilities: of all starts, the null one included, the sum is 1; of ends, too."""
        if self.null is None:
            return SpanScores(self.start.log_softmax(1), self.end.log_softmax(1))
        start, end = (
            torch.cat([scores, self.null[:, side : side + 1]], 1).log_softmax(1)
            for side, scores in enumerate((self.start, self.end))
        )
        return SpanScores(start[:, :-1], end[:, :-1], torch.stack([start[:, -1], end[:, -1]], 1))
