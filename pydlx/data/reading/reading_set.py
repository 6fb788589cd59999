"""Questions about passages as examples for a span reader."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pydlx._checks import check_flag, check_type, whole, whole_or_none
from pydlx.data.reading.answers import TokenSpan, answer_characters, answer_tokens
from pydlx.data.reading.batch import ReadingBatch
from pydlx.data.reading.featurizer import Example, Featurizer
from pydlx.data.reading.questions import Question, check_answer_start
from pydlx.data.reading.tokenised import TokenisedQuestions
from pydlx.data.reading.windows import windows
from pydlx.data.text.tokenisers import check_same_tokeniser


class ReadingWindow(NamedTuple):
    """A window of a question's passage.

    Attributes:
        question: Index of the question in the set's `questions`.
        first: First token of the passage in the window.
        past: The token after the window's last.
        start: First token of the answer, counted from `first`; -1 if the window does not hold the whole answer.
        end: Last token of the answer, inclusive; -1 likewise.
    """

    question: int
    first: int
    past: int
    start: int
    end: int


class ReadingSet(Sequence[Example]):
    """Questions about passages as examples for a span reader.

    For training, a question gives an example for each window of its passage that holds its answer, the first one that
    occurs in the passage. For answering, it gives an example for every window. Questions without tokens, without an
    answer, or with too long an answer are left out, and listed in ``report.left_out``.

    Args:
        source: A JSON file in SQuAD's format, questions, or questions tokenised by the featurizer's tokeniser.
        featurizer: Converts tokens to ids and features.
        training: True for training examples, False for questions to answer, which need no answers.
        unanswerable: Whether to train on questions without answers, too; their start and end are -1.
        max_passage: Maximum number of tokens of a window, or of wordpieces if the featurizer has them. Longer passages
            are divided into windows; questions with more wordpieces are cut off. None for no limit.
        stride: Tokens, or wordpieces, from one window to the next; by default half of `max_passage`.
        max_answer: Maximum number of tokens of a training answer; None for no limit.

    Attributes:
        questions: All questions, including those without an example.
        windows: The window of each of the N examples.
        lengths: (N,) int64, number of tokens of each example's window, for :func:`length_buckets`.
        owners: (N,) int64, index of each example's question.
        report: What was changed or left out.

    Raises:
        ValueError: If an argument is out of range, or a training answer is not at its offset.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[Question] | TokenisedQuestions,
        featurizer: Featurizer,
        *,
        training: bool = True,
        unanswerable: bool = False,
        max_passage: int | None = None,
        stride: int | None = None,
        max_answer: int | None = None,
    ) -> None:
        check_type("ReadingSet", "featurizer", featurizer, Featurizer, "a Featurizer")
        check_flag("ReadingSet", "training", training)
        check_flag("ReadingSet", "unanswerable", unanswerable)
        whole_or_none("ReadingSet", "max_passage", max_passage, 1)
        if whole_or_none("ReadingSet", "stride", stride, 1) is None and max_passage is not None:
            stride = (max_passage + 1) // 2
        if stride is not None and (max_passage is None or stride > max_passage):
            raise ValueError(f"ReadingSet: stride must be at most max_passage, {max_passage}, got {stride}")
        whole_or_none("ReadingSet", "max_answer", max_answer, 1)
        if not isinstance(source, TokenisedQuestions):
            source = TokenisedQuestions(source, featurizer.tokeniser)
        check_same_tokeniser("ReadingSet", source.tokeniser, featurizer.tokeniser)
        self.featurizer, self.training, self.unanswerable = featurizer, training, unanswerable
        self.max_passage, self.stride, self.max_answer = max_passage, stride, max_answer
        self.questions, self.report = source.questions, source.report.copy()
        self._source, self._table = source, featurizer.table(source.texts.words)
        self.windows = [window for place in range(len(source)) for window in self._windows_of(place)]
        self.lengths = np.array([window.past - window.first for window in self.windows], np.int64)
        self.owners = np.array([window.question for window in self.windows], np.int64)

    def __len__(self) -> int:
        return len(self.windows)

    def collate(self, examples: Sequence[Example]) -> ReadingBatch:
        """Pad examples to a batch; there must be at least one."""
        return Featurizer.collate(examples)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        question, first, past, start, end = self.windows[index]
        tokens, offsets = self._passage(question)
        asked = self._asked(question)[: self._most_asked(question)]
        return self.featurizer.example(self._table, tokens[first:past], asked, offsets[first:past], (start, end))

    def question(self, index: int) -> Question:
        """Return the question of an example."""
        return self.questions[self.windows[index].question]

    def characters(self, index: int, start: int, end: int) -> tuple[int, int]:
        """Return the offsets in the passage of tokens `start` to `end`, inclusive: first character, past the last."""
        window = self.windows[index]
        length = window.past - window.first
        whole("ReadingSet.characters", "start", start, 0, length - 1)
        whole("ReadingSet.characters", "end", end, start, length - 1)
        _, offsets = self._passage(window.question)
        return answer_characters(offsets, window.first + start, window.first + end)

    def answer(self, index: int, start: int, end: int) -> str:
        """Return the text of the passage from token `start` to token `end` of an example, inclusive."""
        first, past = self.characters(index, start, end)
        return self.question(index).passage[first:past]

    def _passage(self, question: int) -> tuple[np.ndarray, np.ndarray]:
        return self._source.texts.of(self._source.passages[question])

    def _asked(self, question: int) -> np.ndarray:
        return self._source.texts.of(self._source.asked[question])[0]

    def _most_asked(self, question: int) -> int | None:
        """Return how many tokens of a question fit into a pretrained encoder; None for no limit."""
        if self._table.pieces is None or self.max_passage is None:
            return None
        filled = self._table.costs[self._asked(question)].cumsum()
        return max(1, int(np.searchsorted(filled, self.max_passage, "right")))

    def _windows_of(self, place: int) -> list[ReadingWindow]:
        """Return the windows of a question's passage; report the question if there are none."""
        costs = self._table.costs[self._passage(place)[0]]
        size = self.max_passage or max(int(costs.sum()), 1)
        reason, span = self._span_of(place, size)
        if reason:
            self.report.left_out.append((self.questions[place].id, reason))
            return []
        if (most := self._most_asked(place)) is not None and most < len(self._asked(place)):
            self.report.shortened.append((self.questions[place].id, f"of the question {most} tokens are read"))
        answer = None if span is None else (span.first, span.last)
        stride, held = min(self.stride or size, size), answer if self.training else None
        found = []
        for first, past in windows(len(costs), size, stride, held, costs=costs):
            holds = answer is not None and first <= answer[0] and answer[1] < past
            if holds or answer is None or not self.training:
                start, end = (answer[0] - first, answer[1] - first) if answer and holds else (-1, -1)
                found.append(ReadingWindow(place, first, past, start, end))
        return found

    def _span_of(self, place: int, size: int) -> tuple[str, TokenSpan | None]:
        """Return why a question is left out, or ""; and the span of its answer."""
        question, (tokens, offsets) = self.questions[place], self._passage(place)
        if not len(tokens):
            return "the passage holds no token", None
        if not len(self._asked(place)):
            return "the question holds no token", None
        answer = next((answer for answer in question.answers if answer.start >= 0), None)
        if answer and self.training:
            check_answer_start("ReadingSet", question, answer)
        if answer is None:
            trained = self.unanswerable and not question.answers
            return ("it has no answer in the passage" if self.training and not trained else ""), None
        span = answer_tokens(offsets, answer.start, answer.start + len(answer.text))
        if span is None:
            return ("its answer holds no token" if self.training else ""), None
        if span.widened:
            text = question.passage[slice(*answer_characters(offsets, span.first, span.last))]
            self.report.widened.append((question.id, f"the answer {answer.text!r} cuts tokens: {text!r}"))
        held = range(span.first, span.last + 1)
        if self.training and self.max_answer is not None and len(held) > self.max_answer:
            return f"its answer has {len(held)} tokens, more than {self.max_answer}", None
        filled = int(self._table.costs[tokens[held]].sum())
        if self.training and filled > size:
            kind = "tokens" if self._table.pieces is None else "wordpieces"
            return f"its answer has {filled} {kind}, more than {size}", None
        return "", span
