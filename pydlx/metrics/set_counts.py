"""Precision, recall and F1 of what is right, predicted and true, counted by class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pydlx._checks import described, listed


def precision_recall_f1(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Precision, recall and F1 (...,) float64 of counts (..., 3): right, predicted, true. 0 / 0 is 0."""
    right, predicted, true = counts.double().unbind(-1)

    def ratio(part: Tensor, whole: Tensor) -> Tensor:
        return torch.where(whole == 0, 0, part / whole)

    return ratio(right, predicted), ratio(right, true), ratio(2 * right, predicted + true)


def different_names(name: str, argument: str, value: Any) -> tuple[str, ...]:
    """The names of classes: one or more different strings."""
    wanted = "one or more different names"
    names = listed(name, argument, value, wanted)
    if not names or not all(isinstance(entry, str) for entry in names) or len(set(names)) < len(names):
        raise ValueError(f"{name}: {argument} must be {wanted}, got {described(value)}")
    return tuple(names)
