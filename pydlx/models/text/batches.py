"""Reading many examples with a model, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pydlx.data.text.examples import Examples


def batches_by_length(model: nn.Module, examples: Examples, batch_size: int) -> Iterator[tuple[list[int], Any]]:
    """The numbers of some examples, and these as a batch on the model's device; the shortest come first.

    Args:
        model: What is to read them.
        examples: Those of similar length share a batch, which then holds little padding.
        batch_size: Examples of a batch; the last one may hold fewer.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda number: int(examples.lengths[number]))
    for first in range(0, len(order), batch_size):
        numbers = order[first : first + batch_size]
        yield numbers, on_device(examples.collate([examples[number] for number in numbers]), device)


def on_device(value: Any, device: torch.device) -> Any:
    """A batch with its tensors on a device; named tuples in it, too."""
    if isinstance(value, Tensor):
        return value.to(device)
    if hasattr(value, "_make"):
        return type(value)._make(on_device(part, device) for part in value)
    return value
