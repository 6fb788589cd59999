"""Batches for relation models: documents with their entities and every ordered pair of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pydlx.data.text.batch import TextBatch, padded
from pydlx.data.text.featurizer import TextFeatures


class RelationExample(NamedTuple):
    """A document of n tokens with k entities, their m mentions, and k (k − 1) pairs.

    Attributes:
        text: The document's tokens.
        types: (n,) int64, type of the entity that a token mentions, from 1; 0 outside of mentions.
        numbers: (n,) int64, number of the entity that it mentions, from 1; 0 outside of mentions.
        mentions: (m, 3) int64; each row is a mention's entity, first and last token, inclusive.
        distances: (k (k − 1),) int64, distance classes of the pairs, see ``distance_numbers``.
        entities: k.
        labels: (k (k − 1), C) bool, relations of each pair, in the order of :func:`ordered_pairs`; None if unknown.
            Column 0 is True for pairs without a relation.
    """

    text: TextFeatures
    types: np.ndarray
    numbers: np.ndarray
    mentions: np.ndarray
    distances: np.ndarray
    entities: int
    labels: Tensor | None = None


class RelationBatch(NamedTuple):
    """B documents of up to n tokens, with E entities, M mentions and P pairs in total.

    Entities, mentions and pairs are concatenated document after document.

    Attributes:
        text: The documents' tokens.
        types: (B, n) int64, see `RelationExample`; 0 in padding.
        numbers: (B, n) int64, likewise.
        mentions: (M, 4) int64; each row is a mention's document, first token, last token (inclusive), and entity from 0
            to E − 1.
        pairs: (P, 2) int64, head and tail entity, two different numbers from 0 to E − 1.
        distances: (P,) int64, see `RelationExample`.
        sizes: Number of entities k of each document, which has k (k − 1) pairs in the order of :func:`ordered_pairs`.
        labels: (P, C) bool; None if unknown.
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
        """Number of pairs of each document."""
        return [size * (size - 1) for size in self.sizes]


def pair_batch(text: TextBatch, examples: Sequence[RelationExample]) -> RelationBatch:
    """Make a batch of examples, given the batch of their texts.

    Raises:
        ValueError: If some examples have labels and others do not.
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
    """Return all ordered pairs of different numbers below `count`: (0, 1), (0, 2), ..., (1, 0), ...

    Returns:
        (count (count − 1), 2) int64.
    """
    return (~torch.eye(count, dtype=torch.bool)).nonzero()
