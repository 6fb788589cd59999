"""Exact match and F1 of short answers, as SQuAD's scripts ``evaluate-v1.1.py`` and ``evaluate-v2.0.py`` have them.

Answers are compared after `normalised`: exact match asks for equal texts, F1 is that of the words both have, counted
as often as they occur. Both are the best over a question's right answers, each on its own.

The versions differ where nothing is left of an answer: in 1.1 its F1 is 0 even against nothing; in 2.0 nothing means
"no answer", and F1 is 1 if both are nothing. In 2.0 right answers of which nothing is left do not count, and a
question without any is right when nothing is answered.
"""

from __future__ import annotations

import re
import string
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_not_nan, check_one_of, check_type
from pydlx.metrics.metric import Metric
from pydlx.metrics.reading.no_answer import AnswerCurve, answer_curve, best_threshold
from pydlx.metrics.reading.sources import (
    Truth,
    predictions_of,
    probabilities_of,
    references_of,
    texts,
    truth_of,
)
from pydlx.metrics.sources import Source

VERSIONS = ("1.1", "2.0")
MISSING = ("zero", "error", None)

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalised(text: str) -> str:
    """Lower case, without the 32 ASCII punctuation characters, then without articles, one space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def squad_answer_scores(prediction: str, golds: Sequence[str], version: str = "1.1") -> tuple[float, float]:
    """Exact match and F1 of one answer, both from 0 to 1; see the module's description.

    Args:
        prediction: the answer given.
        golds: the right answers; in version 2.0 none for a question without one.
        version: ``"1.1"`` or ``"2.0"``.

    Raises:
        ValueError: `golds` is empty in version 1.1, or the version is another one.

    Example:
        >>> squad_answer_scores("the Denver Broncos!", ["Denver", "Denver Broncos"])
        (1.0, 1.0)
    """
    name = "squad_answer_scores"
    check_type(name, "prediction", prediction, str, "a string")
    golds = texts(name, "golds", golds)
    check_one_of(name, "version", version, VERSIONS)
    if not golds and version == "1.1":
        raise ValueError(f'{name}: golds must have an answer in version "1.1", got none')
    return _scores(prediction, golds, version)


def squad_score(
    data: Source,
    predictions: Source,
    version: str = "1.1",
    *,
    na_probs: Source | None = None,
    na_threshold: float = 1.0,
    missing: str | None = None,
) -> dict[str, float]:
    """Exact match and F1 over a data set in SQuAD's form, in percent.

    Predictions of questions that the data set does not have are not looked at, as in the official scripts.

    Args:
        data: SQuAD's JSON: a path, or what ``json.load`` makes of it, or its list ``data``.
        predictions: answers by question id: a path of a JSON object, or a dict.
        version: ``"1.1"``, where every question has an answer, or ``"2.0"``.
        na_probs: how probable it is that a question has no answer, by id, as a path or a dict; log-odds will do. For
            version 2.0.
        na_threshold: from 2.0: where `na_probs` (0 without it) is above, the prediction counts as "no answer".
        missing: what becomes of questions without prediction: ``"zero"``: they score 0; ``"error"``. By default the
            first in version 1.1, with a warning, and the second in 2.0, whose script breaks.

    Returns:
        Version 1.1: ``exact_match`` and ``f1``. Version 2.0: ``exact f1 total``, the same three of questions with an
        answer (``HasAns_...``) and of those without (``NoAns_...``) where there are any, and with `na_probs`
        ``best_exact best_exact_thresh best_f1 best_f1_thresh``, and ``pr_exact_ap pr_f1_ap pr_oracle_ap`` if a question
        has an answer. The best scores are the official script's: its walk also stops between questions of equal
        probability, so that no threshold may reach them.

    Raises:
        ValueError: a file is not UTF-8 or no JSON, a key or question occurs twice, or a question lacks what it needs.
        TypeError: something is not what its place asks for, such as an answer that is no string.
        OSError: a file cannot be read.
    """
    name = "squad_score"
    check_one_of(name, "version", version, VERSIONS)
    check_one_of(name, "missing", missing, MISSING)
    check_not_nan(name, "na_threshold", na_threshold)
    if version == "1.1" and na_probs is not None:
        raise ValueError(f'{name}: na_probs must be None in version "1.1", which has no unanswerable questions')
    truth, answers = truth_of(name, data), predictions_of(name, predictions)
    golds = truth.golds
    _report_missing(name, golds, answers, missing or ("zero" if version == "1.1" else "error"))
    if version == "1.1":
        _check_of_version_1(name, truth)
        return _summary(_all_scores(golds, answers, version), len(golds), exact="exact_match")
    scored = _Scored(name, golds, answers, None if na_probs is None else probabilities_of(name, na_probs))
    results = scored.results(na_threshold)
    if na_probs is not None:
        results |= scored.best() | {
            f"pr_{kind}_ap": 100 * curve.average_precision for kind, curve in scored.curves().items()
        }
    return results


def squad_curves(
    data: Source, predictions: Source, na_probs: Source, *, missing: str | None = None
) -> dict[str, AnswerCurve]:
    """SQuAD 2.0's precision over recall as more and more questions are answered, those likely to have an answer first.

    Args:
        data: as for `squad_score`.
        predictions: as for `squad_score`.
        na_probs: as for `squad_score`.
        missing: as for `squad_score`.

    Returns:
        ``exact`` and ``f1``, in which an answer counts as much as it scores, and ``oracle``, where it counts as 1 if
        the question has one.

    Raises:
        ValueError: as `squad_score`; or no question has an answer.
    """
    name = "squad_curves"
    check_one_of(name, "missing", missing, MISSING)
    golds, answers = truth_of(name, data).golds, predictions_of(name, predictions)
    _report_missing(name, golds, answers, missing or "error")
    if not any(golds.values()):
        raise ValueError(f"{name}: data must have a question with an answer, got none")
    return _Scored(name, golds, answers, probabilities_of(name, na_probs)).curves()


class SquadScore(Metric):
    """Exact match and F1 in a training or evaluation loop; a ``torchmetrics.Metric`` with `squad_score`'s numbers.

    Adds up over the processes of ``torch.distributed``.

    Args:
        version: ``"1.1"``, where every question has an answer, or ``"2.0"``.
        kwargs: those of ``torchmetrics.Metric``.

    ``compute()`` gives scalars, in percent: ``exact_match`` and ``f1`` in version 1.1, ``exact f1 total``,
    ``HasAns_...`` and ``NoAns_...`` in version 2.0. What no question was seen for is NaN.

    Example:
        >>> metric = SquadScore()
        >>> metric.update(["Denver", "a dog"], [["Denver Broncos"], ["dog", "cat"]])
        >>> metric.compute()["exact_match"].item()
        50.0
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    counts: Tensor

    def __init__(self, version: str = "1.1", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_one_of("SquadScore", "version", version, VERSIONS)
        self.version = version
        # Rows: questions with an answer and without; columns: exact match and F1.
        self.add_state("sums", torch.zeros(2, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        self._tell_apart("version")

    def update(self, preds: Sequence[str], target: Sequence[Sequence[str]]) -> None:
        """Takes a batch in.

        Args:
            preds: an answer for each question.
            target: the right answers of each question; in version 2.0 an empty list where there is none.
        """
        preds = texts("SquadScore", "preds", preds)
        golds = references_of("SquadScore", "target", target, len(preds))
        if self.version == "1.1" and not all(golds):
            raise ValueError('SquadScore: target must have an answer for each question in version "1.1", got none')
        sums, counts = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
        if preds:
            pairs = zip(preds, golds, strict=True)
            scores = torch.tensor([_scores(*pair, self.version) for pair in pairs], dtype=torch.float64)
            rows = torch.tensor([0 if answers else 1 for answers in golds])
            sums.index_add_(0, rows, scores)
            counts = rows.bincount(minlength=2)
        self.sums += sums.to(self.sums.device)
        self.counts += counts.to(self.counts.device)

    def compute(self) -> dict[str, Tensor]:
        """The scores of everything taken in."""
        percent = 100 * self.sums / self.counts[:, None]
        exact, f1 = 100 * self.sums.sum(0) / self.counts.sum()
        if self.version == "1.1":
            return {"exact_match": exact, "f1": f1}
        results = {"exact": exact, "f1": f1, "total": self.counts.sum()}
        for row, part in enumerate(("HasAns", "NoAns")):
            results |= {f"{part}_exact": percent[row, 0], f"{part}_f1": percent[row, 1]}
            results |= {f"{part}_total": self.counts[row]}
        return results


class _Scored:
    """Answers to a data set of version 2.0 and what they score. Questions without prediction score 0 throughout."""

    def __init__(
        self, name: str, golds: Mapping[str, list[str]], answers: Mapping[str, str], na_probs: dict[str, float] | None
    ) -> None:
        self.golds = golds
        self.answerable = {key: bool(entry) for key, entry in golds.items()}
        self.scores = _all_scores(golds, answers, "2.0")
        self.said = {key: bool(answers[key]) for key in self.scores}
        na_probs = dict.fromkeys(self.scores, 0.0) if na_probs is None else na_probs
        self.na_probs = {key: value for key, value in na_probs.items() if key in self.scores}
        lacking = [key for key in self.scores if key not in na_probs]
        if lacking:
            raise ValueError(f"{name}: na_probs must have every answered question, got none for {_some(lacking)}")

    def results(self, threshold: float) -> dict[str, float]:
        """The scores with predictions above the threshold taken back."""
        final = {}
        for key, scores in self.scores.items():
            right = float(not self.answerable[key])
            final[key] = (right, right) if self.na_probs[key] > threshold else scores
        results = _summary(final, len(self.golds)) | {"total": len(self.golds)}
        for part, kind in (("HasAns", True), ("NoAns", False)):
            keys = [key for key in self.golds if self.answerable[key] == kind]
            if keys:
                own = _summary({key: final[key] for key in keys if key in final}, len(keys)) | {"total": len(keys)}
                results |= {f"{part}_{key}": value for key, value in own.items()}
        return results

    def best(self) -> dict[str, float]:
        """The best scores by any threshold, and the threshold."""
        results: dict[str, float] = {}
        for kind, scores in self._by_kind().items():
            best, threshold = best_threshold(scores, self.na_probs, self.answerable, self.said)
            results |= {f"best_{kind}": 100 * best / len(self.golds), f"best_{kind}_thresh": threshold}
        return results

    def curves(self) -> dict[str, AnswerCurve]:
        """Precision over recall; nothing where no question has an answer."""
        positives = sum(self.answerable.values())
        kinds = self._by_kind() | {"oracle": dict.fromkeys(self.scores, 1.0)}
        if not positives:
            return {}
        return {kind: answer_curve(scores, self.na_probs, self.answerable, positives) for kind, scores in kinds.items()}

    def _by_kind(self) -> dict[str, dict[str, float]]:
        return {
            kind: {key: pair[column] for key, pair in self.scores.items()}
            for column, kind in enumerate(("exact", "f1"))
        }


def _all_scores(
    golds: Mapping[str, list[str]], answers: Mapping[str, str], version: str
) -> dict[str, tuple[float, float]]:
    return {key: _scores(answers[key], entry, version) for key, entry in golds.items() if key in answers}


def _scores(prediction: str, golds: Sequence[str], version: str) -> tuple[float, float]:
    said = normalised(prediction)
    right = [normalised(gold) for gold in golds]
    nothing = 0.0
    if version == "2.0":
        right, nothing = [gold for gold in right if gold] or [""], 1.0
    words = said.split()
    return float(said in right), max(_f1(words, gold.split(), nothing) for gold in right)


def _f1(prediction: list[str], gold: list[str], nothing: float) -> float:
    """The harmonic mean of precision and recall of words; `nothing` where both sides have none."""
    if prediction == gold:
        return 1.0 if gold else nothing
    left: dict[str, int] = {}
    for word in gold:
        left[word] = left.get(word, 0) + 1
    common = 0
    for word in prediction:
        if left.get(word, 0):
            left[word] -= 1
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def _summary(scores: Mapping[str, tuple[float, float]], total: int, exact: str = "exact") -> dict[str, float]:
    return {
        key: 100 * sum(pair[column] for pair in scores.values()) / total for column, key in enumerate((exact, "f1"))
    }


def _report_missing(name: str, golds: Mapping[str, list[str]], answers: Mapping[str, str], missing: str) -> None:
    lacking = [key for key in golds if key not in answers]
    if not lacking:
        return
    if missing == "error":
        raise ValueError(
            f'{name}: predictions must have every question (missing="zero" to let them score 0), got none for '
            f"{_some(lacking)}"
        )
    warnings.warn(
        f"{len(lacking)} of {len(golds)} questions have no prediction and score 0: {_some(lacking)}", stacklevel=3
    )


def _check_of_version_1(name: str, truth: Truth) -> None:
    if truth.version not in (None, "1.1"):
        warnings.warn(f"the data's version is {truth.version!r}, scored by the rules of 1.1", stacklevel=3)
    without = [key for key, entry in truth.golds.items() if not entry]
    if without:
        raise ValueError(
            f'{name}: data must have an answer for every question in version "1.1" ("2.0" takes others), got none for '
            f"{_some(without)}"
        )


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(map(repr, keys[:2])) + more
