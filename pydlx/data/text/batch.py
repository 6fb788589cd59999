"""The form in which texts enter taggers: padded batches of all that is known of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx.data.text.tokens import PADDING, Pieces


class TextBatch(NamedTuple):
    """B texts of up to n tokens. Tokens stand at the front, padding behind them; none is empty.

    Attributes:
        mask: (B, n), bool: True at tokens, False in padding.
        words: (B, n), int64: number of each token, ``UNKNOWN`` if the vocabulary lacks it, ``PADDING`` behind the end.
        bigrams: (B, n), int64: likewise of each token with the one before it.
        characters: (B, n, w), int64: likewise of each token's characters.
        pieces: For a pretrained encoder. What a model does not read may be None.
    """

    mask: Tensor
    words: Tensor | None = None
    bigrams: Tensor | None = None
    characters: Tensor | None = None
    pieces: Pieces | None = None

    @property
    def lengths(self) -> Tensor:
        """(B,), int64: tokens of each text."""
        return self.mask.sum(1)


def padded(rows: Sequence[Any]) -> Tensor:
    """(B, n, ...) of B arrays of up to n rows, one at least; behind the last row of each stand zeros."""
    whole = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), PADDING, rows[0].dtype)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
    return torch.from_numpy(whole)
