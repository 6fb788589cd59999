"""Numbers for words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from pydlx._checks import check_type, listed, whole, whole_or_none
from pydlx.data.text.tokens import UNKNOWN


class Vocabulary:
    """Numbers words from 2; ``PADDING`` and ``UNKNOWN`` come before them.

    A word that it lacks has the number of its lower-case form, if it has that one.

    Args:
        words: Each once, none empty.

    Attributes:
        words: By number, "" for ``PADDING`` and ``UNKNOWN``.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = ["", "", *listed("Vocabulary", "words", words, "a sequence of words")]
        for word in self.words[2:]:
            check_type("Vocabulary", "words", word, str, "a sequence of words")
        self._numbers = {word: number for number, word in enumerate(self.words) if number > UNKNOWN}
        if len(self._numbers) != len(self.words) - 2 or "" in self._numbers:
            counts = Counter(self.words[2:])
            twice = sorted(word for word, count in counts.items() if count > 1 or not word)
            raise ValueError(f"Vocabulary: words must be distinct and not empty, got {twice[:5]}")

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """The most frequent words, those of equal count in the order of their characters.

        Args:
            counts: How often each word occurs.
            min_count: How often a word must occur.
            max_size: Most words, ``PADDING`` and ``UNKNOWN`` apart; None for no limit.
        """
        check_type("Vocabulary.from_counts", "counts", counts, Mapping, "counts of words")
        whole("Vocabulary.from_counts", "min_count", min_count, 1)
        whole_or_none("Vocabulary.from_counts", "max_size", max_size, 1)
        kept = sorted((-count, word) for word, count in counts.items() if count >= min_count)
        return cls([word for _, word in kept[:max_size]])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def number(self, word: str) -> int:
        """The number of a word."""
        known = self._numbers
        return known.get(word) or known.get(word.lower(), UNKNOWN)

    def numbers(self, words: Iterable[str]) -> np.ndarray:
        """The numbers of words, (n,) int64."""
        return np.fromiter(map(self.number, words), np.int64)

    def state(self) -> list[str]:
        """What makes it again: ``Vocabulary(state)``."""
        return self.words[2:]


def character_counts(words: Mapping[str, int]) -> Counter[str]:
    """How often each character occurs, given how often each word does."""
    check_type("character_counts", "words", words, Mapping, "counts of words")
    counts: Counter[str] = Counter()
    for word, times in words.items():
        check_type("character_counts", "words", word, str, "counts of words")
        for character in word:
            counts[character] += times
    return counts
