"""A leaderboard in a folder: it finds the results that are there, and trains and times what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from pydlx.benchmarks.case import Setting
from pydlx.benchmarks.machine import describe_machine, machine_line
from pydlx.benchmarks.readers.board import Timed, markdown, read_timed, standings, write_board
from pydlx.benchmarks.readers.parallel import Process, run_parallel
from pydlx.benchmarks.readers.picture import write_picture
from pydlx.benchmarks.readers.plan import Run
from pydlx.benchmarks.readers.single import Result, read_result
from pydlx.benchmarks.readers.speed import QUESTIONS, answering_speeds
from pydlx.data.reading import read_squad

PICTURE = "leaderboard.png"
_LOG = "log.txt"
# These limit libraries to one thread that torch.set_num_threads does not affect.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


class Leaderboard:
    """The runs of a leaderboard and their results; tables are written again after each run.

    Args:
        folder: Folder of all results.
        runs: All runs of the leaderboard, finished or not.
        minutes: Budget of each run, in minutes of processor time.

    Attributes:
        timed: Speeds of the readers of each data set, if they were measured with the present weights.
    """

    def __init__(self, folder: Path, runs: Sequence[Run], minutes: float) -> None:
        self.folder, self.runs, self.minutes = folder, runs, minutes
        self.machine = describe_machine(Setting(torch.device("cpu"), threads=1))
        self.timed = {data: timed for data, timed in read_timed(folder).items() if timed.runs == self._to_time(data)}

    def results(self) -> list[Result]:
        """Return the results of the finished runs."""
        return [result for run in self.runs if (result := read_result(self._place(run))) is not None]

    def missing(self) -> list[Run]:
        """Return the runs without a result."""
        return [run for run in self.runs if read_result(self._place(run)) is None]

    def train(self, jobs: int) -> Iterator[tuple[Run, Result | None]]:
        """Do the missing runs, `jobs` at a time; yield each as it ends, with its result, or None if it failed."""
        for run, _ in run_parallel(self.missing(), self._start, jobs):
            self.timed = {data: timed for data, timed in self.timed.items() if timed.runs == self._to_time(data)}
            self.write()
            yield run, read_result(self._place(run))

    def last_log_line(self, run: Run) -> str:
        """Return the last line of a run's log."""
        return next(reversed((self._place(run) / _LOG).read_text(encoding="utf-8").strip().splitlines()), "no word")

    def untimed(self) -> list[str]:
        """Return the data sets whose readers are not timed yet."""
        return [
            data
            for data in dict.fromkeys(run.data for run in self.runs)
            if data not in self.timed and self._to_time(data)
        ]

    def time_answers(self, data: str) -> None:
        """Time the readers of a data set, each with the weights of its first finished seed."""
        runs = self._to_time(data)
        questions = list(read_squad(next(run.questions for run in self.runs if run.data == data)))
        questions = questions[:: max(1, len(questions) // QUESTIONS)][:QUESTIONS]
        checkpoints = {reader: self.folder / "runs" / name / "best.ckpt" for reader, name in runs.items()}
        self.timed[data] = Timed(runs, answering_speeds(checkpoints, questions))
        self.write()

    def table(self) -> str:
        """Return the tables in Markdown."""
        return markdown(self.results(), self.timed, self.minutes, self.machine)

    def write(self) -> None:
        """Write JSON, tables and, if readers were timed, the picture."""
        results = self.results()
        write_board(self.folder, results, self.timed, self.minutes, self.machine)
        if tables := {data: rows for data, rows in standings(results, self.timed).items() if data in self.timed}:
            write_picture(self.folder / PICTURE, tables, self.minutes, machine_line(self.machine))

    def _place(self, run: Run) -> Path:
        return self.folder / "runs" / run.name

    def _to_time(self, data: str) -> dict[str, str]:
        """Return the name of the first finished run of each reader of a data set."""
        found: dict[str, str] = {}
        for run in self.runs:
            if run.data == data and read_result(self._place(run)) is not None:
                found.setdefault(run.reader, run.name)
        return found

    def _start(self, run: Run) -> Process:
        place = self._place(run)
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pydlx.benchmarks.readers.single", str(place), run.data, run.reader]
        with (place / _LOG).open("ab") as log:
            return subprocess.Popen(
                [*command, str(run.seed), *run.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _ONE_THREAD,
            )
