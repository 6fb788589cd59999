"""Training for so much of the processor's time, whatever else the machine is doing meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pydlx._checks import check_positive
from pydlx._optional import needed_for

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class ProcessorBudget(Callback):
    """Stops a training once its steps have taken so much of the processor's time; then it validates once more.

    The time is that of all threads of this process, not of those that read items (``workers``), and it is not time in
    which the process waits, for others on a busy machine or for a GPU. Validations are not counted. The last step
    ends after the budget does. Checkpoints keep what was spent, so that a training that is resumed has the rest of it.
    Of several processes each stops as soon as one has spent its budget.

    Args:
        minutes: To spend.
        clock: Seconds of processor time since any point.

    Attributes:
        spent: Seconds that the steps took so far.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.process_time) -> None:
        check_positive("training", "budget", minutes)
        self.minutes, self.clock = minutes, clock
        self.spent = 0.0
        self._ended = False  # the last validation, too
        self._last = 0.0  # what the clock showed when time was last added

    def state_dict(self) -> dict[str, Any]:
        """What checkpoints keep."""
        return {"spent": self.spent, "ended": self._ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning."""
        self.spent, self._ended = state_dict["spent"], state_dict["ended"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        self._last = self.clock()
        # A training that was killed in its last validation takes one more step, after which it validates again.
        if self._ended and self._is_spent():
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning."""
        now = self.clock()
        self.spent, self._last = self.spent + now - self._last, now
        if trainer.strategy.reduce_boolean_decision(self._is_spent(), all=False):
            trainer.check_val_every_n_epoch = 1  # Lightning (2.6) validates before it stops, if this epoch is one to
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Called by Lightning."""
        self._last = self.clock()
        self._ended = trainer.should_stop

    def _is_spent(self) -> bool:
        return self.spent >= 60 * self.minutes
