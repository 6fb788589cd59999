"""The featurizer of readers: from texts to ids of words and characters, token features, and padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_type, listed
from pydlx.data.reading.batch import ReadingBatch
from pydlx.data.text.pieces import PieceTokeniser
from pydlx.data.text.texts import tokenise
from pydlx.data.text.tokenisers import Tokeniser
from pydlx.data.text.tokens import Tokens
from pydlx.data.text.vocabulary import Vocabulary
from pydlx.data.text.word_featurizer import TextTable, WordFeaturizer, parts_of_state

FEATURES = ("exact", "lower", "tf", "run")

LONGEST_RUN = 8  # longer runs count as this many tokens


class Example(NamedTuple):
    """A passage, a question about it, and the place of the answer.

    Attributes:
        passage: Passage of n tokens, a batch of one.
        question: Question of m tokens, a batch of one.
        offsets: (n, 2) int64, first character of each token in the raw passage and the one past its last.
        start: Index of the answer's first token; -1 if it is unknown or not in the passage.
        end: Index of its last token, inclusive; -1 likewise.
    """

    passage: Tokens
    question: Tokens
    offsets: Tensor
    start: int = -1
    end: int = -1


class Featurizer(WordFeaturizer):
    """Converts passages and questions to tensors.

    Tokens of each text have features against the other text. ``"exact"`` is 1 if the token occurs in the other text,
    ``"lower"`` the same in lower case, and ``"tf"`` the term frequency in its own text, in lower case (DrQA, arXiv
    1704.00051, section 3.2). ``"run"`` is the length of the longest run of tokens around this one that the other text
    holds as well, in lower case, divided by 8 and at most 1: nearly every Chinese passage holds each character of the
    question, but few hold several in a row. There are no features of lemmas, parts of speech or named entities.

    Args:
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns.
        vocabulary: Word vocabulary; may be empty for readers with a pretrained encoder.
        characters: Character vocabulary; None for readers without characters.
        features: Names of the features, in their order.
        pieces: Tokeniser of wordpieces; None for readers without a pretrained encoder.
        max_word: Maximum number of characters of a word, the rest is cut off.
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        vocabulary: Vocabulary,
        characters: Vocabulary | None = None,
        *,
        features: Sequence[str] = FEATURES,
        pieces: PieceTokeniser | None = None,
        max_word: int = 16,
    ) -> None:
        super().__init__(tokeniser, vocabulary, characters, pieces, max_word)
        self.features = tuple(listed("Featurizer", "features", features, "names of features"))
        for feature in self.features:
            check_one_of("Featurizer", "features", feature, FEATURES)

    def __call__(self, passage: str, question: str) -> Example:
        """Make an example without an answer.

        Raises:
            ValueError: If a text holds no token.
        """
        for argument, text in (("passage", passage), ("question", question)):
            check_type("Featurizer", argument, text, str, "text")
        texts = tokenise([passage, question], self.tokeniser)
        (passage_tokens, offsets), (question_tokens, _) = texts.of(0), texts.of(1)
        for argument, tokens in (("passage", passage_tokens), ("question", question_tokens)):
            if not len(tokens):
                raise ValueError(f"Featurizer: {argument} must hold a token, got none but white space")
        return self.example(self.table(texts.words), passage_tokens, question_tokens, offsets)

    def table(self, words: Sequence[str]) -> TextTable:
        """Look up different words, for :meth:`example`."""
        lower: dict[str, int] = {}
        same = np.fromiter((lower.setdefault(word.lower(), len(lower)) for word in words), np.int64, len(words))
        return super().table(words)._replace(lower=same)

    def example(
        self,
        table: TextTable,
        passage: np.ndarray,
        question: np.ndarray,
        offsets: np.ndarray,
        answer: tuple[int, int] = (-1, -1),
    ) -> Example:
        """Make an example of tokens, given as indices of a table.

        Args:
            table: A table, from :meth:`table`.
            passage: (n,) integers, indices of the table.
            question: (m,) integers, likewise.
            offsets: (n, 2) integers, offsets of the passage's tokens.
            answer: First and last token of the answer, inclusive; (-1, -1) for none.
        """
        return Example(
            self.tokens(table, passage, question),
            self.tokens(table, question, passage),
            torch.from_numpy(offsets.astype(np.int64)),
            *answer,
        )

    def tokens(self, table: TextTable, tokens: np.ndarray, other: np.ndarray) -> Tokens:
        """Return a text as a batch of one, with its features against another text.

        Args:
            table: A table, from :meth:`table`.
            tokens: (n,) integers, the text's tokens as indices of the table.
            other: (m,) integers, those of the other text.
        """
        features = None
        if self.features:
            assert table.lower is not None
            columns = [self._feature(feature, table.lower, tokens, other) for feature in self.features]
            features = torch.from_numpy(np.stack(columns, 1, dtype=np.float32))[None]
        return Tokens(
            torch.from_numpy(table.words[tokens])[None],
            None if table.characters is None else torch.from_numpy(table.characters[tokens])[None],
            features,
            None if table.pieces is None else self.collate_pieces([[table.pieces[token] for token in tokens]]),
        )

    def _feature(self, feature: str, lower: np.ndarray, tokens: np.ndarray, other: np.ndarray) -> np.ndarray:
        if feature == "exact":
            return np.isin(tokens, other)
        if feature == "lower":
            return np.isin(lower[tokens], lower[other])
        if feature == "run":
            return common_runs(lower[tokens], lower[other])
        _, place, counts = np.unique(lower[tokens], return_inverse=True, return_counts=True)
        return counts[place] / len(tokens)

    @staticmethod
    def collate(examples: Sequence[Example]) -> ReadingBatch:
        """Pad examples to a batch; there must be at least one."""
        if not len(examples):
            raise ValueError("Featurizer.collate: examples must hold at least one, got none")
        return ReadingBatch(
            padded([example.passage for example in examples]),
            padded([example.question for example in examples]),
            torch.tensor([example.start for example in examples]),
            torch.tensor([example.end for example in examples]),
        )

    def state(self) -> dict[str, Any]:
        """Return plain data for checkpoints, from which :meth:`from_state` rebuilds it."""
        state = super().state()
        state["character_vocabulary"] = state.pop("characters")
        if self.pieces is None:
            del state["pieces"]  # as in older checkpoints, which had no pieces
        return state | {"features": list(self.features)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Featurizer:
        """Rebuild a featurizer from its state.

        Raises:
            ValueError: If it is no such state, or its tokeniser is unknown.
        """
        wanted = ("tokeniser", "vocabulary", "character_vocabulary", "features", "max_word")
        parts = parts_of_state("Featurizer", state, wanted)
        return cls(characters=parts.pop("character_vocabulary"), **parts)


def common_runs(tokens: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the feature ``"run"`` (n,) of n tokens against another text, see `Featurizer`."""
    longest = np.zeros(len(tokens))
    # same[i, j]: whether the `size` tokens from i on equal those of the other text from j on.
    same = tokens[:, None] == other
    for size in range(1, min(LONGEST_RUN, len(tokens), len(other)) + 1):
        if size > 1:
            same = same[:-1, :-1] & (tokens[size - 1 :, None] == other[size - 1 :])
        begins = np.flatnonzero(same.any(1))
        if not len(begins):
            break
        longest[(begins[:, None] + np.arange(size)).ravel()] = size
    return longest / LONGEST_RUN


def padded(texts: Sequence[Any]) -> Any:
    """Pad batches of one to a batch: tensors (1, n, ...) to (B, n, ...), and named tuples field by field."""
    if texts[0] is None:
        return None
    if not isinstance(texts[0], Tensor):
        return type(texts[0])._make(map(padded, zip(*texts, strict=True)))
    whole = texts[0].new_zeros((len(texts), max(part.shape[1] for part in texts), *texts[0].shape[2:]))
    for row, part in zip(whole, texts, strict=True):
        row[: part.shape[1]] = part[0]
    return whole
