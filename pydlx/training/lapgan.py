"""Recipe ``lapgan``: LAPGAN on CIFAR-10, STL-10 or folders of photographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from pydlx._checks import check_not_negative, check_one_of, check_positive, whole
from pydlx._optional import needed_for
from pydlx.data import PhotographFolders, cifar10, stl10
from pydlx.models import create_model
from pydlx.models.checkpoint import load_weights, read_checkpoint
from pydlx.training.batch_norm import share_batch_norm
from pydlx.training.generation import LapganTask, PreparedCrops, channel_statistics
from pydlx.training.options import option
from pydlx.training.reproducible import Augmented
from pydlx.training.trainer import (
    TrainerOptions,
    build_trainer,
    check_clip,
    checkpoint_to_resume,
    processes,
    training_loader,
)

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer

_MIN_RATE, _MAX_MOMENTUM = 1e-6, 0.7


@dataclasses.dataclass
class LapganOptions(TrainerOptions):
    """Options of the recipe."""

    data: str = option("photographs", "folder of the data set")
    layout: str = option(
        "folders", "folders: pictures, with classes in subfolders or without; cifar10; stl10; stl10-unlabeled"
    )
    val_data: str | None = option(None, "folder of validation images; by default every tenth image of data")
    val_images: int = option(256, "number of validation images")
    classes: bool = option(False, "condition the networks on the class")
    short_side: int | None = option(None, "resize images to this shorter side, in pixels, before cropping")
    augment: bool = option(True, "crop at random places and flip; otherwise crop at the centre")
    model: str = option("lapgan_cifar10", "lapgan_cifar10, lapgan_stl10 or lapgan_lsun")
    sizes: tuple[int, ...] | None = option(None, "sides from coarse to fine; by default the model's")
    base_units: int = option(8000, "units of the coarsest generator's hidden layers")
    base_discriminator_units: int = option(1600, "units of the coarsest discriminator's hidden layers")
    base_activation: str = option("sigmoid", "activation after the coarsest generator's second layer: sigmoid or relu")
    refinement: str | None = option(None, "networks of the finer levels, cifar or large; by default the model's")
    width: int = option(64, "channels of the finer levels' cifar networks")
    dropout: float = option(0.5, "dropout in the discriminators, and in large generators")
    level: str = option("all", "level to train: all, or a number from 0, the coarsest")
    init: str | None = option(None, "checkpoint to start from, such as one with trained coarser levels")
    optimizer: str = option("sgd", "sgd as in the paper, or adam")
    lr: float | None = option(None, "learning rate; by default 0.02, or 2e-4 with adam")
    momentum: float = option(0.5, "sgd's momentum in the first epoch; adam's first beta")
    momentum_growth: float = option(0.0008, "increase of sgd's momentum after each epoch, up to 0.7")
    lr_decay: float = option(1.00004, "factor by which the learning rate is divided after each epoch")
    balance: bool = option(False, "skip updates of the network that is ahead")
    batch_size: int = option(64, "real pictures per step and process; the discriminator sees as many fakes")


def train(options: LapganOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    _check(options)
    training, held_out = _data_sets(options)
    torch.manual_seed(options.seed)
    model = _model(options, training)
    levels = _levels(options.level, len(model.sizes))
    path = checkpoint_to_resume(options, model)
    middle = PreparedCrops(model, short_side=options.short_side, augment=False)
    if path is None:
        _initialise(model, options, training, middle)
    if processes(options)[0] > 1:
        share_batch_norm(model)
    loader = training_loader(
        options,
        training,
        PreparedCrops(model, short_side=options.short_side, levels=levels, augment=options.augment),
    )
    task = LapganTask(
        model,
        lambda parameters: _optimizer(parameters, options),
        levels,
        schedule=lambda epoch, optimizer: _set_rates(epoch, optimizer, options),
        clip=options.clip,
        balance=options.balance,
    )
    trainer = build_trainer(
        _in_updates(options, 2 * len(levels)),
        monitor="val/swd",
        mode="min",
        batches=len(loader),
        all_used=False,
    )
    # Every process validates on all images with the same noise, because the distance is between whole sets.
    count = min(len(held_out), options.val_images)
    places = [(0, number * len(held_out) // count) for number in range(count)]
    validation = DataLoader(
        Augmented(held_out, middle, options.seed), options.batch_size, sampler=places, num_workers=options.workers
    )
    trainer.fit(task, loader, validation, ckpt_path=path)
    return trainer


def _check(options: LapganOptions) -> None:
    check_one_of("lapgan", "layout", options.layout, ("folders", "cifar10", "stl10", "stl10-unlabeled"))
    check_one_of("lapgan", "model", options.model, ("lapgan_cifar10", "lapgan_stl10", "lapgan_lsun"))
    check_one_of("lapgan", "optimizer", options.optimizer, ("sgd", "adam"))
    whole("lapgan", "val_images", options.val_images, 2)
    whole("lapgan", "batch_size", options.batch_size, 1)
    check_positive("lapgan", "lr_decay", options.lr_decay)
    check_not_negative("lapgan", "momentum_growth", options.momentum_growth)
    if options.lr is not None:
        check_not_negative("lapgan", "lr", options.lr)
    if not 0 <= options.momentum < 1:
        raise ValueError(f"lapgan: momentum must be at least 0 and below 1, got {options.momentum}")
    if options.accumulate != 1:
        raise ValueError(f"lapgan: accumulate must be 1, got {options.accumulate}")
    check_clip(options)
    if options.balance and options.precision.startswith("16"):
        raise ValueError(f"lapgan: precision must be 32-true or bf16-mixed with balance, got {options.precision}")


def _data_sets(options: LapganOptions) -> tuple[Any, Any]:
    """Return the images to train and to validate on."""
    training: Any = _data_set(options, options.data)
    if options.classes and training.labels is None:
        raise ValueError(f"lapgan: data must have classes where classes is true, got '{options.data}' without")
    if options.val_data is not None:
        held_out: Any = _data_set(options, options.val_data)
        if options.classes and held_out.class_names != training.class_names:
            raise ValueError(
                f"lapgan: val_data must have the classes of data, {', '.join(training.class_names)}, got "
                f"{', '.join(held_out.class_names) or 'none'}"
            )
        return training, held_out
    if len(training) < 20:
        raise ValueError(f"lapgan: data must hold at least 20 images where val_data is none, got {len(training)}")
    tenth = range(9, len(training), 10)
    others = [index for index in range(len(training)) if index % 10 != 9]
    return _Part(training, others), _Part(training, tenth)


class _Part(Subset):
    """A subset that keeps the class names."""

    def __init__(self, items: Any, indices: Sequence[int]) -> None:
        super().__init__(items, indices)
        self.class_names = items.class_names


def _data_set(options: LapganOptions, folder: str) -> Any:
    if options.layout == "folders":
        return PhotographFolders(folder)
    if options.layout == "cifar10":
        return cifar10(folder, "train")
    return stl10(folder, "unlabeled" if options.layout == "stl10-unlabeled" else "train")


def _model(options: LapganOptions, data: Any) -> Any:
    given = {"sizes": options.sizes and list(options.sizes), "refinement": options.refinement}
    return create_model(
        options.model,
        num_classes=len(data.class_names) if options.classes else None,
        base_units=options.base_units,
        base_discriminator_units=options.base_discriminator_units,
        base_activation=options.base_activation,
        width=options.width,
        dropout=options.dropout,
        **{name: value for name, value in given.items() if value is not None},
    )


def _levels(wanted: str, count: int) -> list[int]:
    if wanted == "all":
        return list(range(count))
    if not wanted.isdecimal() or int(wanted) >= count:
        raise ValueError(f"lapgan: level must be all or from 0 to {count - 1}, got {wanted!r}")
    return [int(wanted)]


def _initialise(model: Any, options: LapganOptions, data: Any, change: PreparedCrops) -> None:
    """Set a new model's mean and std from the data, or load weights, mean and std from a checkpoint."""
    if options.init is not None:
        load_weights(model, read_checkpoint(options.init), options.init)
        return
    mean, std = channel_statistics(data, change)
    model.mean.copy_(mean)
    model.std.copy_(std)


