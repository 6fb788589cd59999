"""The trainer of all recipes: Lightning's, with this package's checkpoints, loggers and exact resumption."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pydlx._optional import needed_for
from pydlx.files import replacing
from pydlx.models.checkpoint import describe_model, differing_companions, differing_options, read_checkpoint
from pydlx.training.budget import ProcessorBudget
from pydlx.training.options import option
from pydlx.training.reproducible import LoaderPosition, SeededSteps, TrainingLoader

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, WeightAveraging
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.plugins.io import TorchCheckpointIO


@dataclasses.dataclass
class TrainerOptions:
    """Options of all recipes."""

    out: str = option("runs/model", "folder for checkpoints, TensorBoard and CSV logs")
    resume: str = option("auto", "auto: from the last checkpoint of the folder, if any; none; or a checkpoint")
    epochs: int = option(50, "epochs to train")
    max_steps: int = option(-1, "stop after this many steps, if positive; validates only if that is an epoch's end")
    budget: float | None = option(None, "stop after this many minutes of processor time in training steps")
    batch_size: int = option(8, "items per step and process")
    accumulate: int = option(1, "batches whose gradients are accumulated for one optimiser step")
    seed: int = option(0, "seed of order, augmentation, initialisation and dropout")
    workers: int = option(0, "processes that read items, per training process")
    precision: str = option("32-true", "Lightning's: 32-true, bf16-mixed, 16-mixed, ...")
    clip: float | None = option(None, "largest norm of the gradient")
    ema: float | None = option(None, "decay of an exponential moving average of the weights, such as 0.999; or none")
    accelerator: str = option("auto", "Lightning's: auto, cpu, cuda")
    devices: int = option(1, "training processes on this machine")
    nodes: int = option(1, "number of machines")
    deterministic: bool = option(False, "use deterministic algorithms only")
    val_every: int = option(1, "validate every this many epochs")
    checkpoint_steps: int | None = option(None, "write last.ckpt every this many steps, too, not only every epoch")
    progress: bool = option(True, "show a progress bar with the time left")


class WholeFileCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all, and read without running code from the file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called by Lightning."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Called by Lightning."""
        return torch.load(path, map_location="cpu", weights_only=True)


class NamedModel(Callback):
    """Adds the model's name, options and companion to every checkpoint, for ``pydlx.models.load_model``."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        described = describe_model(pl_module.model)
        del described["state_dict"]  # Lightning's own holds the weights
        checkpoint.update(described)


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the update of an exponential moving average of weights, for Lightning's ``WeightAveraging``.

    After n steps the decay is at most ``(1 + n) / (10 + n)``, so that the average forgets the initial weights within a
    few steps. With a constant 0.999 they would still make up a third of the average after a thousand steps.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"ema must be from 0 to 1, got {decay}")

    def update(average: Tensor, weights: Tensor, steps: Tensor) -> Tensor:
        if not average.is_floating_point():
            return weights
        share = 1 - ((1 + steps) / (10 + steps)).clamp(max=decay)
        return torch.lerp(average, weights, share.to(average.dtype))

    return update


class ValidationLines(Callback):
    """Prints a line after each validation, for trainings without a progress bar."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        if trainer.is_global_zero:
            scores = ((name, trainer.callback_metrics.get(name)) for name in ("train/loss", self.monitor))
            said = (f"{name} {float(value):.4f}" for name, value in scores if value is not None)
            print(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {', '.join(said)}", flush=True)


class FiniteLosses(Callback):
    """Raises an error at a NaN or infinite loss, before the next checkpoint is written."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning."""
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and not bool(loss.isfinite().all()):
            raise ValueError(
                f"training: the loss must be finite, got {float(loss)} in step {trainer.global_step}; "
                "the last checkpoint is from before it"
            )


def build_trainer(
    options: TrainerOptions,
    *,
    monitor: str,
    batches: int,
    mode: str = "max",
    all_used: bool = True,
    callbacks: list[Callback] | None = None,
) -> Trainer:
    """Build Lightning's trainer.

    Args:
        options: Options of the recipe.
        monitor: Name of the validation score by which the best checkpoint is chosen.
        batches: Number of batches in an epoch.
        mode: Whether the best score is the ``"max"`` or the ``"min"``.
        all_used: Whether every step uses every weight; otherwise several processes must look for unused ones.
        callbacks: Additional callbacks.
    """
    _silence_lightning()
    several = options.devices * options.nodes > 1
    folder = Path(options.out)
    best = ModelCheckpoint(folder, "best", monitor=monitor, mode=mode, enable_version_counter=False)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    own = [SeededSteps(options.seed), LoaderPosition(), NamedModel(), FiniteLosses(), LearningRateMonitor("step")]
    all_callbacks = [*own, best, last]
    if options.checkpoint_steps is not None:
        every = options.checkpoint_steps
        all_callbacks.append(ModelCheckpoint(folder, "last", every_n_train_steps=every, enable_version_counter=False))
    if not options.progress:
        all_callbacks.append(ValidationLines(monitor))
    if options.budget is not None:
        all_callbacks.append(ProcessorBudget(options.budget))
    if options.ema is not None:
        all_callbacks.append(WeightAveraging(avg_fn=moving_average(options.ema)))
    return Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.nodes,
        strategy=("ddp" if all_used else "ddp_find_unused_parameters_true") if several else "auto",
        precision=options.precision,  # type: ignore[arg-type]
        max_epochs=options.epochs,
        max_steps=options.max_steps,
        check_val_every_n_epoch=options.val_every,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.clip,
        deterministic=options.deterministic,
        benchmark=False,
        use_distributed_sampler=False,
        enable_progress_bar=options.progress,
        enable_model_summary=options.progress,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, batches),
        # CSVLogger deletes existing logs in its folder, so each start, also a resumed one, gets a folder of its own.
        logger=[TensorBoardLogger(folder, "logs", ""), CSVLogger(folder, "csv")],
        callbacks=[*all_callbacks, *(callbacks or [])],
        plugins=[WholeFileCheckpoints()],
    )


