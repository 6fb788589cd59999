"""From tokens to what taggers take in: numbered words, bigrams, characters and wordpieces, in padded batches."""

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


class TextFeaturizer(WordFeaturizer):
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
        super().__init__(tokeniser, vocabulary, characters, pieces, max_word)
        check_type("TextFeaturizer", "bigrams", bigrams, (Vocabulary, type(None)), "a Vocabulary or None")
        self.bigrams = bigrams

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
            self.collate_pieces([text.pieces for text in texts]),
        )

    def state(self) -> dict[str, Any]:
        """Plain data that make it again, for checkpoints."""
        return super().state() | {"bigrams": None if self.bigrams is None else self.bigrams.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextFeaturizer:
        """The featurizer that a state was taken of.

        Raises:
            ValueError: It is no such state, or its tokeniser is none of this package's.
        """
        wanted = ("tokeniser", "vocabulary", "bigrams", "characters", "pieces", "max_word")
        return cls(**parts_of_state("TextFeaturizer", state, wanted))


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
