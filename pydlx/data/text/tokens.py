"""The form in which text enters a model: padded batches of numbered words, characters, features and wordpieces."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

PADDING = 0
UNKNOWN = 1


class Pieces(NamedTuple):
    """The wordpieces of a batch of texts, as a pretrained encoder reads them, its marks of begin and end included.

    Attributes:
        ids: (B, p), int64, the encoder's numbers; 0 in padding.
        mask: (B, p), bool: True at pieces, False in padding.
        first: (B, n), int64: place of each token's first piece; 0 in padding.
        counts: (B, n), int64: how many pieces each token has, in a row; 0 in padding.
    """

    ids: Tensor
    mask: Tensor
    first: Tensor
    counts: Tensor


class Tokens(NamedTuple):
    """The texts of a batch. Tokens stand at the front, padding behind them; none is empty.

    Attributes:
        words: (B, n), int64: number of each word, ``UNKNOWN`` if the vocabulary lacks it, ``PADDING`` behind the end.
        characters: (B, n, w), int64, numbered likewise; None for models without characters.
        features: (B, n, f), float32: exact match, term frequency and such; None for models without them. 0 in padding.
        pieces: For models with a pretrained encoder; None for others.
    """

    words: Tensor
    characters: Tensor | None = None
    features: Tensor | None = None
    pieces: Pieces | None = None

    @property
    def mask(self) -> Tensor:
        """(B, n), bool: True at tokens, False in padding."""
        return self.words != PADDING

    @property
    def lengths(self) -> Tensor:
        """(B,), int64: tokens of each text."""
        return self.mask.sum(1)
