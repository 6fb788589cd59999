"""Time that ``import`` of operators and layers takes beyond torch, and of metrics beyond torch and torchmetrics."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

from pydlx.benchmarks.case import Quantity, Setting, installed

_PROBE = """
import time
import {before}
start = time.perf_counter()
import {measured}
print(time.perf_counter() - start)
"""


def cases(setting: Setting) -> Iterator[Quantity]:
    """Both quantities, the second where torchmetrics is installed; ``import pydlx`` alone imports none of these."""
    yield Quantity(
        "import pydlx.ops, .nn and .losses beyond import torch",
        "s",
        0.1,
        partial(_seconds, "torch", "pydlx.ops, pydlx.nn, pydlx.losses"),
    )
    if installed("torchmetrics"):
        what = "import pydlx.metrics beyond import torch, torchmetrics"
        yield Quantity(what, "s", 0.15, partial(_seconds, "torch, torchmetrics", "pydlx.metrics"))


def _seconds(before: str, measured: str, attempts: int = 5) -> float:
    """Best of several fresh interpreters, the first of which compiles the modules."""
    probe = _PROBE.format(before=before, measured=measured)
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return min(_attempt(probe, measured, environment) for _ in range(attempts))


def _attempt(probe: str, measured: str, environment: dict[str, str]) -> float:
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment)
    if run.returncode:
        raise RuntimeError(f"import {measured} failed in a fresh interpreter: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout)
