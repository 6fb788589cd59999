"""The form in which text enters a model: padded batches of numbered words, characters and features."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

PADDING = 0
UNKNOWN = 1


class Tokens(NamedTuple):
    """The texts of a batch. Tokens stand at the front, padding behind them; none is empty.

    Attributes:
        words: (B, n), int64: number of each word, ``UNKNOWN`` if the vocabulary lacks it, ``PADDING`` behind the end.
        characters: (B, n, w), int64, numbered likewise; None for models without characters.
        features: (B, n, f), float32: exact match, term frequency and such; None for models without them. 0 in padding.
    """

    words: Tensor
    characters: Tensor | None = None
    features: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """(B, n), bool: True at tokens, False in padding."""
        return self.words != PADDING

    @property
    def lengths(self) -> Tensor:
        """(B,), int64: tokens of each text."""
        return self.mask.sum(1)
