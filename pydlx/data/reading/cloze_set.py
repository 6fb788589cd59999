"""Cloze questions as examples for a reader, which fills the gap by a word of the passage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pydlx._checks import check_flag, check_type, whole
from pydlx.data.reading.answers import answer_tokens
from pydlx.data.reading.cloze import BLANK
from pydlx.data.reading.featurizer import LONGEST_RUN, Featurizer, padded
from pydlx.data.reading.questions import Question, check_answer_start
from pydlx.data.reading.tokenised import TokenisedQuestions
from pydlx.data.text.tokenisers import check_same_tokeniser
from pydlx.data.text.tokens import Tokens


class ClozeExample(NamedTuple):
    """A passage, a question with a gap, and the missing word.

    Attributes:
        passage: Passage of n tokens, a batch of one.
        question: Question of m tokens, a batch of one.
        candidates: (n,) int64: for each token, the index of the first token with the same word; -1 for ``XXXXX``.
        answer: Index of the first token with the missing word; -1 if it is unknown or not in the passage.
    """

    passage: Tokens
    question: Tokens
    candidates: Tensor
    answer: int


class ClozeBatch(NamedTuple):
    """A training batch for cloze questions.

    Attributes:
        passage: B passages of up to n tokens.
        question: B questions of up to m tokens.
        candidates: (B, n) int64: for each token, the index of the first token with the same word; -1 for ``XXXXX`` and
            padding, which are no candidates.
        answer: (B,) int64, index of the first token with the missing word; -1 if it is unknown or not in the passage.
    """

    passage: Tokens
    question: Tokens
    candidates: Tensor
    answer: Tensor


class ClozeSet(Sequence[ClozeExample]):
    """Cloze questions as examples.

    Passages are not divided into windows, because a word's probability sums over all its positions. If the featurizer
    has features, there is one more: for a token of the passage, the number of consecutive tokens before and after it
    that match those before and after the question's gap, divided by 8 and at most 1; for a token of the question, 0.

    Questions without tokens and, for training, questions whose word is not in the passage are left out, and listed in
    ``report.left_out``.

    Args:
        source: Questions, such as ``read_cmrc2017`` returns, or these tokenised by the featurizer's tokeniser.
        featurizer: Converts tokens to ids and features.
        training: True for training examples, False for questions to answer, which need no answers.

    Attributes:
        questions: All questions, including those without an example.
        features: Number of features of a token.
        lengths: (N,) int64, number of tokens of each example's passage, for :func:`length_buckets`.
        owners: (N,) int64, index of each example's question.
        report: What was left out.

    Raises:
        ValueError: If `source` was tokenised by another tokeniser, or a training answer is not at its offset.
    """

    def __init__(
        self, source: Iterable[Question] | TokenisedQuestions, featurizer: Featurizer, *, training: bool = True
    ) -> None:
        check_type("ClozeSet", "featurizer", featurizer, Featurizer, "a Featurizer")
        check_flag("ClozeSet", "training", training)
        if not isinstance(source, TokenisedQuestions):
            check_type("ClozeSet", "source", source, Iterable, "questions")
            source = TokenisedQuestions(source, featurizer.tokeniser)
        check_same_tokeniser("ClozeSet", source.tokeniser, featurizer.tokeniser)
        self.featurizer, self.questions, self.report = featurizer, source.questions, source.report.copy()
        self.features = len(featurizer.features) + 1 if featurizer.features else 0
        self._source, self._table = source, featurizer.table(source.texts.words)
        words = source.texts.words
        self._blank = words.index(BLANK) if BLANK in words else -1
        self._answers: list[int] = []
        places = []
        for place, question in enumerate(self.questions):
            answer = self._answer_of(place, training)
            if reason := self._left_out(place, training, answer):
                self.report.left_out.append((question.id, reason))
                continue
            places.append(place)
            self._answers.append(answer)
        self.owners = np.array(places, np.int64)
        self.lengths = np.diff(source.texts.bounds)[source.passages[self.owners]]

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, index: int) -> ClozeExample:  # type: ignore[override]
        tokens, _ = self._passage(self.owners[index])
        asked, _ = self._source.texts.of(self._source.asked[self.owners[index]])
        passage, question = (
            self.featurizer.tokens(self._table, text, other) for text, other in ((tokens, asked), (asked, tokens))
        )
        if passage.features is not None and question.features is not None:
            around = torch.from_numpy(runs_around(tokens, asked, self._blank)).float().view(1, -1, 1)
            passage = passage._replace(features=torch.cat([passage.features, around], 2))
            nothing = question.features.new_zeros(1, len(asked), 1)
            question = question._replace(features=torch.cat([question.features, nothing], 2))
        return ClozeExample(passage, question, torch.from_numpy(self._candidates(tokens)), self._answers[index])

    @staticmethod
    def collate(examples: Sequence[ClozeExample]) -> ClozeBatch:
        """Pad examples to a batch; there must be at least one."""
        if not len(examples):
            raise ValueError("ClozeSet.collate: examples must hold at least one, got none")
        return ClozeBatch(
            padded([example.passage for example in examples]),
            padded([example.question for example in examples]),
            pad_sequence([example.candidates for example in examples], batch_first=True, padding_value=-1),
            torch.tensor([example.answer for example in examples]),
        )

    def word(self, index: int, place: int) -> str:
        """Return the word of a token of an example's passage."""
        tokens, _ = self._passage(self.owners[index])
        return self._source.texts.words[tokens[whole("ClozeSet.word", "place", place, 0, len(tokens) - 1)]]

    def _passage(self, question: int) -> tuple[np.ndarray, np.ndarray]:
        return self._source.texts.of(self._source.passages[question])

    def _candidates(self, tokens: np.ndarray) -> np.ndarray:
        _, first, word = np.unique(tokens, return_index=True, return_inverse=True)
        return np.where(tokens == self._blank, -1, first[word])

    def _answer_of(self, place: int, training: bool) -> int:
        """Return the first token with the word of the first answer that is a single whole token; -1 for none."""
        (tokens, offsets), question = self._passage(place), self.questions[place]
        for answer in question.answers:
            if training and answer.start >= 0:
                check_answer_start("ClozeSet", question, answer)
            span = answer_tokens(offsets, answer.start, answer.start + len(answer.text)) if answer.start >= 0 else None
            if span is not None and span.first == span.last and not span.widened:
                same = tokens == tokens[span.first]
                return -1 if tokens[span.first] == self._blank else int(same.argmax())
        return -1

    def _left_out(self, question: int, training: bool, answer: int) -> str:
        """Return why a question is left out, or ""."""
        if not (self._passage(question)[0] != self._blank).any():
            return "the passage holds no word"
        if not len(self._source.texts.of(self._source.asked[question])[0]):
            return "the question holds no token"
        return "the passage does not hold its word" if training and answer < 0 else ""


def runs_around(tokens: np.ndarray, asked: np.ndarray, blank: int) -> np.ndarray:
    """For each of n tokens, count consecutive tokens before and after it that match those around the question's gap.

    Returns:
        (n,) float64, the count divided by `LONGEST_RUN`, at most 1; zeros if the question has no gap.
    """
    gaps = np.flatnonzero(asked == blank)
    found = np.zeros(len(tokens))
    if not len(gaps):
        return found
    gap = int(gaps[0])
    for side, step in ((asked[:gap][::-1], -1), (asked[gap + 1 :], 1)):
        still = np.ones(len(tokens), bool)
        for distance, word in enumerate(side[:LONGEST_RUN], 1):
            same = np.zeros(len(tokens), bool)
            if distance < len(tokens):
                if step > 0:
                    same[:-distance] = tokens[distance:] == word
                else:
                    same[distance:] = tokens[:-distance] == word
            still &= same
            found += still
    return np.minimum(found, LONGEST_RUN) / LONGEST_RUN
