"""Validation by examples that know their numbers, so that what is found comes back to the text it stands in."""

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
    """Examples with their numbers in the set: those of every so many-th owner, from this process's number on.

    All windows of a text thus belong to one process, which puts together what they show. Those of similar length lie
    side by side, so that batches hold little padding.

    Args:
        examples: The whole set.
        process: This process's number.
        processes: How many there are.
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
        """A batch and the numbers (B,) of its examples."""
        return self.examples.collate([example for example, _ in items]), torch.tensor([number for _, number in items])


def validation_loader(options: TrainerOptions, examples: Examples) -> DataLoader:
    """Batches of this process, twice as large as in training; see `NumberedExamples`."""
    world, rank = processes(options)
    own = NumberedExamples(examples, rank, world)
    return DataLoader(own, 2 * options.batch_size, num_workers=options.workers, collate_fn=own.collate)
