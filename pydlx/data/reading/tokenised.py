"""Questions about passages, tokenised."""

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
    """Questions about passages, tokenised; equal texts are tokenised once.

    Args:
        source: A JSON file in SQuAD's format, or questions.
        tokeniser: A tokeniser, such as ``create_tokeniser`` returns.
        cache: A file that keeps the tokens for the next time; by default none. It is rewritten if a text, the tokeniser
            or the file's format has changed (:mod:`pydlx.data.text.cache`).
        report: Report of the file reader, if `source` are questions.

    Attributes:
        questions: The N questions.
        texts: Tokens of all different passages and questions.
        passages: (N,) int64, index in `texts` of each question's passage.
        asked: (N,) int64, index in `texts` of each question.
        report: The report.
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
        if report is None and not self.report.questions:  # they do not come from a file reader, which counts
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
        """Count each word, in the order of first occurrence; equal texts are counted once."""
        return self.texts.word_counts()
