"""From tokens to what taggers take in: numbered words, bigrams, characters and wordpieces, in padded batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pydlx._checks import check_one_of, check_type, whole
from pydlx.data.text.batch import Pieces, TextBatch, padded
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.texts import TokenisedTexts
from pydlx.data.text.tokenisers import TOKENISERS, Tokeniser, check_tokeniser, create_tokeniser
from pydlx.data.text.tokens import PADDING
from pydlx.data.text.vocabulary import Vocabulary


class TextFeatures(NamedTuple):
    """What is known of the n tokens of a text; parts that the featurizer does not make are None.

    Attributes:
        words: (n,) int64, numbers.
        bigrams: (n,) int64, numbers of each token with the one before it.
        characters: (n, w) int64, numbers.
        pieces: One row of wordpieces for each token.
    """

    words: np.ndarray
    bigrams: np.ndarray | None
    characters: np.ndarray | None
    pieces: list[np.ndarray] | None


class TextTable(NamedTuple):
    """What a featurizer knows of W different words.

    Attributes:
        strings: The words.
        words: (W,) int64, their numbers.
        characters: (W, w) int64, numbers of their characters; None without a vocabulary of these.
        pieces: Of each word; None without a tokeniser of these.
        costs: (W,) int64: how much of a window each fills: its pieces, or 1.
    """

    strings: list[str]
    words: np.ndarray
    characters: np.ndarray | None
    pieces: list[np.ndarray] | None
    costs: np.ndarray


class TextFeaturizer:
    """Turns tokens into tensors, as a tagger was trained on them.

    Args:
        tokeniser: As of ``create_tokeniser``; for texts that do not come as tokens.
        vocabulary: Numbers words; it may be empty for models that read nothing but wordpieces.
        bigrams: Numbers pairs of neighbours, as `bigrams_of` writes them; None for models without them.
        characters: Numbers characters; likewise.
        pieces: Cuts words for a pretrained encoder; likewise.
        max_word: Most characters of a word, the rest is cut off.
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        vocabulary: Vocabulary,
        *,
        bigrams: Vocabulary | None = None,
        characters: Vocabulary | None = None,
        pieces: PieceTokeniser | None = None,
        max_word: int = 16,
    ) -> None:
        check_tokeniser("TextFeaturizer", "tokeniser", tokeniser)
        check_type("TextFeaturizer", "vocabulary", vocabulary, Vocabulary, "a Vocabulary")
        for name, part in (("bigrams", bigrams), ("characters", characters)):
            check_type("TextFeaturizer", name, part, (Vocabulary, type(None)), "a Vocabulary or None")
        check_type("TextFeaturizer", "pieces", pieces, (PieceTokeniser, type(None)), "a PieceTokeniser or None")
        self.tokeniser, self.vocabulary = tokeniser, vocabulary
        self.bigrams, self.characters, self.pieces = bigrams, characters, pieces
        self.max_word = whole("TextFeaturizer", "max_word", max_word, 1)

    def table(self, words: Sequence[str]) -> TextTable:
        """What to know of different words, for :meth:`features`."""
        characters = None
        if self.characters is not None:
            characters = np.full((len(words), self.max_word), PADDING)
            for row, word in zip(characters, words, strict=True):
                numbers = self.characters.numbers(word[: self.max_word])
                row[: len(numbers)] = numbers
        pieces = None if self.pieces is None else self.pieces(words)
        costs = np.ones(len(words), np.int64) if pieces is None else np.array([*map(len, pieces)], np.int64)
        return TextTable(list(words), self.vocabulary.numbers(words), characters, pieces, costs)

    def features(self, table: TextTable, tokens: np.ndarray) -> TextFeatures:
        """What is known of tokens (n,), which are places in a table."""
        bigrams = None
        if self.bigrams is not None:
            bigrams = self.bigrams.numbers(bigrams_of([table.strings[token] for token in tokens]))
        return TextFeatures(
            table.words[tokens],
            bigrams,
            None if table.characters is None else table.characters[tokens],
            None if table.pieces is None else [table.pieces[token] for token in tokens],
        )

    def collate(self, texts: Sequence[TextFeatures]) -> TextBatch:
        """Pads texts to a batch; there must be one at least, and a token in each."""
        if not texts or not all(len(text.words) for text in texts):
            raise ValueError("TextFeaturizer.collate: texts must hold a text at least, and a token each")
        return TextBatch(
            padded([np.ones(len(text.words), bool) for text in texts]),
            padded([text.words for text in texts]),
            None if self.bigrams is None else padded([text.bigrams for text in texts]),
            None if self.characters is None else padded([text.characters for text in texts]),
            None if self.pieces is None else self._pieces([text.pieces for text in texts], self.pieces),
        )

    @staticmethod
    def _pieces(texts: Sequence[Any], tokeniser: PieceTokeniser) -> Pieces:
        ids = [np.concatenate([tokeniser.begin, *text, tokeniser.end]).astype(np.int64) for text in texts]
        counts = [np.array([*map(len, text)], np.int64) for text in texts]
        return Pieces(
            padded(ids, tokeniser.padding),
            padded([np.ones(len(row), bool) for row in ids]),
            padded([len(tokeniser.begin) + np.cumsum(count) - count for count in counts]),
            padded(counts),
        )

    def state(self) -> dict[str, Any]:
        """Plain data that make it again, for checkpoints."""
        return {
            "tokeniser": self.tokeniser.name,
            "vocabulary": self.vocabulary.state(),
            "bigrams": None if self.bigrams is None else self.bigrams.state(),
            "characters": None if self.characters is None else self.characters.state(),
            "pieces": None if self.pieces is None else self.pieces.json,
            "max_word": self.max_word,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextFeaturizer:
        """The featurizer that a state was taken of.

        Raises:
            ValueError: It is no such state, or its tokeniser is none of this package's.
        """
        check_type("TextFeaturizer.from_state", "state", state, Mapping, "a state of a TextFeaturizer")
        wanted = ("tokeniser", "vocabulary", "bigrams", "characters", "pieces", "max_word")
        if missing := [name for name in wanted if name not in state]:
            raise ValueError(f"TextFeaturizer.from_state: state must hold {', '.join(wanted)}, got none of {missing}")
        check_one_of("TextFeaturizer.from_state", "state['tokeniser']", state["tokeniser"], TOKENISERS)
        bigrams, characters = (
            None if state[name] is None else Vocabulary(state[name]) for name in ("bigrams", "characters")
        )
        return cls(
            create_tokeniser(state["tokeniser"]),
            Vocabulary(state["vocabulary"]),
            bigrams=bigrams,
            characters=characters,
            pieces=None if state["pieces"] is None else PieceTokeniser(state["pieces"]),
            max_word=state["max_word"],
        )


def bigrams_of(words: Sequence[str]) -> Iterator[str]:
    """Each word with the one before it and a space between them; nothing stands before the first."""
    return (f"{before} {word}" for before, word in zip(["", *words], words, strict=False))


def bigram_counts(texts: TokenisedTexts) -> Counter[str]:
    """How often each pair of neighbours occurs."""
    check_type("bigram_counts", "texts", texts, TokenisedTexts, "TokenisedTexts")
    counts: Counter[str] = Counter()
    for text in range(len(texts)):
        counts.update(bigrams_of([texts.words[token] for token in texts.of(text)[0]]))
    return counts
