"""From tokens to what readers take in: numbered words and characters, token features, padded batches."""

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

LONGEST_RUN = 8  # runs of more tokens count as this many


class Example(NamedTuple):
    """A passage, a question about it, and where the passage answers.

    Attributes:
        passage: Of n tokens, a batch of one.
        question: Of m tokens, a batch of one.
        offsets: (n, 2) int64: where in the raw passage each token begins, and where it ends, exclusive.
        start: The answer's first token; -1 if the passage holds none or it is not known.
        end: Its last token, inclusive; -1 likewise.
    """

    passage: Tokens
    question: Tokens
    offsets: Tensor
    start: int = -1
    end: int = -1


class Featurizer(WordFeaturizer):
    """Turns passages and questions into tensors, as a reader was trained on them.

    Both texts have features, each against the other: ``"exact"`` is 1 for tokens that occur there; ``"lower"`` the same
    in lower case; ``"tf"`` says how often a token occurs in its own text, in lower case, over the number of its tokens
    (DrQA, arXiv 1704.00051, section 3.2). ``"run"`` says how many tokens in a row, this one among them, occur there in
    a row too, in lower case, over 8, the most that count: among Chinese characters nearly every passage holds each of
    the question's, but few hold several in its order. Lemmas, parts of speech and named entities are not offered.

    Args:
        tokeniser: As of ``create_tokeniser``.
        vocabulary: Numbers words; it may be empty for readers with a pretrained encoder.
        characters: Numbers characters; None for readers without them.
        features: Names of features, in their order.
        pieces: Cuts words for a pretrained encoder; None for readers without one.
        max_word: Most characters of a word, the rest is cut off.
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
        """An example without an answer.

        Raises:
            ValueError: A text holds no token.
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
        """What to know of different words, for :meth:`example`."""
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
        """An example of tokens that are places in a table.

        Args:
            table: Of :meth:`table`.
            passage: (n,) integers.
            question: (m,) integers.
            offsets: (n, 2) integers, where the passage's tokens stand.
            answer: First and last token, inclusive.
        """
        return Example(
            self.tokens(table, passage, question),
            self.tokens(table, question, passage),
            torch.from_numpy(offsets.astype(np.int64)),
            *answer,
        )

    def tokens(self, table: TextTable, tokens: np.ndarray, other: np.ndarray) -> Tokens:
        """A text, as a batch of one, with the features that it has against another.

        Args:
            table: Of :meth:`table`.
            tokens: (n,) integers, places in the table.
            other: (m,) integers, likewise.
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
        """Pads examples to a batch; there must be one at least."""
        if not len(examples):
            raise ValueError("Featurizer.collate: examples must hold at least one, got none")
        return ReadingBatch(
            padded([example.passage for example in examples]),
            padded([example.question for example in examples]),
            torch.tensor([example.start for example in examples]),
            torch.tensor([example.end for example in examples]),
        )

    def state(self) -> dict[str, Any]:
        """Plain data that make it again, for checkpoints."""
        state = super().state()
        state["character_vocabulary"] = state.pop("characters")
        if self.pieces is None:
            del state["pieces"]  # as in checkpoints that are older than pieces
        return state | {"features": list(self.features)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Featurizer:
        """The featurizer that a state was taken of.

        Raises:
            ValueError: It is no such state, or its tokeniser is none of this package's.
        """
        wanted = ("tokeniser", "vocabulary", "character_vocabulary", "features", "max_word")
        parts = parts_of_state("Featurizer", state, wanted)
        return cls(characters=parts.pop("character_vocabulary"), **parts)


def common_runs(tokens: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each of n tokens, how many in a row around it stand in a row in another text too, over `LONGEST_RUN`."""
    longest = np.zeros(len(tokens))
    # Whether `size` tokens from (i, j) on are the same in both.
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
    """Texts, each a batch of one, as a batch: parts (1, n, ...) as one (B, n, ...), and named tuples part by part."""
    if texts[0] is None:
        return None
    if not isinstance(texts[0], Tensor):
        return type(texts[0])._make(map(padded, zip(*texts, strict=True)))
    whole = texts[0].new_zeros((len(texts), max(part.shape[1] for part in texts), *texts[0].shape[2:]))
    for row, part in zip(whole, texts, strict=True):
        row[: part.shape[1]] = part[0]
    return whole