def _silence_lightning() -> None:
    """Silence Lightning's advertisements and its warnings about things that are intended here."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_tip)
    for message in (
        r"Checkpoint directory .* exists and is not empty",
        r"`isinstance\(treespec, LeafSpec\)`",
        r"Using ModelCheckpoint with manual optimization",
        r"`ModelCheckpoint\(monitor=.*could not find the monitored key",  # training stopped before a validation
        r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen encoders
    ):
        warnings.filterwarnings("ignore", message)


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()


def check_clip(options: TrainerOptions) -> None:
    """Refuse `clip` with float16 in tasks with manual optimisation, whose gradients are still scaled when clipped.

    Raises:
        ValueError: If both are given.
    """
    if options.clip is not None and options.precision.startswith("16"):
        raise ValueError(f"training: precision must be 32-true or bf16-mixed with clip, got {options.precision}")


def checkpoint_to_resume(options: TrainerOptions, model: Any) -> Path | None:
    """Return the checkpoint that ``options.resume`` names, after checking that it fits the model; None for none.

    Raises:
        OSError: If it is missing or cut short.
        ValueError: If it holds another model or other options.
    """
    if options.resume == "none":
        return None
    path = Path(options.out) / "last.ckpt" if options.resume == "auto" else Path(options.resume)
    if options.resume == "auto" and not path.exists():
        return None
    content = read_checkpoint(path)
    differences = differing_options(content, model.model_name, model.model_options)
    differences += differing_companions(content, getattr(model, "companion", None) or {})
    if differences:
        raise ValueError(
            f"resume: '{path}' holds {differences[0]}; give the same options, another folder with out=, or resume=none"
        )
    return path


def processes(options: TrainerOptions) -> tuple[int, int]:
    """Return the number of training processes and the rank of this one, as ``torchrun`` or Lightning set them.

    Lightning starts the other processes later, so their number comes from the options.

    Raises:
        ValueError: If ``torchrun`` started another number of processes.
    """
    world = options.devices * options.nodes
    if (started := int(os.environ.get("WORLD_SIZE", world))) != world:
        raise ValueError(f"devices times nodes must be the {started} processes that were started, got {world}")
    before = int(os.environ.get("NODE_RANK", 0)) * options.devices
    return world, int(os.environ.get("RANK", before + int(os.environ.get("LOCAL_RANK", 0))))


def training_loader(
    options: TrainerOptions, items: Sequence[Any], change: Callable[[Any], Any], **settings: Any
) -> TrainingLoader:
    """Build this process's `TrainingLoader` from the options.

    A last batch that is not full is left out, because statistics of batch norm are noisier in a small batch.

    Args:
        options: Options of the recipe.
        items: The data set.
        change: Function of an item, see `Augmented`.
        settings: Other arguments of `TrainingLoader`.
    """
    world, rank = processes(options)
    return TrainingLoader(
        items,
        change,
        options.batch_size,
        seed=options.seed,
        workers=options.workers,
        drop_last=len(items) >= options.batch_size * world,
        processes=world,
        process=rank,
        **settings,
    )


def steps_of(options: TrainerOptions, batches: int) -> int:
    """Return the number of optimiser steps in the training. An epoch's last step may accumulate fewer batches."""
    steps = options.epochs * -(-batches // options.accumulate)
    return steps if options.max_steps < 0 else min(steps, options.max_steps)
