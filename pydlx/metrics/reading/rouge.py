"""ROUGE-L with the numbers of the COCO caption code, which DuReader's and MS MARCO's scripts use.

    P = max over references of lcs / candidate's tokens,  R = max over references of lcs / reference's tokens
    ROUGE-L = (1 + 1.2^2) P R / (R + 1.2^2 P),  0 if P or R is

with lcs the longest common subsequence. P and R are the best of each on its own and may come from two references.
Tokens are what single spaces part: an empty text is one empty token, and two spaces have one between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx.metrics.metric import Metric
from pydlx.metrics.reading.sources import at_least_one, references_of, texts

_BETA_SQUARED = 1.2**2


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L of texts, from 0 to 1; see the module's description.

    Args:
        candidates: texts with single spaces between their tokens.
        references: for each of them one or more texts to compare it with.

    Raises:
        ValueError: there is no candidate, or one without reference.

    Example:
        >>> round(rouge_l(["the cat sat"], [["the cat sat down", "the cat"]]), 4)
        1.0
    """
    name = "rouge_l"
    candidates = texts(name, "candidates", candidates)
    golds = references_of(name, "references", references, len(candidates))
    if not candidates:
        raise ValueError(f"{name}: candidates must hold a text, got none")
    at_least_one(name, "references", golds)
    return sum(map(_score, candidates, golds)) / len(candidates)


class RougeLScore(Metric):
    """Mean ROUGE-L of everything seen; a ``torchmetrics.Metric`` with the number of `rouge_l`.

    Adds up over the processes of ``torch.distributed``. ``compute()`` gives a scalar, NaN if nothing was seen.

    Args:
        kwargs: those of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[str], target: Sequence[Sequence[str]]) -> None:
        """Takes a batch in.

        Args:
            preds: texts with single spaces between their tokens.
            target: for each of them one or more texts to compare it with.
        """
        preds = texts("RougeLScore", "preds", preds)
        golds = references_of("RougeLScore", "target", target, len(preds))
        at_least_one("RougeLScore", "target", golds)
        self.total += sum(map(_score, preds, golds))
        self.count += len(preds)

    def compute(self) -> Tensor:
        """The mean over everything taken in."""
        return self.total / self.count


def _score(candidate: str, references: Sequence[str]) -> float:
    words, golds = candidate.split(" "), [reference.split(" ") for reference in references]
    common = [common_length(words, gold) for gold in golds]
    precision = max(common) / len(words)
    recall = max(length / len(gold) for length, gold in zip(common, golds, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + _BETA_SQUARED) * precision * recall / (recall + _BETA_SQUARED * precision)


def common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """How long the longest common subsequence is.

    One row of the usual table is one whole number: bit i is 0 where the length grows from column i to i + 1, and an
    addition carries each match to the next growth (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004).
    """
    places: dict[str, int] = {}
    for column, token in enumerate(b):
        places[token] = places.get(token, 0) | 1 << column
    full = (1 << len(b)) - 1
    row = full
    for token in a:
        matches = row & places.get(token, 0)
        row = (row + matches | row - matches) & full
    return len(b) - row.bit_count()
