"""What all featurizers know of single words: their numbers, those of their characters, and their wordpieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pydlx._checks import check_one_of, check_type, whole
from pydlx.data.text.batch import padded
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.tokenisers import TOKENISERS, Tokeniser, check_tokeniser, create_tokeniser
from pydlx.data.text.tokens import PADDING, Pieces
from pydlx.data.text.vocabulary import Vocabulary


class TextTable(NamedTuple):
    """What a featurizer knows of W different words.

    Attributes:
        strings: The words.
        words: (W,) int64, their numbers.
        characters: (W, w) int64, numbers of their characters; None without a vocabulary of these.
        pieces: Of each word; None without a tokeniser of these.
        costs: (W,) int64: how much of a window each fills: its pieces, or 1.
        lower: (W,) int64, the same number for words that are the same in lower case; None where that is not asked for.
    """

    strings: list[str]
    words: np.ndarray
    characters: np.ndarray | None
    pieces: list[np.ndarray] | None
    costs: np.ndarray
    lower: np.ndarray | None = None


class WordFeaturizer:
    """The part that featurizers have in common.

    Args:
        tokeniser: As of ``create_tokeniser``.
        vocabulary: Numbers words; it may be empty for models that read nothing but wordpieces.
        characters: Numbers characters; None for models without them.
        pieces: Cuts words for a pretrained encoder; likewise.
        max_word: Most characters of a word, the rest is cut off.
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        vocabulary: Vocabulary,
        characters: Vocabulary | None,
        pieces: PieceTokeniser | None,
        max_word: int,
    ) -> None:
        name = type(self).__name__
        check_tokeniser(name, "tokeniser", tokeniser)
        check_type(name, "vocabulary", vocabulary, Vocabulary, "a Vocabulary")
        check_type(name, "characters", characters, (Vocabulary, type(None)), "a Vocabulary or None")
        check_type(name, "pieces", pieces, (PieceTokeniser, type(None)), "a PieceTokeniser or None")
        self.tokeniser, self.vocabulary, self.characters, self.pieces = tokeniser, vocabulary, characters, pieces
        self.max_word = whole(name, "max_word", max_word, 1)

    def table(self, words: Sequence[str]) -> TextTable:
        """What to know of different words."""
        characters = None
        if self.characters is not None:
            characters = np.full((len(words), self.max_word), PADDING)
            for row, word in zip(characters, words, strict=True):
                numbers = self.characters.numbers(word[: self.max_word])
                row[: len(numbers)] = numbers
        pieces = None if self.pieces is None else self.pieces(words)
        costs = np.ones(len(words), np.int64) if pieces is None else np.array([*map(len, pieces)], np.int64)
        return TextTable(list(words), self.vocabulary.numbers(words), characters, pieces, costs)

    def collate_pieces(self, texts: Sequence[Sequence[np.ndarray] | None]) -> Pieces | None:
        """The wordpieces of texts, given those of each of their tokens, as a batch; None without their tokeniser."""
        if self.pieces is None:
            return None
        begin, end = self.pieces.begin, self.pieces.end
        ids = [np.concatenate([begin, *(text or []), end]).astype(np.int64) for text in texts]
        counts = [np.array([*map(len, text or [])], np.int64) for text in texts]
        return Pieces(
            padded(ids),
            padded([np.ones(len(row), bool) for row in ids]),
            padded([len(begin) + np.cumsum(count) - count for count in counts]),
            padded(counts),
        )

    def state(self) -> dict[str, Any]:
        """Plain data that make it again, for checkpoints."""
        return {
            "tokeniser": self.tokeniser.name,
            "vocabulary": self.vocabulary.state(),
            "characters": None if self.characters is None else self.characters.state(),
            "pieces": None if self.pieces is None else self.pieces.json,
            "max_word": self.max_word,
        }


_FROM_PLAIN: dict[str, Callable[[Any], Any]] = {
    "tokeniser": create_tokeniser,
    **dict.fromkeys(("vocabulary", "bigrams", "characters", "character_vocabulary"), Vocabulary),
    "pieces": PieceTokeniser,
}


def parts_of_state(name: str, state: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """What the state of a featurizer of this name holds, and must hold, as objects.

    Raises:
        ValueError: It is no such state, or its tokeniser is none of this package's.
    """
    name = f"{name}.from_state"
    check_type(name, "state", state, Mapping, "a state of a featurizer")
    if missing := [part for part in wanted if part not in state]:
        raise ValueError(f"{name}: state must hold {', '.join(wanted)}, got none of {missing}")
    check_one_of(name, "state['tokeniser']", state["tokeniser"], TOKENISERS)
    return {
        part: value if value is None or part not in _FROM_PLAIN else _FROM_PLAIN[part](value)
        for part, value in state.items()
        if part in wanted or part in _FROM_PLAIN
    }
