"""What models of relations read: documents with their entities and every ordered pair of these, padded to batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx.data.text.batch import TextBatch, padded
from pydlx.data.text.featurizer import TextFeatures


class RelationExample(NamedTuple):
    """A document of n tokens, k entities with m mentions, and k (k − 1) pairs.

    Attributes:
        text: Of the document.
        types: (n,) int64: what kind of entity a token names, from 1; 0 outside of mentions.
        numbers: (n,) int64: which entity it names, from 1; 0 outside of mentions.
        mentions: (m, 3) int64: entity, first token and last token, inclusive.
        distances: (k (k − 1),) int64: how far the entities of each pair are apart, of ``distance_numbers``.
        entities: k.
        labels: (k (k − 1), C) bool: what holds of each pair, in the order of :func:`ordered_pairs`; None if not known.
            Column 0 is True where nothing else is.
    """

    text: TextFeatures
    types: np.ndarray
    numbers: np.ndarray
    mentions: np.ndarray
    distances: np.ndarray
    entities: int
    labels: Tensor | None = None


class RelationBatch(NamedTuple):
    """B documents of up to n tokens, with E entities, M mentions and P pairs in all.

    The entities of the first document come first, then those of the second, and so do mentions and pairs.

    Attributes:
        text: Of the documents.
        types: (B, n) int64, as of `RelationExample`, 0 in padding.
        numbers: (B, n) int64, likewise.
        mentions: (M, 4) int64: document, first token, last token (inclusive), and entity from 0 to E − 1.
        pairs: (P, 2) int64: entities, from 0 to E − 1, never the same twice.
        distances: (P,) int64.
        sizes: Entities k of each document, which has k (k − 1) pairs, in the order of :func:`ordered_pairs`.
        labels: (P, C) bool; None if not known.
    """

    text: TextBatch
    types: Tensor
    numbers: Tensor
    mentions: Tensor
    pairs: Tensor
    distances: Tensor
    sizes: tuple[int, ...]
    labels: Tensor | None = None

    @property
    def pair_counts(self) -> list[int]:
        """Pairs of each document."""
        return [size * (size - 1) for size in self.sizes]


def pair_batch(text: TextBatch, examples: Sequence[RelationExample]) -> RelationBatch:
    """Puts examples, the text of which is a batch already, together.

    Raises:
        ValueError: Some have labels and some have none.
    """
    sizes = tuple(example.entities for example in examples)
    firsts = [sum(sizes[:place]) for place in range(len(sizes))]
    mentions = [
        np.insert(np.roll(example.mentions, -1, 1) + np.array([0, 0, first]), 0, place, 1)
        for place, (example, first) in enumerate(zip(examples, firsts, strict=True))
    ]
    labels = [example.labels for example in examples if example.labels is not None]
    if len(labels) not in (0, len(examples)):
        raise ValueError(f"pair_batch: examples must all have labels or none, got {len(labels)} of {len(examples)}")
    return RelationBatch(
        text,
        padded([example.types for example in examples]),
        padded([example.numbers for example in examples]),
        torch.from_numpy(np.concatenate(mentions)),
        torch.cat([ordered_pairs(size) + first for size, first in zip(sizes, firsts, strict=True)]),
        torch.from_numpy(np.concatenate([example.distances for example in examples])),
        sizes,
        torch.cat(labels) if labels else None,
    )


def ordered_pairs(count: int) -> Tensor:
    """(count (count − 1), 2) int64: all pairs of different numbers below `count`, (0, 1), (0, 2), ..., (1, 0), ..."""
    return (~torch.eye(count, dtype=torch.bool)).nonzero()
