"""Which runs make a leaderboard, and what each tells the recipe ``reader``."""

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

# What the leaderboard decides, so that every run spends its budget, in one process. No rate falls until an end that
# nobody knows.
_FIXED = {"epochs": "1000000", "max_steps": "-1", "accelerator": "cpu", "devices": "1", "nodes": "1", "workers": "0"}
_FIXED |= {"progress": "false", "resume": "auto", "patience": "none", "decay": "false"}
_OWN = {*_FIXED, "model", "seed", "budget", "out"}
_FILES = ("data", "val")
_WITHOUT_EFFECT = ("cache", *_FILES)  # on a result; of files it is what they hold that has one


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """Options of the recipe: for all runs, for those on a data set, for those of a reader."""

    all: dict[str, Any] = {}
    data: dict[str, dict[str, Any]] = {}
    readers: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        data: Name of the data set.
        reader: Name of the model.
        seed: The training's.
        words: Options of the recipe, each ``key=value``.
        name: Of its folder; another one for other options, another budget or other questions.
    """

    data: str
    reader: str
    seed: int
    words: tuple[str, ...]
    name: str

    @property
    def questions(self) -> str:
        """The file of questions that it is asked."""
        return assigned(self.words)["val"]


def known_readers() -> list[str]:
    """The names of all readers that can be trained."""
    return models_of(Reader)


def read_settings(path: Path) -> Settings:
    """Settings from a JSON file.

    Raises:
        ValueError: If it has another form.
        OSError: If it cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--settings: '{path}' must hold all, data and readers as in the guide: {error}") from None


def assigned(words: Iterable[str]) -> dict[str, Any]:
    """What words ``key=value`` say."""
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
    """All runs of a leaderboard, those of the first seed first.

    The more special option wins: a reader's over a data set's over those for all; of the same kind the command line's
    over the file's.

    Args:
        settings: Those of the file.
        data: The command line's data sets; those of the file if there are none.
        readers: Names of models.
        given: The command line's options for all.
        seeds: How many runs there are of each reader on each data set.
        minutes: The budget of each.

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
    """An option's value as the command line has it."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _fingerprint(chosen: Mapping[str, str]) -> str:
    """Eight letters that are others for whatever changes a result."""
    telling = {key: value for key, value in chosen.items() if key not in _WITHOUT_EFFECT}
    telling |= {part: _digest(chosen[part]) for part in _FILES}
    return hashlib.sha256(json.dumps(telling, sort_keys=True).encode()).hexdigest()[:8]


@cache
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
