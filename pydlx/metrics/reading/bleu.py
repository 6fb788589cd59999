"""BLEU of a corpus, with the numbers of the COCO caption code, which DuReader's and MS MARCO's scripts use.

Tokens are what whitespace parts. For each order n, over all items:

    hits     n-grams of the candidate, each counted at most as often as in the reference that has it most
    guesses  n-grams of the candidate, max(0, length - n + 1)
    P_n      (sum of hits + 1e-15) / (sum of guesses + 1e-9)

    BLEU-k = (P_1 ... P_k)^(1/k),  times exp(1 - 1 / r) if r < 1
    r      = (sum of candidates' lengths + 1e-15) / (sum of reference lengths + 1e-9)

where an item's reference length is the one closest to the candidate's, the shorter one of two that are equally close.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import whole
from pydlx.metrics.metric import Metric
from pydlx.metrics.reading.lettered import lettered
from pydlx.metrics.reading.sources import at_least_one, references_of, texts

_TINY, _SMALL = 1e-15, 1e-9
_MOST = 16


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]], n: int = 4) -> list[float]:
    """BLEU-1 to BLEU-n of a corpus, from 0 to 1; see the module's description.

    Args:
        candidates: texts with spaces between their tokens.
        references: for each of them one or more texts to compare it with.
        n: the highest order, up to 16.

    Raises:
        ValueError: there is no candidate, or one without reference.

    Example:
        >>> [round(value, 4) for value in bleu(["the cat sat"], [["the cat sat down", "a cat"]], n=2)]
        [1.0, 1.0]
    """
    name = "bleu"
    n = whole(name, "n", n, 1, _MOST)
    candidates = texts(name, "candidates", candidates)
    golds = references_of(name, "references", references, len(candidates))
    if not candidates:
        raise ValueError(f"{name}: candidates must hold a text, got none")
    at_least_one(name, "references", golds)
    return _value([sum(column) for column in zip(*_counts(candidates, golds, n), strict=True)])


class BleuScore(Metric):
    """BLEU of everything seen; a ``torchmetrics.Metric`` with the numbers of `bleu`.

    Adds up over the processes of ``torch.distributed``.

    Args:
        n: the highest order, up to 16.
        kwargs: those of ``torchmetrics.Metric``.

    ``compute()`` gives scalars ``bleu_1`` to ``bleu_n``; 0 if nothing was seen.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    totals: Tensor

    def __init__(self, n: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = whole("BleuScore", "n", n, 1, _MOST)
        self.add_state("totals", torch.zeros(2 * self.n + 2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[str], target: Sequence[Sequence[str]]) -> None:
        """Takes a batch in.

        Args:
            preds: texts with spaces between their tokens.
            target: for each of them one or more texts to compare it with.
        """
        preds = texts("BleuScore", "preds", preds)
        golds = references_of("BleuScore", "target", target, len(preds))
        at_least_one("BleuScore", "target", golds)
        counts = torch.tensor(list(_counts(preds, golds, self.n)), dtype=torch.int64)
        self.totals += counts.view(len(preds), -1).sum(0).to(self.totals) if preds else 0

    def compute(self) -> dict[str, Tensor]:
        """The scores of everything taken in."""
        values = _value(self.totals.tolist())
        return {
            f"bleu_{k}": torch.tensor(value, dtype=torch.float64, device=self.totals.device)
            for k, value in enumerate(values, 1)
        }


def _counts(candidates: Iterable[str], references: Iterable[Sequence[str]], n: int) -> Iterable[list[int]]:
    """Of each item: hits of each order, guesses of each order, the candidate's length, the reference length."""
    for candidate, golds in zip(candidates, references, strict=True):
        words, *others = lettered([text.split() for text in (candidate, *golds)])
        length = len(words)
        hits, guesses = [0] * n, [max(0, length - k) for k in range(n)]
        for k in range(min(n, length)):
            hits[k] = _hits(words, others, k + 1)
            if not hits[k]:
                break  # no longer run is shared either
        closest = min((abs(len(other) - length), len(other)) for other in others)[1]
        yield [*hits, *guesses, length, closest]


def _hits(words: str, others: Sequence[str], n: int) -> int:
    most: dict[str, int] = {}
    for other in others:
        for gram, count in Counter(_grams(other, n)).items():
            if count > most.get(gram, 0):
                most[gram] = count
    return sum(min(count, most[gram]) for gram, count in Counter(_grams(words, n)).items() if gram in most)


def _grams(words: str, n: int) -> list[str]:
    return [words[start : start + n] for start in range(len(words) - n + 1)]


def _value(totals: Sequence[int]) -> list[float]:
    n = len(totals) // 2 - 1
    hits, guesses, (length, reference) = totals[:n], totals[n : 2 * n], totals[2 * n :]
    ratio = (length + _TINY) / (reference + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    values, product = [], 1.0
    for k, (hit, guess) in enumerate(zip(hits, guesses, strict=True), 1):
        product *= (hit + _TINY) / (guess + _SMALL)
        values.append(product ** (1 / k) * brevity)
    return values
