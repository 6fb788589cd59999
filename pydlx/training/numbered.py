"""Validation batches with the indices of their examples, so that predictions can be assigned to their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pydlx.data.text.examples import Examples
from pydlx.training.trainer import TrainerOptions, processes


class NumberedExamples(Dataset):
    """This process's share of the examples, each with its index in the set.

    Examples are distributed by their owners (texts or questions), so that all windows of a text belong to one process,
    which merges their predictions. They are sorted by length, so that batches hold little padding.

    Args:
        examples: The whole set.
        process: Index of this process.
        processes: Number of processes.
    """

    def __init__(self, examples: Examples, process: int, processes: int) -> None:
        self.examples = examples
        own = np.flatnonzero(examples.owners % processes == process)
        self.numbers = own[np.argsort(examples.lengths[own], kind="stable")].tolist()

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.examples[self.numbers[index]], self.numbers[index]

    def collate(self, items: Sequence[tuple[Any, int]]) -> tuple[Any, Tensor]:
        """Return a batch and the indices (B,) of its examples."""
        return self.examples.collate([example for example, _ in items]), torch.tensor([number for _, number in items])


def validation_loader(options: TrainerOptions, examples: Examples) -> DataLoader:
    """Return this process's validation batches, twice as large as in training; see `NumberedExamples`."""
    world, rank = processes(options)
    own = NumberedExamples(examples, rank, world)
    return DataLoader(own, 2 * options.batch_size, num_workers=options.workers, collate_fn=own.collate)
