"""How much memory this process has held."""

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
    """The most that was resident at once, in MiB.

    ``getrusage`` alone will not do: on Linux it begins a program with what the process held from which it was started.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (_MIB if sys.platform == "darwin" else 1024)


class TrainingMemory(Callback):
    """The memory of a training, from its first step on. Checkpoints keep it, for a training that is resumed.

    Attributes:
        before: MiB resident before the first step, where Linux tells it; else the most until then.
        most: MiB resident at most, as far as a checkpoint or ``measure`` has looked.
    """

    def __init__(self) -> None:
        self.before = self.most = 0.0

    def measure(self) -> None:
        """Looks how much it was until now."""
        self.most = max(self.most, peak_memory())

    def state_dict(self) -> dict[str, Any]:
        """What checkpoints keep."""
        self.measure()
        return {"before": self.before, "most": self.most}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning."""
        self.before, self.most = state_dict["before"], state_dict["most"]

    def on_train_start(self, *_: Any) -> None:
        """Called by Lightning."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak, such as of reading word vectors
        self.before = self.before or peak_memory()
