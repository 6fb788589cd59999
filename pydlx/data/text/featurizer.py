"""The featurizer of taggers: from tokens to ids of words, bigrams, characters and wordpieces, in padded batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pydlx._checks import check_type
from pydlx.data.text.batch import TextBatch, padded
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.texts import TokenisedTexts
from pydlx.data.text.tokenisers import Tokeniser
from pydlx.data.text.vocabulary import Vocabulary
from pydlx.data.text.word_featurizer import TextTable, WordFeaturizer, parts_of_state


class TextFeatures(NamedTuple):
    """Ids of a text's n tokens; parts that the featurizer does not make are None.

    Attributes:
        words: (n,) int64, ids of the words.
        bigrams: (n,) int64, ids of each token together with the one before it.
        characters: (n, w) int64, ids of the characters.
        pieces: Ids of the wordpieces of each token.
    """

    words: np.ndarray
    bigrams: np.ndarray | None
    characters: np.ndarray | None
    pieces: list[np.ndarray] | None


class TextFeaturizer(WordFeaturizer):
    """Converts tokens to ids.

    Args:
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns, for texts that are not given as tokens.
        vocabulary: Word vocabulary; may be empty for models that read only wordpieces.
        bigrams: Vocabulary of bigrams, as `bigrams_of` writes them; None for models without bigrams.
        characters: Character vocabulary; None for models without characters.
        pieces: Tokeniser of wordpieces; None for models without a pretrained encoder.
        max_word: Maximum number of characters of a word, the rest is cut off.
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
        super().__init__(tokeniser, vocabulary, characters, pieces, max_word)
        check_type("TextFeaturizer", "bigrams", bigrams, (Vocabulary, type(None)), "a Vocabulary or None")
        self.bigrams = bigrams

    def features(self, table: TextTable, tokens: np.ndarray) -> TextFeatures:
        """Return the ids of tokens (n,), which are given as indices of a table."""
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
        """Pad texts to a batch; there must be at least one, and a token in each."""
        if not texts or not all(len(text.words) for text in texts):
            raise ValueError("TextFeaturizer.collate: texts must hold a text at least, and a token each")
        return TextBatch(
            padded([np.ones(len(text.words), bool) for text in texts]),
            padded([text.words for text in texts]),
            None if self.bigrams is None else padded([text.bigrams for text in texts]),
            None if self.characters is None else padded([text.characters for text in texts]),
            self.collate_pieces([text.pieces for text in texts]),
        )

    def state(self) -> dict[str, Any]:
        """Return plain data for checkpoints, from which :meth:`from_state` rebuilds it."""
        return super().state() | {"bigrams": None if self.bigrams is None else self.bigrams.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextFeaturizer:
        """Rebuild a featurizer from its state.

        Raises:
            ValueError: If it is no such state, or its tokeniser is unknown.
        """
        wanted = ("tokeniser", "vocabulary", "bigrams", "characters", "pieces", "max_word")
        return cls(**parts_of_state("TextFeaturizer", state, wanted))


def bigrams_of(words: Sequence[str]) -> Iterator[str]:
    """Yield each word's bigram: the word before it, a space, and the word; the first one begins with a space."""
    return (f"{before} {word}" for before, word in zip(["", *words], words, strict=False))


def bigram_counts(texts: TokenisedTexts) -> Counter[str]:
    """Count the bigrams of texts."""
    check_type("bigram_counts", "texts", texts, TokenisedTexts, "TokenisedTexts")
    counts: Counter[str] = Counter()
    for text in range(len(texts)):
        counts.update(bigrams_of([texts.words[token] for token in texts.of(text)[0]]))
    return counts
