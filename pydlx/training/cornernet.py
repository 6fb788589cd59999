"""Recipe ``cornernet``: CornerNet on images with boxes in COCO's format."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR
from torch.utils.data import DataLoader, Subset

from pydlx._checks import whole
from pydlx._optional import needed_for
from pydlx.data import CocoBoxes
from pydlx.models import create_model
from pydlx.training.detection import DetectionTask, PreparedBoxes
from pydlx.training.options import option
from pydlx.training.trainer import (
    TrainerOptions,
    build_trainer,
    checkpoint_to_resume,
    processes,
    steps_of,
    training_loader,
)

with needed_for("training", extra="train"):
    from lightning.pytorch import Trainer


@dataclasses.dataclass
class CornerNetOptions(TrainerOptions):
    """Options of the recipe."""

    train_annotations: str = option("annotations/instances_train2017.json", "COCO file of the training images")
    train_images: str = option("train2017", "folder of the training images")
    val_annotations: str = option("annotations/instances_val2017.json", "COCO file of the validation images")
    val_images: str = option("val2017", "folder of the validation images")
    train_limit: int | None = option(None, "train on the first so many images only")
    val_limit: int | None = option(None, "validate on the first so many images only")
    model: str = option("cornernet_squeeze", "cornernet_squeeze, cornernet_hourglass52 or cornernet_hourglass104")
    width: float = option(1.0, "cornernet_squeeze: factor on all channels")
    stacks: int = option(2, "cornernet_squeeze: number of hourglasses")
    stride: int = option(8, "cornernet_squeeze: image pixels per map pixel, 8, or 4, which separates smaller objects")
    norm: str = option("batch", "batch norm, or group norm for small batches: batch or group")
    size: int | None = option(511, "side of the square training crops; none: whole images, with batch_size=1")
    scale: float = option(1.0, "factor by which images are resized first, in training and validation")
    lr: float = option(2.5e-4, "learning rate of Adam")
    augment: bool = option(True, "flip, crop at several scales and change colours")
    flip_test: bool = option(False, "validate with flipped images, too")


def train(options: CornerNetOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    if options.size is None and options.batch_size != 1:
        raise ValueError(f"cornernet: batch_size must be 1 for whole pictures (size=none), got {options.batch_size}")
    training: Any = CocoBoxes(options.train_annotations, options.train_images, keep_empty=False)
    held_out: Any = CocoBoxes(options.val_annotations, options.val_images)
    if training.category_ids != held_out.category_ids:
        raise ValueError("cornernet: val_annotations must list the categories of train_annotations, got others")
    classes = len(training.class_names)
    training, held_out = _first(training, options.train_limit), _first(held_out, options.val_limit)
    torch.manual_seed(options.seed)
    own = ("width", "stacks", "stride") if options.model == "cornernet_squeeze" else ()
    squeeze = {name: getattr(options, name) for name in own}
    model: Any = create_model(options.model, num_classes=classes, norm=options.norm, **squeeze)
    path = checkpoint_to_resume(options, model)
    world, rank = processes(options)
    loader = training_loader(
        options,
        training,
        PreparedBoxes(model, options.size, scale=options.scale, augment=options.augment),
    )
    steps = steps_of(options, len(loader))
    task = DetectionTask(
        model, lambda network: _optimizer(network, options, steps), flip=options.flip_test, scale=options.scale
    )
    trainer = build_trainer(options, monitor="val/AP50", batches=len(loader))
    scored: Subset[Any] = Subset(held_out, range(rank, len(held_out), world))
    trainer.fit(task, loader, DataLoader(scored, 1, collate_fn=list), ckpt_path=path)
    return trainer


def _first(data: Any, limit: int | None) -> Any:
    return data if limit is None else Subset(data, range(min(len(data), whole("cornernet", "limit", limit, 1))))


def _optimizer(model: nn.Module, options: CornerNetOptions, steps: int) -> tuple[Optimizer, LRScheduler | None]:
    """Return the paper's Adam without weight decay, with a polynomial decay to 0 instead of the paper's one step."""
    adam = torch.optim.Adam(model.parameters(), options.lr)
    return adam, PolynomialLR(adam, max(1, steps), power=0.9)
