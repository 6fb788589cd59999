"""Tokenised texts, stored in a few arrays."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pydlx.data.text.tokenisers import Offsets, Tokeniser


@dataclass(frozen=True)
class TokenisedTexts:
    """N texts with T tokens in total, of W different words.

    Attributes:
        words: The W different words, in the order of first occurrence.
        bounds: (N + 1,) int64; text i has the tokens from ``bounds[i]`` up to, and without, ``bounds[i + 1]``.
        tokens: (T,) int32, indices of `words`.
        offsets: (T, 2) int32, first character of each token in its text and the one past its last.
    """

    words: list[str]
    bounds: np.ndarray
    tokens: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def of(self, text: int) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens (n,) and offsets (n, 2) of a text."""
        part = slice(self.bounds[text], self.bounds[text + 1])
        return self.tokens[part], self.offsets[part]

    def word_counts(self) -> Counter[str]:
        """Count each word, in the order of first occurrence."""
        counts = np.bincount(self.tokens, minlength=len(self.words))
        return Counter(dict(zip(self.words, counts.tolist(), strict=True)))


def tokenise(texts: Sequence[str | Sequence[str]], tokeniser: Tokeniser) -> TokenisedTexts:
    """Tokenise texts. Texts given as tokens keep them; their offsets are those of the tokens joined by spaces."""
    places: dict[str, int] = {}
    tokens: list[np.ndarray] = []
    offsets: list[np.ndarray] = []
    for text in texts:
        spans = tokeniser(text) if isinstance(text, str) else _joined(text)
        words = (text[start:end] for start, end in spans) if isinstance(text, str) else text
        tokens.append(np.fromiter((places.setdefault(word, len(places)) for word in words), np.int32, len(spans)))
        offsets.append(np.array(spans, np.int32).reshape(-1, 2))
    bounds = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    if not tokens:
        return TokenisedTexts([], bounds, np.empty(0, np.int32), np.empty((0, 2), np.int32))
    return TokenisedTexts(list(places), bounds, np.concatenate(tokens), np.concatenate(offsets))


def _joined(tokens: Sequence[str]) -> Offsets:
    """Return the offsets of tokens in ``" ".join(tokens)``."""
    starts = itertools.accumulate((len(token) + 1 for token in tokens), initial=0)
    return [(start, start + len(token)) for start, token in zip(starts, tokens, strict=False)]
