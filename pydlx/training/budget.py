"""Training for a given amount of processor time, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pydlx._checks import check_positive
from pydlx._optional import needed_for

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class ProcessorBudget(Callback):
    """Stops training after a given processor time of training steps, followed by a last validation.

    It counts the processor time of all threads of this process: not that of loader processes (``workers``), nor time
    spent waiting for other processes or a GPU. Validations are not counted. The step during which the budget runs out
    is completed. Checkpoints store the time spent, so a resumed training has the rest. With several processes, all stop
    as soon as one has spent its budget.

    Args:
        minutes: The budget, in minutes.
        clock: Returns seconds of processor time since some fixed point.

    Attributes:
        spent: Seconds that steps have taken so far.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.process_time) -> None:
        check_positive("training", "budget", minutes)
        self.minutes, self.clock = minutes, clock
        self.spent = 0.0
        self._ended = False  # whether the last validation is done, too
        self._last = 0.0  # time on the clock when `spent` was last updated

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints."""
        return {"spent": self.spent, "ended": self._ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning."""
        self.spent, self._ended = state_dict["spent"], state_dict["ended"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        self._last = self.clock()
        # If it was killed during the last validation, it takes one more step and validates again.
        if self._ended and self._is_spent():
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning."""
        now = self.clock()
        self.spent, self._last = self.spent + now - self._last, now
        if trainer.strategy.reduce_boolean_decision(self._is_spent(), all=False):
            trainer.check_val_every_n_epoch = 1  # makes Lightning (2.6) validate in this epoch before it stops
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        self._last = self.clock()
        self._ended = trainer.should_stop

    def _is_spent(self) -> bool:
        return self.spent >= 60 * self.minutes
