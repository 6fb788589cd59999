"""What a race's candidates need of memory, each measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

# Linux forgets the peak of a process's memory when 5 is written there.
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
    """In kilobytes.

    Attributes:
        added: By how much a process that has the inputs grows at most.
        most: What it has then.
    """

    added: int
    most: int


def memory(module: str, name: str, sizes: tuple[int, ...], small: tuple[int, ...], threads: int) -> Memory:
    """Of one candidate, on Linux.

    Args:
        module: Has a function ``candidate(name, sizes)``, which returns a `Candidate`.
        name: Which one.
        sizes: Of its inputs.
        small: Others, with which it is called before, so that what PyTorch loads at a first call does not count.
        threads: CPU threads.
    """
    given = (module, str(threads), name, *(",".join(map(str, each)) for each in (small, sizes)))
    run = subprocess.run([sys.executable, "-c", _PROBE, *given], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"measuring memory failed: {run.stderr.strip().splitlines()[-1]}")
    return Memory(*map(int, run.stdout.split()))


def share(module: str, names: tuple[str, str], sizes: tuple[int, ...], small: tuple[int, ...], threads: int) -> float:
    """What one candidate needs besides its inputs, gradients included, of what another needs."""
    one, other = (memory(module, name, sizes, small, threads).added for name in names)
    return one / other