def _optimizer(parameters: Iterable[nn.Parameter], options: LapganOptions) -> torch.optim.Optimizer:
    """Return an optimiser with the learning rate and the momentum of the first epoch."""
    if options.optimizer == "sgd":
        return torch.optim.SGD(parameters, 0.02 if options.lr is None else options.lr, options.momentum)
    return torch.optim.Adam(parameters, 2e-4 if options.lr is None else options.lr, (options.momentum, 0.999))


def _set_rates(epoch: int, optimizer: torch.optim.Optimizer, options: LapganOptions) -> None:
    """Set learning rate and momentum of an epoch, by the paper's schedule."""
    for group in optimizer.param_groups:
        first = optimizer.defaults["lr"]
        group["lr"] = min(first, max(first / options.lr_decay**epoch, _MIN_RATE))
        if "momentum" in group:
            grown = min(options.momentum + options.momentum_growth * epoch, _MAX_MOMENTUM)
            group["momentum"] = max(options.momentum, grown)


def _in_updates(options: LapganOptions, updates: int) -> LapganOptions:
    """Convert steps to network updates, which Lightning counts instead; a batch has `updates` of them.

    The task clips gradients itself, because Lightning does not with several optimisers.
    """
    every = options.checkpoint_steps
    return dataclasses.replace(
        options,
        max_steps=options.max_steps * updates if options.max_steps > 0 else options.max_steps,
        checkpoint_steps=None if every is None else every * updates,
        clip=None,
    )
