"""The peak memory of this process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydlx._optional import needed_for

with needed_for("training", extra="train"):
    from lightning.pytorch import Callback

_MIB = 2**20


def peak_memory() -> float:
    """Return the peak resident memory of this process, in MiB.

    On Linux it is read from ``/proc``: there, ``getrusage`` starts a program with the peak of its parent process.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (_MIB if sys.platform == "darwin" else 1024)


class TrainingMemory(Callback):
    """Measures the peak memory of a training from its first step on. Checkpoints store it, for resumed trainings.

    Attributes:
        before: MiB resident before the first step; on systems other than Linux, the peak until then.
        most: Peak in MiB, as of the last checkpoint or call of ``measure``.
    """

    def __init__(self) -> None:
        self.before = self.most = 0.0

    def measure(self) -> None:
        """Update the peak."""
        self.most = max(self.most, peak_memory())

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints."""
        self.measure()
        return {"before": self.before, "most": self.most}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning."""
        self.before, self.most = state_dict["before"], state_dict["most"]

    def on_train_start(self, *_: Any) -> None:
        """Called by Lightning."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets Linux's peak, which includes reading of word vectors
        self.before = self.before or peak_memory()
