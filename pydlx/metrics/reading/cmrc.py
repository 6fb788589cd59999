"""Exact match and F1 of Chinese answers, as CMRC2018's script has them.

Texts are lower-cased, stripped, and lose the characters of `PUNCTUATION`. Exact match asks for equal texts. F1 is that
of the longest run of segments that both have in one piece, where each character from U+4E00 to U+9FA5 is a segment and
what stands between them is split into words. Both are the best over a question's right answers, each on its own. Two
texts of which nothing is left match exactly and have an F1 of 0.

The script splits words with nltk, into sentences first, for which it needs a model on disk. Here it is nltk's word
rules alone where nltk is installed, so that a full stop inside of a run is not split off; otherwise, or by choice,
built-in rules that differ from nltk's in leaving contractions whole (``it's``) and quotation marks as they are.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_type
from pydlx._optional import needed_for
from pydlx.metrics.metric import Metric
from pydlx.metrics.reading.lettered import lettered
from pydlx.metrics.reading.sources import at_least_one, predictions_of, references_of, texts, truth_of
from pydlx.metrics.sources import Source

# The script's list also has a six-dot ellipsis of two characters, which no single character is equal to.
PUNCTUATION = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"
WORDS = ("nltk", "builtin", None)

_DROPPED = str.maketrans("", "", PUNCTUATION)
_SEGMENTS = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")
# nltk parts a comma from what follows, unless that is a digit, in pairs: of two commas the second stays with its word.
_COMMA = re.compile(r",(\D)")
# What is a word of its own, wherever it stands, and a comma or a full stop at the very end.
_ALONE = r"""\.{3}|''|[;@#$%&?!()\[\]{}<>"]|,\Z|\.(?=[\])}>"']*\s*$)"""
_WORD = re.compile(rf"{_ALONE}|(?:(?!{_ALONE})\S)+")


def cmrc_answer_scores(prediction: str, golds: Sequence[str], *, words: str | None = None) -> tuple[float, float]:
    """Exact match and F1 of one answer, both from 0 to 1; see the module's description.

    Args:
        prediction: the answer given.
        golds: one or more right answers.
        words: what splits text between Chinese characters: ``"nltk"``, ``"builtin"``, or None for the first if it is
            installed and the second if it is not.

    Raises:
        ValueError: `golds` is empty.
        ImportError: nltk is asked for and not installed.

    Example:
        >>> exact, f1 = cmrc_answer_scores("光荣公司", ["光荣和ω-force", "光荣"])
        >>> exact, round(f1, 4)
        (0.0, 0.6667)
    """
    name = "cmrc_answer_scores"
    check_type(name, "prediction", prediction, str, "a string")
    golds = texts(name, "golds", golds)
    if not golds:
        raise ValueError(f"{name}: golds must have an answer, got none")
    return _scores(prediction, golds, _splitter(name, words))


def cmrc_score(data: Source, predictions: Source, *, words: str | None = None) -> dict[str, float]:
    """Exact match and F1 over a data set in the form of CMRC2018 or SQuAD, in percent.

    Predictions of questions that the data set does not have are not looked at, as in the official script.

    Args:
        data: the data set's JSON: a path, or what ``json.load`` makes of it.
        predictions: answers by question id: a path of a JSON object, or a dict.
        words: as for `cmrc_answer_scores`.

    Returns:
        ``AVERAGE`` (of the next two), ``F1``, ``EM``, ``TOTAL`` (questions) and ``SKIP`` (those without prediction,
        which score 0). The script prints the first three with three decimals.

    Raises:
        ValueError: a file is not UTF-8 or no JSON, a key or question occurs twice, or a question has no right answer.
        TypeError: something is not what its place asks for, such as an answer that is no string.
        OSError: a file cannot be read.
        ImportError: nltk is asked for and not installed.
    """
    name = "cmrc_score"
    split = _splitter(name, words)
    golds, answers = truth_of(name, data).golds, predictions_of(name, predictions)
    without = [key for key, entry in golds.items() if not entry]
    if without:
        raise ValueError(f"{name}: data must have an answer for every question, got none for {without[0]!r}")
    # The script strips the questions' ids and not the predictions'.
    scores = [_scores(answers[key.strip()], entry, split) for key, entry in golds.items() if key.strip() in answers]
    exact, f1 = (100 * sum(pair[column] for pair in scores) / len(golds) for column in range(2))
    return {"AVERAGE": (exact + f1) / 2, "F1": f1, "EM": exact, "TOTAL": len(golds), "SKIP": len(golds) - len(scores)}


class CmrcScore(Metric):
    """Exact match and F1 of Chinese answers in a loop; a ``torchmetrics.Metric`` with the numbers of `cmrc_score`.

    Adds up over the processes of ``torch.distributed``.

    Args:
        words: as for `cmrc_answer_scores`.
        kwargs: those of ``torchmetrics.Metric``.

    ``compute()`` gives scalars: ``AVERAGE``, ``F1``, ``EM`` in percent and ``TOTAL``; the first three are NaN if no
    question was seen.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    count: Tensor

    def __init__(self, words: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _splitter("CmrcScore", words)
        self.words = words
        self.add_state("sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._tell_apart("words")

    def update(self, preds: Sequence[str], target: Sequence[Sequence[str]]) -> None:
        """Takes a batch in.

        Args:
            preds: an answer for each question.
            target: one or more right answers for each question.
        """
        preds = texts("CmrcScore", "preds", preds)
        golds = references_of("CmrcScore", "target", target, len(preds))
        at_least_one("CmrcScore", "target", golds)
        split = _splitter("CmrcScore", self.words)
        scores = [_scores(prediction, answers, split) for prediction, answers in zip(preds, golds, strict=True)]
        self.sums += torch.tensor(scores, dtype=torch.float64).view(-1, 2).sum(0).to(self.sums)
        self.count += len(preds)

    def compute(self) -> dict[str, Tensor]:
        """The scores of everything taken in."""
        exact, f1 = 100 * self.sums / self.count
        return {"AVERAGE": (exact + f1) / 2, "F1": f1, "EM": exact, "TOTAL": self.count}


def _splitter(name: str, words: str | None) -> Callable[[str], list[str]]:
    check_one_of(name, "words", words, WORDS)
    if words is None:
        words = "nltk" if importlib.util.find_spec("nltk") else "builtin"
    return _nltk_words() if words == "nltk" else _builtin_words


def _builtin_words(text: str) -> list[str]:
    return _WORD.findall(_COMMA.sub(r" , \1", text))


@functools.cache
def _nltk_words() -> Callable[[str], list[str]]:
    with needed_for('splitting words as CMRC2018\'s script does (words="builtin" does without)', extra="answers"):
        from nltk.tokenize.destructive import NLTKWordTokenizer
    return NLTKWordTokenizer().tokenize


def _scores(prediction: str, golds: Sequence[str], split: Callable[[str], list[str]]) -> tuple[float, float]:
    said, right = _kept(prediction), [_kept(gold) for gold in golds]
    segments = _segments(said, split)
    return float(said in right), max(_f1(segments, _segments(gold, split)) for gold in right)


def _kept(text: str) -> str:
    return text.lower().strip().translate(_DROPPED)


def _segments(text: str, split: Callable[[str], list[str]]) -> list[str]:
    pieces: list[str] = []
    for piece in _SEGMENTS.findall(text):
        if "\u4e00" <= piece <= "\u9fa5":
            pieces.append(piece)
        else:
            pieces.extend(split(piece))
    return pieces


def _f1(prediction: list[str], gold: list[str]) -> float:
    run = longest_run(prediction, gold)
    if not run:
        return 0.0
    precision, recall = run / len(prediction), run / len(gold)
    return 2 * precision * recall / (precision + recall)


def longest_run(a: Sequence[str], b: Sequence[str]) -> int:
    """How long the longest piece of `a` is that also stands in `b`."""
    first, second = lettered((a, b))
    best = 0
    for start in range(len(first)):
        while start + best < len(first) and first[start : start + best + 1] in second:
            best += 1
    return best
