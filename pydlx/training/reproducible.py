"""What makes a training that was stopped at any step go on as if it had not been.

Which items come, in which order and how augmented, follows from the seed, the epoch and the item's number, wherever and
by how many processes they are read. What a step draws (dropout) follows from the seed and the step's number. So nothing
random has to be kept in a checkpoint but where the loader stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from pydlx._optional import needed_for
from pydlx.data.reading import length_buckets

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, LightningModule, Trainer

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


class Augmented(Dataset, Generic[Item, Prepared]):
    """Items of a data set after a random change, each with random numbers of its own in every epoch.

    Args:
        items: The data set.
        change: What is done to an item; draws from torch's default generator.
        seed: The training's.
    """

    def __init__(self, items: Sequence[Item], change: Callable[[Item], Prepared], seed: int) -> None:
        self.items, self.change, self.seed = items, change, seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: tuple[int, int]) -> Prepared:
        """The item at (epoch, index)."""
        epoch, index = place
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed (2.13) seeds GPUs, too. Where no GPU is in use yet, it records the call stack each time,
            # which takes longer than reading a small item.
            torch.default_generator.manual_seed(_mixed(self.seed, epoch, index))
            return self.change(self.items[index])


class TrainingLoader:
    """Batches of shuffled and augmented items, which go on where a checkpoint says that they stood.

    Lightning keeps ``state_dict()`` in its checkpoints. A ``DataLoader`` of its own would begin an interrupted epoch
    anew. torchdata's ``StatefulDataLoader`` (0.11) is told the epoch too late by Lightning (2.6), so that it goes on in
    another order, and after a checkpoint of an epoch's last step it passes over the next epoch.

    Args:
        items: The data set.
        change: What is done to an item, see `Augmented`.
        batch_size: Items of a batch of one process.
        seed: Of order and augmentation.
        workers: Processes that read items.
        drop_last: Whether to leave out a last batch that is not full.
        processes: How many train together; each takes every so many-th item. All take equally many: the first items
            come twice if need be.
        process: The number of this one.
        collate: Makes a batch from items; torch's default if None.
        lengths: Of all items: batches then hold items of similar length, see `pydlx.data.reading.length_buckets`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        change: Callable[[Item], Any],
        batch_size: int,
        *,
        seed: int,
        workers: int = 0,
        drop_last: bool = False,
        processes: int = 1,
        process: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.dataset = Augmented(items, change, seed)
        self.batch_size, self.seed, self.drop_last = batch_size, seed, drop_last
        self.processes, self.process, self.lengths = processes, process, lengths
        self._next = (0, 0)  # epoch and batch that an iteration begins with
        # The loader goes through what this list holds, so that one set of workers serves all epochs.
        self._coming: list[list[tuple[int, int]]] = []
        self._loader = DataLoader(
            self.dataset,
            batch_sampler=self._coming,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return len(self._batches(0))

    def __iter__(self) -> Iterator[Any]:
        epoch, first = self._next
        batches = self._batches(epoch)
        self._coming[:] = batches[first:]
        self._next = (epoch + 1, 0)  # of an iteration that begins before this one has ended
        for number, batch in enumerate(self._loader, first + 1):
            self._next = (epoch, number) if number < len(batches) else (epoch + 1, 0)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where it stands: the next batch and its epoch."""
        epoch, batch = self._next
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there."""
        self._next = (state["epoch"], state["batch"])

    def _batches(self, epoch: int) -> list[list[tuple[int, int]]]:
        """The places of this process's items in an epoch."""
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(_mixed(self.seed, epoch)))
        extra = -len(order) % self.processes
        own = torch.cat([order, order[:extra]])[self.process :: self.processes].tolist()
        return [[(epoch, index) for index in batch] for batch in self._cut(own, epoch)]

    def _cut(self, own: list[int], epoch: int) -> list[list[int]]:
        """The items of an epoch in batches."""
        if self.lengths is not None:
            lengths = [self.lengths[index] for index in own]
            buckets = length_buckets(lengths, self.batch_size, seed=self.seed, epoch=epoch)
            batches = [[own[place] for place in bucket] for bucket in buckets]
        else:
            batches = [own[start : start + self.batch_size] for start in range(0, len(own), self.batch_size)]
        return [batch for batch in batches if len(batch) == self.batch_size] if self.drop_last else batches


class KeptPlace(Callback):
    """Puts a `TrainingLoader` where the checkpoint says that it stood.

    Lightning (2.6) does so by itself, but not from a checkpoint of an epoch's end: there it would begin the first epoch
    again. What it has begun to iterate over by then has not read its place yet.
    """

    def __init__(self) -> None:
        self.place: dict[str, int] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        loader: Any = trainer.train_dataloader
        checkpoint["loader"] = loader.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        self.place = checkpoint["loader"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        if self.place is not None:
            loader: Any = trainer.train_dataloader
            loader.load_state_dict(self.place)
            self.place = None


class SeededSteps(Callback):
    """Seeds every training step by its number, so that one that is repeated draws the same numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Called by Lightning."""
        torch.manual_seed(_mixed(self.seed, trainer.global_step, trainer.global_rank, batch_idx))


def _mixed(*numbers: int) -> int:
    """One seed made of several numbers; other numbers almost always make another one."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
