"""The plan of a leaderboard: its runs, and the options of the recipe ``reader`` for each."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydlx._optional import needed_for
from pydlx.models.readers import Reader
from pydlx.models.registry import models_of
from pydlx.training.options import parse_options
from pydlx.training.reader import ReaderOptions

with needed_for("training", extra="train"):
    import msgspec

Options = dict[str, str]  # of the recipe, by name

# Options that the leaderboard fixes, so that every run spends its budget in one process. Learning rates do not decay,
# because the number of steps is not known in advance.
_FIXED = {"epochs": "1000000", "max_steps": "-1", "accelerator": "cpu", "devices": "1", "nodes": "1", "workers": "0"}
_FIXED |= {"progress": "false", "resume": "auto", "patience": "none", "decay": "false"}
_OWN = {*_FIXED, "model", "seed", "budget", "out"}
_FILES = ("data", "val")
_NOT_IN_FINGERPRINT = ("cache", *_FILES)  # they do not change a result; the contents of the files do


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """Options of the recipe for all runs, for runs on a data set, and for runs of a reader."""

    all: dict[str, Any] = {}
    data: dict[str, dict[str, Any]] = {}
    readers: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        data: Name of the data set.
        reader: Name of the model.
        seed: Seed of the training.
        words: Options of the recipe, each ``key=value``.
        name: Name of its folder, which depends on options, budget and questions.
    """

    data: str
    reader: str
    seed: int
    words: tuple[str, ...]
    name: str

    @property
    def questions(self) -> str:
        """The file of validation questions."""
        return assigned(self.words)["val"]


def known_readers() -> list[str]:
    """Return the names of all readers that can be trained."""
    return models_of(Reader)


def read_settings(path: Path) -> Settings:
    """Read settings from a JSON file.

    Raises:
        ValueError: If it has another form.
        OSError: If it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--settings: '{path}' must hold all, data and readers as in the guide: {error}") from None


def assigned(words: Iterable[str]) -> dict[str, Any]:
    """Parse words ``key=value``."""
    pairs = [word.partition("=") for word in words]
    if wrong := [key for key, sign, _ in pairs if not sign]:
        raise ValueError(f"options must be KEY=VALUE, got {wrong[0]!r}")
    return {key: value for key, _, value in pairs}


def plan_runs(
    settings: Settings,
    data: Mapping[str, dict[str, Any]],
    readers: Sequence[str],
    *,
    given: Mapping[str, Any],
    seeds: int,
    minutes: float,
) -> list[Run]:
    """List all runs of a leaderboard; for each data set, those of the first seed come first.

    More specific options take precedence: a reader's over a data set's, these over those for all runs. Among options of
    one kind, the command line's take precedence over the file's.

    Args:
        settings: Settings of the file.
        data: Data sets of the command line, with their options; if empty, those of the file are used.
        readers: Names of the readers.
        given: Options of the command line for all runs.
        seeds: Number of runs of each reader on each data set.
        minutes: Budget of each run, in minutes of processor time.

    Raises:
        ValueError: If a name is not known, or an option is not the recipe's, does not fit, or is the leaderboard's.
        OSError: If there is no such file of questions.
    """
    for name in (*readers, *settings.readers):
        if name not in known_readers():
            raise ValueError(f"readers must be of {', '.join(known_readers())}, got {name!r}")
    if not (names := list(data or settings.data)):
        raise ValueError("a data set must be named, by --data NAME KEY=VALUE ... or in the file of --settings")
    return [
        _run(
            name,
            reader,
            seed,
            {**settings.all, **given},
            {**settings.data.get(name, {}), **data.get(name, {})},
            settings.readers.get(reader, {}),
            minutes,
        )
        for name in names
        for seed in range(seeds)
        for reader in readers
    ]


def _run(
    data: str,
    reader: str,
    seed: int,
    of_all: Mapping[str, Any],
    of_data: Mapping[str, Any],
    of_reader: Mapping[str, Any],
    minutes: float,
) -> Run:
    if not re.fullmatch(r"[\w-]+", data):
        raise ValueError(f"a data set's name must be of letters, digits, _ and -, got {data!r}")
    for place, options in (("all runs", of_all), (data, of_data), (reader, of_reader)):
        for key in options:
            if key in _OWN or (key in _FILES and place != data):
                raise ValueError(f"option {key} for {place} must be left to the leaderboard, got {options[key]!r}")
    chosen = {key: _text(value) for key, value in {**of_all, **of_data, **of_reader}.items()}
    for part in _FILES:
        if part not in chosen:
            raise ValueError(f"data set {data!r} must have data= and val=, got no {part}=")
        if not Path(chosen[part]).is_file():
            raise FileNotFoundError(f"data set {data!r}: no such file: '{chosen[part]}'")
    chosen = _FIXED | {"model": reader, "seed": str(seed), "budget": repr(minutes)} | chosen
    words = tuple(f"{key}={value}" for key, value in sorted(chosen.items()))
    parse_options(ReaderOptions, words)
    return Run(data, reader, seed, words, f"{data}.{reader}.{seed}.{_fingerprint(chosen)}")


def _text(value: Any) -> str:
    """Format an option's value as on the command line."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _fingerprint(chosen: Mapping[str, str]) -> str:
    """Return eight hexadecimal digits that depend on everything that changes a result."""
    relevant = {key: value for key, value in chosen.items() if key not in _NOT_IN_FINGERPRINT}
    relevant |= {part: _digest(chosen[part]) for part in _FILES}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:8]


@cache
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
