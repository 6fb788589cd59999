"""Pictures of what a network makes of validation images, in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydlx._optional import needed_for

with needed_for("training", extra="train"):
    from lightning.pytorch import LightningModule
    from lightning.pytorch.loggers import TensorBoardLogger

SHOWN = 4  # so many of the validation images


def show_samples(task: LightningModule, pictures: Sequence[np.ndarray]) -> None:
    """Puts pictures (H, W, 3) uint8 beside the curves, under the step that training is at."""
    for logger in task.loggers:
        if isinstance(logger, TensorBoardLogger):
            for number, picture in enumerate(pictures):
                logger.experiment.add_image(f"val/sample {number}", picture, task.global_step, dataformats="HWC")
