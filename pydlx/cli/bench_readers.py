"""``pydlx bench readers``: train all readers for the same time, and compare them."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydlx.cli.inputs import check_file
from pydlx.cli.options import count, new_command, positive
from pydlx.cli.outputs import check_folder, say
from pydlx.cli.progress import doing

if TYPE_CHECKING:
    from pydlx.benchmarks.readers.leaderboard import Leaderboard

_EXAMPLE = """\
example:
  pydlx bench readers --minutes 3 --data squad data=train.json val=dev.json vectors=glove -- hidden=64 optimizer=adamax
  pydlx bench readers --minutes 3 --settings settings.json --jobs 2 --data squad data=train.json val=dev.json \\
    --data cmrc2018 data=cmrc2018_train.json val=cmrc2018_dev.json tokeniser=characters answer_length=40

Options KEY=VALUE are those of `pydlx train reader --options`; those behind -- are for all runs. Every training may
take the same time of the processor. Writes leaderboard.json, .md and .png to the folder of --out. The same command
again does what is missing: runs that are there with these options, this budget and these questions are not repeated.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``bench readers`` to the command line."""
    parser = new_command(
        subparsers,
        "bench readers",
        "train all readers for the same time, and compare them",
        "Train readers for the same time on the same questions, each in a process and a thread of its own, and compare "
        "their answers, speed and memory.",
        _EXAMPLE,
    )
    parser.add_argument(
        "--data",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "KEY=VALUE"),
        help="a data set: its name, data= and val=, files of SQuAD's form, and options for it; once for each",
    )
    parser.add_argument("--readers", metavar="NAME,...", help="which readers to train (default: all)")
    parser.add_argument("--seeds", type=count, default=3, metavar="N", help="how often to train each (default: 3)")
    parser.add_argument(
        "--minutes",
        type=positive,
        default=3.0,
        metavar="M",
        help="how many minutes of processor time each training has (default: 3)",
    )
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="how many trainings run side by side (default: 1)"
    )
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="a JSON file of options for all runs, data sets and readers"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/readers"),
        metavar="FOLDER",
        help="where to write (default: runs/readers)",
    )
    parser.add_argument("assignments", nargs="*", metavar="KEY=VALUE", help="options for all runs")
    return parser


def run(args: argparse.Namespace) -> int:
    """Trains, times, shows and writes; returns the exit code, 1 if a run failed."""
    if args.settings is not None:
        check_file(args.settings, "--settings")
    check_folder(args.out, "--out")
    with doing("loading"):
        from pydlx.benchmarks.readers import plan
        from pydlx.benchmarks.readers.leaderboard import PICTURE, Leaderboard
        from pydlx.figures import check_figure_path

    runs = plan.plan_runs(
        plan.Settings() if args.settings is None else plan.read_settings(args.settings),
        _data_sets(args.data),
        plan.known_readers() if args.readers is None else list(dict.fromkeys(args.readers.split(","))),
        given=plan.assigned(args.assignments),
        seeds=args.seeds,
        minutes=args.minutes,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    check_figure_path(args.out / PICTURE)
    board = Leaderboard(args.out, runs, args.minutes)
    with _ended_like_interrupted():
        failed = _train(board, args.jobs)
        for data in board.untimed():
            with doing(f"{data}: timing answers"):
                board.time_answers(data)
    print(board.table())
    say(f"written to {args.out}")
    return 1 if failed else 0


def _data_sets(given: list[list[str]]) -> dict[str, dict[str, Any]]:
    """The options of each data set."""
    from pydlx.benchmarks.readers.plan import assigned

    names = [name for name, *_ in given]
    if len({*names}) < len(names):
        raise ValueError(f"--data must have another name each time, got {', '.join(names)}")
    return {name: assigned(words) for name, *words in given}


def _train(board: Leaderboard, jobs: int) -> int:
    """Has done what is missing, with a line for each run; returns how many failed."""
    missing, failed, start = len(board.missing()), 0, time.monotonic()
    there = f", {len(board.runs) - missing} of which are there" if missing < len(board.runs) else ""
    print(f"{len(board.runs)} runs{there}; {missing} to do, {board.minutes:g} min of processor time each", flush=True)
    for done, (run, result) in enumerate(board.train(jobs), 1):
        if result is None:
            failed += 1
            came = f"failed: {board.last_log_line(run)}"
        else:
            came = f"exact match {result.exact_match:.1f}, F1 {result.f1:.1f}"
        left = (time.monotonic() - start) / done * (missing - done) / 60
        time_left = f"; {left:.0f} min left" if done < missing else ""
        print(f"[{done}/{missing}] {run.data} {run.reader} seed {run.seed}: {came}{time_left}", flush=True)
    return failed


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Lets whoever ends this process end the trainings with it, as who interrupts it does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
