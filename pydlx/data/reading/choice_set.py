"""Multiple-choice questions as examples for a reader, which reads the passage once for each choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_type
from pydlx.data.reading.choice import ChoiceQuestion
from pydlx.data.reading.featurizer import Featurizer, padded
from pydlx.data.reading.report import AnswerReport
from pydlx.data.text.texts import tokenise
from pydlx.data.text.tokenisers import Tokeniser, check_same_tokeniser, check_tokeniser
from pydlx.data.text.tokens import Tokens
from pydlx.data.text.word_featurizer import TextTable


class ChoiceExample(NamedTuple):
    """A question with k choices, as k pairs of passage and question.

    Attributes:
        passages: k batches of one: the passage of n tokens, with its features against the question and each choice.
        questions: k batches of one: the question, followed by each choice.
        answer: Index of the right choice; -1 if there is none.
    """

    passages: list[Tokens]
    questions: list[Tokens]
    answer: int


class ChoiceBatch(NamedTuple):
    """A training batch for multiple choice: B questions with R choices in total.

    Attributes:
        passage: R passages of up to n tokens, one for each choice.
        question: R questions, each followed by a choice, of up to m tokens.
        counts: (B,) int64, number of choices of each question; those of a question are next to each other.
        answer: (B,) int64, index of the right choice among its question's; -1 if there is none.
    """

    passage: Tokens
    question: Tokens
    counts: Tensor
    answer: Tensor


class TokenisedChoices:
    """Multiple-choice questions, tokenised; equal texts are tokenised once.

    Args:
        source: Questions, such as ``read_dream`` returns.
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns.
        report: Report of the file reader.

    Attributes:
        questions: The N questions.
        texts: Tokens of all different passages, questions and choices.
        report: The report.
    """

    def __init__(
        self, source: Iterable[ChoiceQuestion], tokeniser: Tokeniser, *, report: AnswerReport | None = None
    ) -> None:
        check_tokeniser("TokenisedChoices", "tokeniser", tokeniser)
        check_type("TokenisedChoices", "source", source, Iterable, "questions with choices")
        self.questions = list(source)
        self._places: dict[str, int] = {}
        for question in self.questions:
            check_type("TokenisedChoices", "source", question, ChoiceQuestion, "questions with choices")
            for text in (question.passage, question.question, *question.choices):
                self._places.setdefault(text, len(self._places))
        if report is None:  # the questions do not come from a file reader, which would have counted them
            report = AnswerReport(len(self.questions), sum(question.answer >= 0 for question in self.questions))
        check_type("TokenisedChoices", "report", report, AnswerReport, "an AnswerReport")
        self.tokeniser, self.report = tokeniser, report
        self.texts = tokenise(list(self._places), tokeniser)

    def tokens(self, text: str) -> np.ndarray:
        """Return the tokens (n,) of a passage, question or choice, as indices of ``texts.words``."""
        return self.texts.of(self._places[text])[0]


class ChoiceSet(Sequence[ChoiceExample]):
    """Multiple-choice questions as examples.

    If the featurizer has f features, each token gets 2 f + 1: a token of the passage has its features against the
    question, then those against the choice, then 0; a token of the question has its features, zeros, and 0; a token of
    the choice has zeros, its features, and 1.

    Questions without tokens or choices and, for training, without a right choice are left out, and listed in
    ``report.left_out``. Passages are not divided into windows.

    Args:
        source: Questions, such as ``read_dream`` returns, or these tokenised by the featurizer's tokeniser.
        featurizer: Converts tokens to ids and features.
        training: True for training examples, False for questions to answer, which need no right choice.

    Attributes:
        questions: All questions, including those without an example.
        features: Number of features of a token.
        lengths: (N,) int64, number of tokens of each example's passage, for :func:`length_buckets`.
        owners: (N,) int64, index of each example's question.
        report: What was left out.

    Raises:
        ValueError: If `source` was tokenised by another tokeniser.
    """

    def __init__(
        self, source: Iterable[ChoiceQuestion] | TokenisedChoices, featurizer: Featurizer, *, training: bool = True
    ) -> None:
        check_type("ChoiceSet", "featurizer", featurizer, Featurizer, "a Featurizer")
        check_flag("ChoiceSet", "training", training)
        if not isinstance(source, TokenisedChoices):
            source = TokenisedChoices(source, featurizer.tokeniser)
        check_same_tokeniser("ChoiceSet", source.tokeniser, featurizer.tokeniser)
        self.featurizer, self.questions, self.report = featurizer, source.questions, source.report.copy()
        self.features = 2 * len(featurizer.features) + 1 if featurizer.features else 0
        self._tokens, self._table = source.tokens, featurizer.table(source.texts.words)
        places = []
        for place, question in enumerate(self.questions):
            if reason := self._left_out(question, training):
                self.report.left_out.append((question.id, reason))
            else:
                places.append(place)
        self.owners = np.array(places, np.int64)
        self.lengths = np.array([len(self._tokens(self.questions[place].passage)) for place in places], np.int64)

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, index: int) -> ChoiceExample:  # type: ignore[override]
        question = self.questions[self.owners[index]]
        passage, asked = self._tokens(question.passage), self._tokens(question.question)
        read = [paired(self.featurizer, self._table, passage, asked, self._tokens(text)) for text in question.choices]
        return ChoiceExample([pair[0] for pair in read], [pair[1] for pair in read], question.answer)

    @staticmethod
    def collate(examples: Sequence[ChoiceExample]) -> ChoiceBatch:
        """Pad examples to a batch; there must be at least one."""
        if not len(examples):
            raise ValueError("ChoiceSet.collate: examples must hold at least one, got none")
        return ChoiceBatch(
            padded([passage for example in examples for passage in example.passages]),
            padded([question for example in examples for question in example.questions]),
            torch.tensor([len(example.passages) for example in examples]),
            torch.tensor([example.answer for example in examples]),
        )

    def _left_out(self, question: ChoiceQuestion, training: bool) -> str:
        """Return why a question is left out, or ""."""
        if not len(self._tokens(question.passage)):
            return "the passage holds no token"
        if not question.choices:
            return "it has no choices"
        if not all(len(self._tokens(question.question)) or len(self._tokens(text)) for text in question.choices):
            return "the question and a choice hold no token"
        known = 0 <= question.answer < len(question.choices)
        return "none of its choices is right" if training and not known else ""


def paired(
    featurizer: Featurizer, table: TextTable, passage: np.ndarray, question: np.ndarray, choice: np.ndarray
) -> tuple[Tokens, Tokens]:
    """Return a passage, and a question followed by a choice, with the features that :class:`ChoiceSet` describes.

    Args:
        featurizer: Converts tokens to ids and features.
        table: The featurizer's table of words.
        passage: (n,) integers, indices of the table.
        question: (m,) integers, likewise; may be empty.
        choice: (c,) integers, likewise; may be empty.
    """
    against = [featurizer.tokens(table, passage, part) for part in (question, choice)]
    parts = [featurizer.tokens(table, part, passage)[:3] for part in (question, choice)]
    columns = [None if column[0] is None else torch.cat(column, 1) for column in zip(*parts, strict=True)]
    pieces = None
    if table.pieces is not None:  # a pretrained encoder reads both as one text
        pieces = featurizer.collate_pieces([[table.pieces[token] for token in np.concatenate([question, choice])]])
    asked = Tokens._make([*columns, pieces])
    if asked.features is None:
        return against[0], asked
    passage_columns = torch.zeros(1, len(passage), 2 * len(featurizer.features) + 1)
    passage_columns[..., :-1] = torch.cat([side.features for side in against if side.features is not None], 2)
    zeros = torch.zeros_like(asked.features)
    chosen = (torch.arange(len(question) + len(choice)) >= len(question)).view(1, -1, 1)
    blocks = [torch.where(chosen, zeros, asked.features), torch.where(chosen, asked.features, zeros), chosen.float()]
    return against[0]._replace(features=passage_columns), asked._replace(features=torch.cat(blocks, 2))
