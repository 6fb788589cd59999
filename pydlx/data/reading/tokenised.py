"""Questions whose passages and questions are tokens."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

import numpy as np

from pydlx._checks import check_path, check_type
from pydlx.data.reading.questions import Question, read_squad
from pydlx.data.reading.report import AnswerReport
from pydlx.data.text.cache import tokenise_cached
from pydlx.data.text.texts import tokenise
from pydlx.data.text.tokenisers import Tokeniser, check_tokeniser


class TokenisedQuestions:
    """Questions whose passages and questions are tokens, each different text once.

    Args:
        source: A JSON file of SQuAD's form, or questions of any reader.
        tokeniser: As of ``create_tokeniser``.
        cache: A file that keeps the tokens for next time; none by default. It is made again when a text, the tokeniser
            or the file's form is another one (:mod:`pydlx.data.text.cache`).
        report: Of the reader, if `source` are questions; what is noted here is added to it.

    Attributes:
        questions: N of them.
        texts: Their tokens.
        passages: (N,) int64, the text that is a question's passage.
        asked: (N,) int64, the text that is its question.
        report: What was noted so far.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Iterable[Question],
        tokeniser: Tokeniser,
        *,
        cache: str | os.PathLike[str] | None = None,
        report: AnswerReport | None = None,
    ) -> None:
        check_tokeniser("TokenisedQuestions", "tokeniser", tokeniser)
        self.tokeniser = tokeniser
        self.report = AnswerReport() if report is None else report
        check_type("TokenisedQuestions", "report", self.report, AnswerReport, "an AnswerReport")
        if isinstance(source, (str, os.PathLike)):
            source = read_squad(source, self.report)
        check_type("TokenisedQuestions", "source", source, Iterable, "a path or questions")
        self.questions = list(source)
        places: dict[str, int] = {}
        for question in self.questions:
            check_type("TokenisedQuestions", "source", question, Question, "a path or questions")
            places.setdefault(question.passage, len(places))
            places.setdefault(question.question, len(places))
        if report is None and not self.report.questions:  # questions of one's own, which no reader of files counted
            self.report.questions = len(self.questions)
            self.report.answers = sum(len(question.answers) for question in self.questions)
        self.passages = np.array([places[question.passage] for question in self.questions], np.int64)
        self.asked = np.array([places[question.question] for question in self.questions], np.int64)
        texts = list(places)
        if cache is None:
            self.texts = tokenise(texts, tokeniser)
        else:
            check_path("TokenisedQuestions", "cache", cache)
            self.texts = tokenise_cached(texts, tokeniser, cache)

    def __len__(self) -> int:
        return len(self.questions)

    def word_counts(self) -> Counter[str]:
        """How often each word occurs, in the order in which they first do; each different text counts once."""
        return self.texts.word_counts()
