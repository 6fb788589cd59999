"""Work that is done by several processes at once."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Task = TypeVar("Task")
Process = subprocess.Popen[bytes]

_PATIENCE = 30  # seconds that a process has to end when it is told to


def side_by_side(tasks: Iterable[Task], start: Callable[[Task], Process], jobs: int) -> Iterator[tuple[Task, int]]:
    """Has tasks done, so many at a time, and gives each with its exit code as soon as it has ended.

    Whoever stops to ask for more, as on an interrupt, ends those that are at work.

    Args:
        tasks: To do, in this order.
        start: Starts the process of one.
        jobs: How many work at once.
    """
    waiting = iter(tasks)
    working: list[tuple[Task, Process]] = []
    try:
        while True:
            for task in itertools.islice(waiting, jobs - len(working)):
                working.append((task, start(task)))
            if not working:
                return
            if not (ended := [pair for pair in working if pair[1].poll() is not None]):
                time.sleep(0.1)
            for task, process in ended:
                working.remove((task, process))
                yield task, process.returncode
    finally:
        for _, process in working:
            process.terminate()
        for _, process in working:
            _end(process)


def _end(process: Process) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
