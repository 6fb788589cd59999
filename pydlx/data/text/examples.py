"""The interface of all sets of examples for models of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Examples(Protocol):
    """N examples, each a text or a window of one.

    Attributes:
        lengths: (N,) int64, number of tokens of each example, for :func:`length_buckets`.
        owners: (N,) int64, index of the question, text or document that each example is part of.
    """

    lengths: np.ndarray
    owners: np.ndarray

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def collate(self, examples: Sequence[Any]) -> Any:
        """Pad examples to a batch; there must be at least one."""
