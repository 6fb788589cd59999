"""Unanswerable questions: the best threshold on their probability, and precision over recall (SQuAD 2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class AnswerCurve(NamedTuple):
    """Precision over recall as the threshold on the no-answer probability rises.

    Attributes:
        precision: (k,), float64: score per question answered, from 1 at the start.
        recall: (k,), float64: score per answerable question, from 0 at the start.
        average_precision: the area under the steps.
    """

    precision: np.ndarray
    recall: np.ndarray
    average_precision: float


def best_threshold(
    scores: Mapping[str, float],
    na_probs: Mapping[str, float],
    answerable: Mapping[str, bool],
    said: Mapping[str, bool],
) -> tuple[float, float]:
    """The sum of scores under the best threshold on the no-answer probability, and that threshold.

    As the official script has it, the sum is looked at after every question, also between questions of equal
    probability. No threshold parts those, so what is found there may be out of reach.

    Args:
        scores: of each question with its predicted answer, whatever its no-answer probability.
        na_probs: no-answer probability of the same questions; their order decides between equal ones.
        answerable: whether the question has an answer.
        said: whether the predicted answer is a text that is not empty.
    """
    total: float = sum(not answerable[key] for key in scores)
    best, threshold = total, 0.0
    for key in sorted(na_probs, key=na_probs.__getitem__):
        total += scores[key] if answerable[key] else -1 if said[key] else 0
        if total > best:
            best, threshold = total, na_probs[key]
    return best, threshold


def answer_curve(
    scores: Mapping[str, float], na_probs: Mapping[str, float], answerable: Mapping[str, bool], positives: int
) -> AnswerCurve:
    """Precision over recall, with a point after each group of equal no-answer probability.

    Args:
        scores: of each question with its predicted answer.
        na_probs: no-answer probability of the same questions.
        answerable: whether the question has an answer.
        positives: how many questions have one; not 0.
    """
    precision, recall, area, true = [1.0], [0.0], 0.0, 0.0
    order = sorted(na_probs, key=na_probs.__getitem__)
    for number, key in enumerate(order, 1):
        true += scores[key] if answerable[key] else 0.0
        if number == len(order) or na_probs[order[number]] != na_probs[key]:
            area += true / number * (true / positives - recall[-1])
            precision.append(true / number)
            recall.append(true / positives)
    return AnswerCurve(np.array(precision), np.array(recall), area)
