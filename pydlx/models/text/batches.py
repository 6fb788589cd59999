"""Batches of examples of similar length, for inference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pydlx.data.text.examples import Examples


def batches_by_length(model: nn.Module, examples: Examples, batch_size: int) -> Iterator[tuple[list[int], Any]]:
    """Yield batches on the model's device, each with the indices of its examples; the shortest examples come first.

    Args:
        model: The model that the batches are for.
        examples: They are sorted by length, so that batches hold little padding.
        batch_size: Number of examples in a batch; the last batch may hold fewer.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda number: int(examples.lengths[number]))
    for first in range(0, len(order), batch_size):
        numbers = order[first : first + batch_size]
        yield numbers, on_device(examples.collate([examples[number] for number in numbers]), device)


def on_device(value: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, and of named tuples in it, to a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if hasattr(value, "_make"):
        return type(value)._make(on_device(part, device) for part in value)
    return value
