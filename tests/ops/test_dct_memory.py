"""What transforms keep between calls: plans up to a limit, work space up to a limit, and nothing of a long line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
PROGRAM = """
import time
import torch
from pydlx import ops

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

ops.dctn(torch.ones(40, 64), axes=-1)
ops.dstn(torch.ones(40, 64), 1, axes=-1)
before = resident()
{body}
print(resident() - before, seconds)
"""


def measured(body: str) -> tuple[float, float]:
    """Growth of the resident memory in MB, and what `body` measured in seconds, in a fresh process."""
    program = PROGRAM.format(body=body)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    growth, seconds = run.stdout.split()
    return float(growth), float(seconds)


@pytest.fixture(autouse=True)
def native_on_linux(kernels: str) -> None:
    if kernels != "native" or not STATUS.exists():
        pytest.skip("needs the compiled CPU kernels and /proc")


@pytest.mark.parametrize("transform", ["ops.dctn({x}, axes=-1)", "ops.dstn({x}, 1, axes=-1)"])
def test_many_lengths(transform):
    x = "torch.ones(1, n, dtype=torch.float32 if n % 2 else torch.float64)"
    body = f"seconds = 0\nfor n in range(2, 2002): {transform.format(x=x)}"
    growth, _ = measured(body)
    assert growth < 50


@pytest.mark.parametrize("length", [1_000_003, 1 << 20])
def test_one_long_line(length):
    """A prime takes Bluestein's convolution of twice the length."""
    body = f"x = torch.ones(1, {length})\nstart = time.process_time()\ny = ops.dctn(x, axes=-1)\n"
    growth, seconds = measured(body + "seconds = time.process_time() - start\ndel x, y")
    assert growth < 50
    assert seconds < 3  # of processor time; a second when it is not shared
