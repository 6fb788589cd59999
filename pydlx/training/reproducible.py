"""Exact resumption: a training that is stopped at any step continues as if it had not been stopped.

Order and augmentation of the items follow from the seed, the epoch and the item's index, however many processes read
them. Random numbers of a step, such as dropout, follow from the seed and the step's number. A checkpoint therefore
stores no random state, only the loader's position.
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
    """A data set with augmentation, whose random numbers depend only on seed, epoch and index.

    Args:
        items: The data set.
        change: Function of an item; may draw from torch's default generator.
        seed: Seed of the training.
    """

    def __init__(self, items: Sequence[Item], change: Callable[[Item], Prepared], seed: int) -> None:
        self.items, self.change, self.seed = items, change, seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: tuple[int, int]) -> Prepared:
        """Return the changed item of (epoch, index)."""
        epoch, index = place
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed (2.13), which also seeds GPUs: as long as no GPU is in use, it records the call
            # stack each time, which takes longer than reading a small item.
            torch.default_generator.manual_seed(_mixed(self.seed, epoch, index))
            return self.change(self.items[index])


class TrainingLoader:
    """A loader of shuffled, augmented batches that resumes in the middle of an epoch.

    Lightning stores ``state_dict()`` in its checkpoints. A plain ``DataLoader`` would restart an interrupted epoch.
    torchdata's ``StatefulDataLoader`` (0.11) learns the epoch too late from Lightning (2.6): it continues in another
    order, and after a checkpoint at an epoch's last step it skips the next epoch.

    Args:
        items: The data set.
        change: Function of an item, see `Augmented`.
        batch_size: Items in a batch of one process.
        seed: Seed of order and augmentation.
        workers: Number of processes that read items.
        drop_last: Whether to leave out a last batch that is not full.
        processes: Number of training processes, among which the items are dealt in turn. All get equally many; if the
            items do not divide evenly, the first ones are used twice.
        process: Index of this process.
        collate: Makes a batch from items; by default torch's.
        lengths: Lengths of all items. With it, batches hold items of similar length, see
            `pydlx.data.reading.length_buckets`.
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
        self._next = (0, 0)  # epoch and batch at which the next iteration begins
        # The batches still to come. It is changed in place, so that the workers can persist over epochs.
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
        self._next = (epoch + 1, 0)  # for an iteration that begins before this one ends
        for number, batch in enumerate(self._loader, first + 1):
            self._next = (epoch, number) if number < len(batches) else (epoch + 1, 0)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position: the next batch and its epoch."""
        epoch, batch = self._next
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at the position of a checkpoint."""
        self._next = (state["epoch"], state["batch"])

    def _batches(self, epoch: int) -> list[list[tuple[int, int]]]:
        """Return this process's batches of an epoch, as (epoch, index) of their items."""
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(_mixed(self.seed, epoch)))
        extra = -len(order) % self.processes
        own = torch.cat([order, order[:extra]])[self.process :: self.processes].tolist()
        return [[(epoch, index) for index in batch] for batch in self._cut(own, epoch)]

    def _cut(self, own: list[int], epoch: int) -> list[list[int]]:
        """Divide the items of an epoch into batches."""
        if self.lengths is not None:
            lengths = [self.lengths[index] for index in own]
            buckets = length_buckets(lengths, self.batch_size, seed=self.seed, epoch=epoch)
            batches = [[own[place] for place in bucket] for bucket in buckets]
        else:
            batches = [own[start : start + self.batch_size] for start in range(0, len(own), self.batch_size)]
        return [batch for batch in batches if len(batch) == self.batch_size] if self.drop_last else batches


class LoaderPosition(Callback):
    """Stores a `TrainingLoader`'s position in checkpoints and restores it.

    Lightning (2.6) does this itself, except from a checkpoint at an epoch's end, where it would begin with the first
    epoch again. Restoring in ``on_train_start`` is early enough: the loader's iterator reads its position only at the
    first batch.
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
    """Seeds every training step by its number, so that a repeated step draws the same random numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Called by Lightning."""
        torch.manual_seed(_mixed(self.seed, trainer.global_step, trainer.global_rank, batch_idx))


def _mixed(*numbers: int) -> int:
    """Hash several numbers to one seed."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
