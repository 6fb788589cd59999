"""Running tasks in several processes at once."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Task = TypeVar("Task")
Process = subprocess.Popen[bytes]

_SECONDS_TO_END = 30  # after which a process that was terminated is killed


def run_parallel(tasks: Iterable[Task], start: Callable[[Task], Process], jobs: int) -> Iterator[tuple[Task, int]]:
    """Run tasks in processes, several at a time; yield each with its exit code as soon as it has ended.

    If the caller stops iterating, for instance on an interrupt, the running processes are terminated.

    Args:
        tasks: Tasks, which are started in this order.
        start: Starts the process of a task.
        jobs: Number of processes that run at once.
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
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
