"""The base class of all featurizers: ids of words, of their characters, and of their wordpieces."""

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
    """Ids of W different words, looked up once by a featurizer.

    Attributes:
        strings: The words.
        words: (W,) int64, their ids.
        characters: (W, w) int64, ids of their characters; None without a character vocabulary.
        pieces: Ids of the wordpieces of each word; None without a tokeniser of wordpieces.
        costs: (W,) int64, number of wordpieces of each word, or 1, for the size of windows.
        lower: (W,) int64, equal numbers for words with the same lower-case form; None if not needed.
    """

    strings: list[str]
    words: np.ndarray
    characters: np.ndarray | None
    pieces: list[np.ndarray] | None
    costs: np.ndarray
    lower: np.ndarray | None = None


class WordFeaturizer:
    """The base class of featurizers, which convert words to ids.

    Args:
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns.
        vocabulary: Word vocabulary; may be empty for models that read only wordpieces.
        characters: Character vocabulary; None for models without characters.
        pieces: Tokeniser of wordpieces; None for models without a pretrained encoder.
        max_word: Maximum number of characters of a word, the rest is cut off.
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
        """Look up different words."""
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
        """Make a batch of texts, given the wordpieces of each of their tokens; None without a tokeniser of pieces."""
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
        """Return plain data for checkpoints, from which ``from_state`` rebuilds it."""
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
    """Convert the state of a featurizer to its constructor's arguments; `wanted` are those that it must hold.

    Raises:
        ValueError: If it is no such state, or its tokeniser is unknown.
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
