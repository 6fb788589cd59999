"""The input of readers: padded batches of ids of words, characters and wordpieces, and of token features."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

PADDING = 0
UNKNOWN = 1


class Pieces(NamedTuple):
    """The wordpieces of a batch of texts, including the encoder's special tokens.

    Attributes:
        ids: (B, p) int64, ids of the pieces; 0 in padding.
        mask: (B, p) bool, True at pieces, False in padding.
        first: (B, n) int64, index of each token's first piece; 0 in padding.
        counts: (B, n) int64, number of each token's pieces, which are consecutive; 0 in padding.
    """

    ids: Tensor
    mask: Tensor
    first: Tensor
    counts: Tensor


class Tokens(NamedTuple):
    """B texts of up to n tokens, padded at the end. No text is empty.

    Attributes:
        words: (B, n) int64, id of each word, ``UNKNOWN`` if it is not in the vocabulary, ``PADDING`` in padding.
        characters: (B, n, w) int64, ids of each word's characters; None for models without characters.
        features: (B, n, f) float32, features such as exact match and term frequency, 0 in padding; None for models
            without features.
        pieces: Wordpieces; None for models without a pretrained encoder.
    """

    words: Tensor
    characters: Tensor | None = None
    features: Tensor | None = None
    pieces: Pieces | None = None

    @property
    def mask(self) -> Tensor:
        """(B, n) bool, True at tokens, False in padding."""
        return self.words != PADDING

    @property
    def lengths(self) -> Tensor:
        """(B,) int64, number of tokens of each text."""
        return self.mask.sum(1)
