"""How every recipe trains: Lightning's trainer with this package's checkpoints, loggers and reproducible steps."""

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
from pydlx.training.reproducible import KeptPlace, SeededSteps, TrainingLoader

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, WeightAveraging
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.plugins.io import TorchCheckpointIO


@dataclasses.dataclass
class TrainerOptions:
    """What all recipes have in common."""

    out: str = option("runs/model", "folder for checkpoints, TensorBoard and CSV logs")
    resume: str = option("auto", "auto: from the last checkpoint of the folder, if any; none; or a checkpoint")
    epochs: int = option(50, "how often to go through the data")
    max_steps: int = option(-1, "stop after so many steps, if positive, without a validation in the midst of an epoch")
    budget: float | None = option(None, "minutes of processor time that the steps may take; then it stops")
    batch_size: int = option(8, "items of one step and process")
    accumulate: int = option(1, "steps whose gradients are added up")
    seed: int = option(0, "of order, augmentation, initialisation and dropout")
    workers: int = option(0, "processes that read items, per training process")
    precision: str = option("32-true", "Lightning's: 32-true, bf16-mixed, 16-mixed, ...")
    clip: float | None = option(None, "largest norm of the gradient")
    ema: float | None = option(None, "decay of the averaged weights, such as 0.999; none keeps no average")
    accelerator: str = option("auto", "Lightning's: auto, cpu, cuda")
    devices: int = option(1, "processes on this machine")
    nodes: int = option(1, "machines")
    deterministic: bool = option(False, "use deterministic algorithms only")
    val_every: int = option(1, "epochs from one validation to the next")
    checkpoint_steps: int | None = option(None, "keep a checkpoint every so many steps, too, not only every epoch")
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
    """Notes in every checkpoint which model it holds, for ``pydlx.models.load_model``."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Called by Lightning."""
        described = describe_model(pl_module.model)
        del described["state_dict"]  # Lightning's own holds the weights
        checkpoint.update(described)


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The exponential moving average of weights, of the last ``1 / (1 - decay)`` steps or so.

    After n steps the decay is at most ``(1 + n) / (10 + n)``, so that the average leaves the initial weights behind
    within a few steps: with 0.999 alone they would still make up a third of it after a thousand.
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
    """Says a line for each validation, where no progress bar does."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        if trainer.is_global_zero:
            scores = ((name, trainer.callback_metrics.get(name)) for name in ("train/loss", self.monitor))
            said = (f"{name} {float(value):.4f}" for name, value in scores if value is not None)
            print(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {', '.join(said)}", flush=True)


class FiniteLosses(Callback):
    """Stops a training whose loss is NaN or infinite, before a checkpoint of it is written."""

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
    """Lightning's trainer.

    Args:
        options: The recipe's.
        monitor: The validation score by which the best checkpoint is chosen.
        batches: Of an epoch.
        mode: ``"max"`` or ``"min"``.
        all_used: Whether every step trains every weight, as several processes have to know.
        callbacks: Further ones.
    """
    _leave_out_asides()
    several = options.devices * options.nodes > 1
    folder = Path(options.out)
    best = ModelCheckpoint(folder, "best", monitor=monitor, mode=mode, enable_version_counter=False)
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    own = [SeededSteps(options.seed), KeptPlace(), NamedModel(), FiniteLosses(), LearningRateMonitor("step")]
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
        # A folder of its own for each run's CSV file: the logger deletes what it finds in its own, also on resuming.
        logger=[TensorBoardLogger(folder, "logs", ""), CSVLogger(folder, "csv")],
        callbacks=[*all_callbacks, *(callbacks or [])],
        plugins=[WholeFileCheckpoints()],
    )


def _leave_out_asides() -> None:
    """Keep off the terminal what Lightning says of its own products and code, and what is as it should be."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_tip)
    for message in (
        r"Checkpoint directory .* exists and is not empty",
        r"`isinstance\(treespec, LeafSpec\)`",
        r"Using ModelCheckpoint with manual optimization",
        r"`ModelCheckpoint\(monitor=.*could not find the monitored key",  # stopped before the first validation
        r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen ones
    ):
        warnings.filterwarnings("ignore", message)


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()


def check_clip(options: TrainerOptions) -> None:
    """Refuses to clip where steps are taken by hand and gradients are still scaled, which float16 needs.

    Raises:
        ValueError: If that is asked for.
    """
    if options.clip is not None and options.precision.startswith("16"):
        raise ValueError(f"training: precision must be 32-true or bf16-mixed with clip, got {options.precision}")


def checkpoint_to_resume(options: TrainerOptions, model: Any) -> Path | None:
    """The checkpoint that ``options.resume`` means, if it fits the model.

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
    """How many processes train together, and the number of this one, as ``torchrun`` or Lightning tell it.

    Lightning starts the others only when this one is ready, so that the number of all comes from the options.

    Raises:
        ValueError: If ``torchrun`` started another number.
    """
    world = options.devices * options.nodes
    if (started := int(os.environ.get("WORLD_SIZE", world))) != world:
        raise ValueError(f"devices times nodes must be the {started} processes that were started, got {world}")
    before = int(os.environ.get("NODE_RANK", 0)) * options.devices
    return world, int(os.environ.get("RANK", before + int(os.environ.get("LOCAL_RANK", 0))))


def training_loader(
    options: TrainerOptions, items: Sequence[Any], change: Callable[[Any], Any], **settings: Any
) -> TrainingLoader:
    """Batches of this process, as the options say.

    A last batch that is not full is left out: its batch normalisation would have other noise.

    Args:
        options: The recipe's.
        items: The data set.
        change: What is done to an item.
        settings: Further ones of `TrainingLoader`.
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
    """Steps of the optimiser in the whole training. An epoch's last step may add up fewer batches than the others."""
    steps = options.epochs * -(-batches // options.accumulate)
    return steps if options.max_steps < 0 else min(steps, options.max_steps)
