"""Vocabularies: ids of words or characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from pydlx._checks import check_type, listed, whole, whole_or_none
from pydlx.data.text.tokens import UNKNOWN


class Vocabulary:
    """Maps words to ids from 2 on; 0 is ``PADDING`` and 1 is ``UNKNOWN``.

    A word that is not in the vocabulary gets the id of its lower-case form, if that is.

    Args:
        words: Different words, none of them empty.

    Attributes:
        words: Words by id, with "" for ``PADDING`` and ``UNKNOWN``.
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
        """Build the vocabulary of the most frequent words; words of equal count are sorted alphabetically.

        Args:
            counts: Count of each word.
            min_count: Minimum count of a word.
            max_size: Maximum number of words, without ``PADDING`` and ``UNKNOWN``; None for no limit.
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
        """Return the id of a word; ``UNKNOWN`` if it is not in the vocabulary."""
        known = self._numbers
        return known.get(word) or known.get(word.lower(), UNKNOWN)

    def numbers(self, words: Iterable[str]) -> np.ndarray:
        """Return the ids of words, (n,) int64."""
        return np.fromiter(map(self.number, words), np.int64)

    def state(self) -> list[str]:
        """Return plain data from which ``Vocabulary(state)`` rebuilds it."""
        return self.words[2:]


def character_counts(words: Mapping[str, int]) -> Counter[str]:
    """Return the counts of characters, given the counts of words."""
    check_type("character_counts", "words", words, Mapping, "counts of words")
    counts: Counter[str] = Counter()
    for word, times in words.items():
        check_type("character_counts", "words", word, str, "counts of words")
        for character in word:
            counts[character] += times
    return counts
