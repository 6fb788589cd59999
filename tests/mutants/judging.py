"""What both kinds of mutants share: a run of tests that sees a fault or does not, and the account of all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
# As a script, not with -m, which would put the working folder in front of PYTHONPATH.
PYTEST = [
    sys.executable,
    str(Path(sys.executable).parent / "pytest"),
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
]
NO_TESTS = 5
WORKERS = int(os.environ.get("WORKERS", "2"))


class Mutant(Protocol):
    """A changed place in the sources."""

    def place(self) -> str:
        """File and line."""

    def change(self) -> str:
        """What was changed into what."""


def tests_see_it(arguments: Sequence[str], timeout: float, **environment: str) -> bool:
    """Whether a run of these tests fails, ends in a crash, or takes too long."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // WORKERS))}
    try:
        run = subprocess.run(
            [*PYTEST, *arguments],
            cwd=ROOT,
            env={**os.environ, **threads, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return True
    if run.returncode == NO_TESTS:
        raise RuntimeError(f"no tests for {arguments}:\n{run.stdout}")
    return run.returncode != 0


def judge_all(mutants: Sequence[Mutant], is_seen: Callable[[Mutant], bool]) -> int:
    """Judge mutants, several at a time, saying how it goes; list the survivors and return their number."""
    start, survivors = time.monotonic(), []
    with ThreadPoolExecutor(WORKERS) as pool:
        runs = {pool.submit(is_seen, mutant): mutant for mutant in mutants}
        for done, run in enumerate(as_completed(runs), 1):
            mutant = runs[run]
            if not run.result():
                survivors.append(mutant)
            left = (time.monotonic() - start) / done * (len(mutants) - done)
            verdict = "seen    " if run.result() else "SURVIVED"
            print(f"{done:4}/{len(mutants)}  {left / 60:4.0f} min left  {verdict}  {mutant.place()}", flush=True)
    seen = len(mutants) - len(survivors)
    print(f"\n{seen} of {len(mutants)} seen ({100 * seen / max(1, len(mutants)):.0f} %)")
    for mutant in sorted(survivors, key=lambda mutant: mutant.place()):
        print(f"\n{mutant.place()}\n{mutant.change()}")
    return len(survivors)
