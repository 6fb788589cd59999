"""The stopwatch: candidates run in turn, round after round, and are compared by their ratios inside the run.

Load from elsewhere comes and goes over seconds, so candidates measured one after the other are not comparable. Here
every round runs each of them once. Slow ones sit out all but every 2nd, 4th, 8th... round: whenever one runs, all
faster ones run beside it. Before each call the caches are emptied, so that nobody finds there what its predecessor
left: everyone reads its input from memory, and the plain copy is the price of moving the bytes. On a GPU its own clock
is read (CUDA events), so that a call costs what the device works and waits for, not what Python needs to ask for it.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from pydlx.benchmarks.case import NATIVE, REFERENCE, Candidate, Case, Quantity, Setting, Target

Clock = Callable[[], float]
Stopwatch = Callable[[Candidate], float]  # runs a candidate and tells the seconds it took
Action = Callable[[], object]

_LARGER_THAN_CACHES = 128 * 2**20


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: to spend on each candidate, where `least` and `most` allow.
        least: rounds of the slowest candidate.
        most: rounds of the fastest.
    """

    seconds: float
    least: int
    most: int


THOROUGH = Effort(seconds=0.6, least=5, most=40)
QUICK = Effort(seconds=0.1, least=5, most=10)


@dataclass(frozen=True)
class Timing:
    """Seconds a candidate took, round by round: {round: seconds}."""

    laps: dict[int, float]

    @property
    def minimum(self) -> float:
        """The fastest lap: what the code costs when nothing else gets in its way."""
        return min(self.laps.values())

    @property
    def median(self) -> float:
        """The middle lap."""
        return statistics.median(self.laps.values())


@dataclass(frozen=True)
class Verdict:
    """Whether a target was met; None where its candidate is not installed."""

    text: str
    met: bool | None


@dataclass(frozen=True)
class Race:
    """Outcome of a case: timings by candidate, and the names of those that are not installed."""

    case: Case
    timings: dict[str, Timing]
    missing: tuple[str, ...] = ()

    @property
    def native(self) -> Timing:
        """The native op's timing."""
        return self.timings[NATIVE]

    @property
    def others(self) -> list[str]:
        """The names to compare with, also of those that are not installed: peers, the reference, yardsticks."""
        names = [name for name in (*self.timings, *self.missing) if name != NATIVE]
        return sorted(names, key=lambda name: (name in self.case.floors, name == REFERENCE))

    def ratio(self, name: str) -> float:
        """How many times the native op's time another candidate took, best lap against best lap."""
        return self.timings[name].minimum / self.native.minimum

    def median_ratio(self, name: str) -> float:
        """The same as the median over the rounds in which both ran."""
        native, other = self.native.laps, self.timings[name].laps
        return statistics.median(other[lap] / native[lap] for lap in native.keys() & other.keys())

    @property
    def verdicts(self) -> list[Verdict]:
        """What became of each target."""
        return [Verdict(target.text, self.meets(target)) for target in self.case.targets]

    def meets(self, target: Target) -> bool | None:
        """Whether the target is met; None if its candidate is missing."""
        if target.against not in self.timings:
            return None
        return self.native.minimum <= self._allowed(target)

    def asked_ratio(self, target: Target) -> float:
        """The least `ratio` that meets the target."""
        return self.timings[target.against].minimum / self._allowed(target)

    def _allowed(self, target: Target) -> float:
        return max(target.limit * self.timings[target.against].minimum, target.seconds)


@dataclass(frozen=True)
class Finding:
    """Outcome of a quantity."""

    quantity: Quantity
    value: float

    @property
    def verdicts(self) -> list[Verdict]:
        """Whether the value is within its limit."""
        text = f"≤ {self.quantity.limit:g} {self.quantity.unit}".rstrip()
        return [Verdict(text, self.value <= self.quantity.limit)]


Outcome = Race | Finding


def _nothing() -> None:
    """Does nothing."""


def _warm_allocator() -> None:
    """Puts malloc in the state of a process that has worked for a while, whatever ran before.

    glibc starts by asking the system for each large block and handing it back, page faults and all; having once freed a
    block of up to 32 MiB it keeps such blocks. This nearly doubles the speed of some peers.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8).fill_(0)


def _cache_sweep(device: torch.device) -> Action:
    """Reads more memory than the caches hold. It only reads, which leaves nothing behind to be written back."""
    memory = torch.zeros(_LARGER_THAN_CACHES // 4, device=device)
    return memory.sum


def measure(item: Case | Quantity, setting: Setting, effort: Effort) -> Outcome:
    """Measures one item."""
    if isinstance(item, Quantity):
        return Finding(item, item.measure())
    _warm_allocator()
    built = item.build()
    present = {name: candidate for name, candidate in built.items() if candidate is not None}
    stopwatch = event_stopwatch() if setting.device.type == "cuda" else host_stopwatch()
    timings = race(present, effort, stopwatch, empty_caches=_cache_sweep(setting.device))
    return Race(item, timings, tuple(name for name in built if name not in present))


def host_stopwatch(clock: Clock = time.perf_counter) -> Stopwatch:
    """Reads the host's clock before and after a call."""

    def seconds(candidate: Candidate) -> float:
        start = clock()
        result = candidate()
        elapsed = clock() - start
        del result  # giving memory back is not part of the call
        return elapsed

    return seconds


def event_stopwatch() -> Stopwatch:
    """Reads the clock of the GPU when it comes to a call's work and when it has done it.

    The sweep of the caches before a call keeps the GPU busy while Python asks for the call's kernels, as other work
    does in a program, so that the asking only counts where it takes longer.
    """
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def seconds(candidate: Candidate) -> float:
        start.record()
        result = candidate()
        end.record()
        end.synchronize()
        del result
        return start.elapsed_time(end) / 1e3

    return seconds


def race(
    candidates: dict[str, Candidate], effort: Effort, stopwatch: Stopwatch, empty_caches: Action = _nothing
) -> dict[str, Timing]:
    """Times every candidate, interleaved.

    Args:
        candidates: zero-argument callables by name.
        effort: how long to go on.
        stopwatch: runs one and tells the seconds.
        empty_caches: runs before each call, outside of its time.
    """

    def timed(candidate: Candidate) -> float:
        empty_caches()
        return stopwatch(candidate)

    with _no_garbage_collection():
        strides, rounds = _schedule({name: _pace(timed, run, effort) for name, run in candidates.items()}, effort)
        laps: dict[str, dict[int, float]] = {name: {} for name in candidates}
        for lap in range(rounds):
            for name, candidate in candidates.items():
                if lap % strides[name] == 0:
                    laps[name][lap] = timed(candidate)
    return {name: Timing(seconds) for name, seconds in laps.items()}


def _pace(timed: Callable[[Candidate], float], candidate: Candidate, effort: Effort) -> float:
    """Seconds of a call, roughly. The first also loads, allocates and plans, so unless it is long it does not count."""
    first = timed(candidate)
    return first if first > effort.seconds else timed(candidate)


def _schedule(paces: dict[str, float], effort: Effort) -> tuple[dict[str, int], int]:
    """In every how many rounds each candidate runs, a power of two, and the number of rounds."""
    turns = {
        name: min(effort.most, max(effort.least, int(effort.seconds / max(pace, 1e-9)))) for name, pace in paces.items()
    }
    rounds = max(turns.values())
    return {name: 2 ** int(math.log2(rounds / turn)) for name, turn in turns.items()}, rounds


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Holds torch to a number of CPU threads; peers with threads of their own are told by their cases."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
