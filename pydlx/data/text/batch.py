"""The input of taggers and relation models: padded batches of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx.data.text.tokens import PADDING, Pieces


class TextBatch(NamedTuple):
    """B texts of up to n tokens, padded at the end. No text is empty. Parts that a model does not use may be None.

    Attributes:
        mask: (B, n) bool, True at tokens, False in padding.
        words: (B, n) int64, id of each token, ``UNKNOWN`` if it is not in the vocabulary, ``PADDING`` in padding.
        bigrams: (B, n) int64, id of each token together with the one before it.
        characters: (B, n, w) int64, ids of each token's characters.
        pieces: Wordpieces, for a pretrained encoder.
    """

    mask: Tensor
    words: Tensor | None = None
    bigrams: Tensor | None = None
    characters: Tensor | None = None
    pieces: Pieces | None = None

    @property
    def lengths(self) -> Tensor:
        """(B,) int64, number of tokens of each text."""
        return self.mask.sum(1)


def padded(rows: Sequence[Any]) -> Tensor:
    """Pad B arrays of up to n rows each with zeros to a tensor (B, n, ...); B must be at least 1."""
    whole = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), PADDING, rows[0].dtype)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
    return torch.from_numpy(whole)
