"""Showing predictions on validation images and texts in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydlx._optional import needed_for

with needed_for("training", extra="train"):
    from lightning.pytorch import LightningModule
    from lightning.pytorch.loggers import TensorBoardLogger

SHOWN = 4  # number of validation images
SHOWN_ANSWERS = 8  # number of validation questions


def show_samples(task: LightningModule, pictures: Sequence[np.ndarray]) -> None:
    """Log pictures (H, W, 3) uint8 at the current training step."""
    for logger in task.loggers:
        if isinstance(logger, TensorBoardLogger):
            for number, picture in enumerate(pictures):
                logger.experiment.add_image(f"val/sample {number}", picture, task.global_step, dataformats="HWC")


def show_table(task: LightningModule, tag: str, rows: Sequence[Sequence[str]]) -> None:
    """Log a table of texts at the current training step; the first row holds the headings."""
    lines = [" | ".join(" ".join(cell.split()).replace("|", "\\|") or "(none)" for cell in row) for row in rows]
    lines.insert(1, "|".join("---" for _ in rows[0]))
    for logger in task.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(tag, "\n".join(lines), task.global_step)
