"""Memory use of a case's candidates, each measured in a separate process."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

# Writing 5 to clear_refs resets a Linux process's peak memory (VmHWM).
_PROBE = """
import re, sys
from importlib import import_module
from pathlib import Path
import torch
module, threads, name, small, sizes = sys.argv[1:]
torch.set_num_threads(int(threads))
def build(sizes):
    return import_module(module).candidate(name, tuple(map(int, sizes.split(","))))
def kilobytes(what):
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
build(small)()
run = build(sizes)
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
run()
print(kilobytes("VmHWM") - before, kilobytes("VmHWM"))
"""


class Memory(NamedTuple):
    """Memory use in kilobytes.

    Attributes:
        added: Peak growth of a process during the call, with the inputs already in memory.
        most: The process's peak memory.
    """

    added: int
    most: int


def memory(module: str, name: str, sizes: tuple[int, ...], small: tuple[int, ...], threads: int) -> Memory:
    """Measure one candidate, on Linux.

    Args:
        module: A module with a function ``candidate(name, sizes)`` that returns a `Candidate`.
        name: The candidate's name.
        sizes: Sizes of its inputs.
        small: Sizes for a warm-up call, so that what PyTorch loads at a first call is not counted.
        threads: CPU threads.
    """
    given = (module, str(threads), name, *(",".join(map(str, each)) for each in (small, sizes)))
    run = subprocess.run([sys.executable, "-c", _PROBE, *given], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"measuring memory failed: {run.stderr.strip().splitlines()[-1]}")
    return Memory(*map(int, run.stdout.split()))


def share(module: str, names: tuple[str, str], sizes: tuple[int, ...], small: tuple[int, ...], threads: int) -> float:
    """The memory that the first candidate needs besides its inputs, as a fraction of what the second needs."""
    one, other = (memory(module, name, sizes, small, threads).added for name in names)
    return one / other
