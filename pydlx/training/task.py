"""The base class of Lightning tasks with one model and one optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pydlx._optional import needed_for

with needed_for("training", extra="train"):
    from lightning.pytorch import LightningModule

Optimizer = Callable[[nn.Module], tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]]


class Task(LightningModule):
    """A Lightning module that holds a model and builds its optimiser.

    Args:
        model: A model of ``create_model``.
        optimizer: Builds the optimiser and its schedule, which is stepped after every training step.
    """

    def __init__(self, model: Any, optimizer: Optimizer) -> None:
        super().__init__()
        self.model, self.optimizer = model, optimizer

    def configure_optimizers(self) -> Any:
        """Called by Lightning."""
        optimizer, schedule = self.optimizer(self.model)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
