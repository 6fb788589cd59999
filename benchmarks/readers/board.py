"""The results of a leaderboard's runs as JSON and as Markdown tables."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydlx._optional import needed_for
from pydlx.benchmarks.machine import machine_line
from pydlx.benchmarks.readers.single import Result
from pydlx.benchmarks.readers.speed import TEXTS, Speed
from pydlx.files import replacing

with needed_for("training", extra="train"):
    import msgspec

_HEADS = ("reader", "exact match", "F1", "parameters", "epochs", "learned per second", "answered per second", "memory")


@dataclass(frozen=True)
class Timed:
    """How fast the readers of a data set answer.

    Attributes:
        runs: Name of the run whose weights were timed, by reader.
        speeds: Speed by reader and, under `TEXTS`, of featurising the texts.
    """

    runs: dict[str, str]
    speeds: dict[str, Speed]


@dataclass(frozen=True)
class Standing:
    """The results of a reader on a data set: a row of the leaderboard.

    Attributes:
        reader: Name of the reader.
        results: Result of each seed.
        speed: Speed of answering; None if it was not measured yet.
    """

    reader: str
    results: tuple[Result, ...]
    speed: Speed | None

    def values(self, of: Callable[[Result], float]) -> list[float]:
        """Return a value of each run."""
        return [of(result) for result in self.results]

    @property
    def f1(self) -> float:
        """Mean F1 over the seeds."""
        return statistics.fmean(self.values(lambda result: result.f1))

    @property
    def f1_spread(self) -> float:
        """Standard deviation of F1 over the seeds; 0 for one seed."""
        return _spread(self.values(lambda result: result.f1))


def standings(results: Iterable[Result], timed: Mapping[str, Timed]) -> dict[str, list[Standing]]:
    """Return the rows of each data set, by descending F1."""
    found: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        found.setdefault(result.data, {}).setdefault(result.reader, []).append(result)
    tables = {}
    for data, readers in found.items():
        speeds = timed[data].speeds if data in timed else {}
        rows = [Standing(reader, tuple(runs), speeds.get(reader)) for reader, runs in readers.items()]
        tables[data] = sorted(rows, key=lambda row: -row.f1)
    return tables


def markdown(results: Sequence[Result], timed: Mapping[str, Timed], minutes: float, machine: Mapping[str, Any]) -> str:
    """Return a Markdown table for each data set, with a caption that explains its numbers."""
    parts = []
    for data, rows in standings(results, timed).items():
        lines = [" | ".join(_HEADS), " | ".join(["---"] + ["---:"] * (len(_HEADS) - 1))]
        lines += [" | ".join(_cells(row)) for row in rows]
        table = "\n".join(f"| {line} |" for line in lines)
        parts.append(f"### {data}\n\n{_caption(rows, timed.get(data), minutes)}\n\n{table}\n")
    return "\n".join([*parts, machine_line(dict(machine)), ""])


def _caption(rows: Sequence[Standing], timed: Timed | None, minutes: float) -> str:
    seeds = [len(row.results) for row in rows]
    seconds = [value for row in rows for value in row.values(lambda result: result.seconds)]
    before = statistics.fmean(value for row in rows for value in row.values(lambda result: result.memory_before))
    count = f"{min(seeds)} to {max(seeds)}" if min(seeds) < max(seeds) else f"{max(seeds)}"
    spread = " seeds, mean ± standard deviation" if max(seeds) > 1 else " seed"
    sentences = [
        f"The steps of each training may take {minutes:g} min of processor time on one thread, and took "
        f"{min(seconds):.1f} to {max(seconds):.1f} s; {count}{spread}.",
        "Scores are those of the weights that were best in validation, on all validation questions.",
        f"Memory is the most that the process held; {before / 1024:.2f} GiB were held before the first step.",
    ]
    if timed is not None:
        sentences.append(
            f"Answering is timed on numbers; making them of a text takes {1e3 / timed.speeds[TEXTS].best:.1f} ms more."
        )
    return " ".join(sentences)


def _cells(row: Standing) -> list[str]:
    """Return the cells of a reader's row."""
    speed = "" if row.speed is None else _three(row.speed.best)
    return [
        f"`{row.reader}`",
        _with_spread(row.values(lambda result: result.exact_match)),
        _with_spread(row.values(lambda result: result.f1)),
        f"{row.results[0].parameters / 1e6:.2f} M",
        _three(statistics.fmean(row.values(lambda result: result.epochs))),
        _three(statistics.fmean(row.values(lambda result: result.learned_per_second))),
        speed,
        f"{max(row.values(lambda result: result.memory)) / 1024:.2f} GiB",
    ]


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _with_spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.1f}"
    return f"{mean} ± {_spread(values):.1f}" if len(values) > 1 else mean


def _three(value: float) -> str:
    """Format a number with three significant digits, without decimals from 100 on."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def write_board(
    folder: Path,
    results: Sequence[Result],
    timed: Mapping[str, Timed],
    minutes: float,
    machine: Mapping[str, Any],
) -> None:
    """Write ``leaderboard.json`` and ``leaderboard.md``."""
    document = {
        "machine": machine,
        "minutes": minutes,
        "runs": [dataclasses.asdict(result) for result in results],
        "answering": {data: dataclasses.asdict(of_data) for data, of_data in timed.items()},
    }
    texts = {
        "leaderboard.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "leaderboard.md": markdown(results, timed, minutes, machine),
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_timed(folder: Path) -> dict[str, Timed]:
    """Read the speeds of each data set that were measured before."""
    try:
        document = msgspec.json.decode((folder / "leaderboard.json").read_bytes())
        return msgspec.convert(document["answering"], dict[str, Timed])
    except (FileNotFoundError, msgspec.DecodeError, KeyError):  # no file, or one of another version
        return {}
