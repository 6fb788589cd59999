"""Time that the operators and layers take beyond ``import torch``; ``import pydlx`` alone imports neither."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from pydlx.benchmarks.case import Quantity, Setting

_PROBE = """
import time
import torch
start = time.perf_counter()
import pydlx.ops, pydlx.nn, pydlx.losses
print(time.perf_counter() - start)
"""


def cases(setting: Setting) -> Iterator[Quantity]:
    """The time, as a single quantity."""
    yield Quantity("import pydlx.ops, .nn and .losses beyond import torch", "s", 0.3, _seconds_beyond_torch)


def _seconds_beyond_torch(attempts: int = 5) -> float:
    """The best of several fresh interpreters."""
    return min(_attempt() for _ in range(attempts))


def _attempt() -> float:
    run = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"import pydlx.ops failed in a fresh interpreter: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout)
