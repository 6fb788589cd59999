"""``pydlx blend --list``: blend many pictures, in one process or in several that torchrun starts.

The processes share the lines of the list out by their numbers, so that none has to ask another. A picture is written as
a whole or not at all: one that is there is done, and the same command again makes those that are missing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch

from pydlx._checks import described, whole_or_none
from pydlx.cli.eval.report import warnings_on_stderr
from pydlx.cli.progress import counting
from pydlx.data import read_image, write_image

Offset = tuple[int, int] | str
Blender = Callable[[np.ndarray, np.ndarray, np.ndarray, Offset | None], np.ndarray]

# What a picture is written as: floating ones fit only the second.
_SUFFIXES = (".png", ".npy")


@dataclass(frozen=True)
class Entry:
    """One line of a list.

    Attributes:
        number: of the line, from 1.
        source: picture to take from.
        target: picture to blend into.
        mask: what of the source to take.
        offset: row and column in the target, or ``"center"``; None where the line does not say.
    """

    number: int
    source: Path
    target: Path
    mask: Path
    offset: Offset | None

    @property
    def name(self) -> str:
        """Of the result, without suffix; no other line has it."""
        return f"{self.number:06d}_{_short(self.target.stem)}_{_short(self.source.stem)}"

    def result(self, folder: Path) -> Path | None:
        """The result, if it is there."""
        return next((path for suffix in _SUFFIXES if (path := folder / f"{self.name}{suffix}").is_file()), None)


@dataclass(frozen=True)
class Share:
    """Which lines fall to this process, as torchrun says in RANK, WORLD_SIZE and LOCAL_WORLD_SIZE."""

    rank: int = 0
    processes: int = 1
    beside: int = 1

    @classmethod
    def of_environment(cls) -> Share:
        """Of this process: all lines where nothing else is said."""
        rank, processes = _number("RANK", 0), _number("WORLD_SIZE", 1)
        if not 0 <= rank < processes:
            raise ValueError(f"RANK must be less than WORLD_SIZE, got {rank} and {processes}")
        return cls(rank, processes, max(1, _number("LOCAL_WORLD_SIZE", processes)))

    @property
    def threads(self) -> int | None:
        """What falls to this process of the machine's cores; None leaves torch's own choice to a process that is alone.

        torchrun itself gives each process one thread.
        """
        if self.beside == 1:
            return None
        return max(1, _cores() // self.beside)

    @property
    def together(self) -> bool:
        """Whether torchrun has started several processes, which can speak to each other."""
        return self.processes > 1 and "MASTER_ADDR" in os.environ


def read_list(path: Path, offset: Offset | None, parse_offset: Callable[[str], Offset]) -> list[Entry]:
    """The lines ``source;target;mask`` or ``source;target;mask;row,col`` of a file.

    Paths are relative to the file. Empty lines and those that begin with # say nothing.

    Args:
        path: the list.
        offset: of lines that have none.
        parse_offset: of lines that have one.

    Raises:
        ValueError: a line is something else, or there is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' must be text in UTF-8, got something else") from None
    entries = []
    for number, line in enumerate(lines, 1):
        fields = [field.strip() for field in line.split(";")]
        if fields[0].startswith("#") or fields == [""]:
            continue
        if len(fields) not in (3, 4) or "" in fields:
            raise ValueError(f"'{path}', line {number}: must be source;target;mask[;row,col], got {described(line)}")
        try:
            place = parse_offset(fields[3]) if len(fields) == 4 else offset
        except Exception as error:
            raise ValueError(f"'{path}', line {number}: offset {error}") from error
        source, target, mask = (path.parent / field for field in fields[:3])
        entries.append(Entry(number, source, target, mask, place))
    if not entries:
        raise ValueError(f"'{path}' must hold lines source;target;mask, got none")
    return entries


def blend_list(entries: Sequence[Entry], folder: Path, blender: Blender, threads: int | None = None) -> int:
    """Blends this process's share of a list; returns the exit code: 2 where a picture of any process failed.

    Each failure is one line on stderr. Of processes that torchrun started, the first says how many there are in all.
    """
    share = Share.of_environment()
    threads = whole_or_none("blend", "threads", threads, 1)
    if (threads := threads or share.threads) is not None:
        torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    mine = entries[share.rank :: share.processes]
    _clear(folder, mine)
    missing = [entry for entry in mine if entry.result(folder) is None]
    with _sums(share) as sums:
        failed = sum(_failures(missing, folder, blender, quiet=share.rank > 0))
        total, made, failed = sums([len(mine), len(missing) - failed, failed])
    if share.rank == 0 or not share.together:
        print(f"blended {made} of {total} pictures, {total - made - failed} were there, written to {folder}")
        if failed:
            print(f"pydlx blend: {failed} of {total} pictures could not be blended", file=sys.stderr)
    return 2 if failed else 0


def _failures(entries: Sequence[Entry], folder: Path, blender: Blender, quiet: bool) -> Iterator[bool]:
    """Blends; of each entry, whether it failed."""
    for entry in entries if quiet else counting(entries, "blending"):
        try:
            with warnings_on_stderr():
                source, target = read_image(entry.source), read_image(entry.target)
                picture = blender(source, target, read_image(entry.mask, to_srgb=False), entry.offset)
            write_image(folder / f"{entry.name}{_SUFFIXES[picture.dtype.kind == 'f']}", picture)
        except (OSError, ValueError, TypeError) as error:
            print(
                f"pydlx blend: line {entry.number}: {str(error).removeprefix('blend: ')}", file=sys.stderr, flush=True
            )
            yield True
        else:
            yield False


def _clear(folder: Path, entries: Sequence[Entry]) -> None:
    """Deletes what a process that was killed had begun to write of these entries."""
    names = {entry.name for entry in entries}
    for path in folder.glob(".*-*"):
        begun = re.fullmatch(r"\.(.*)-[0-9a-f]{32}\.\w+", path.name)
        if begun and begun[1] in names:
            path.unlink(missing_ok=True)


@contextmanager
def _sums(share: Share) -> Iterator[Callable[[list[int]], list[int]]]:
    """Gives a function that waits for all processes to come to it, and adds up what each counted.

    torchrun ends all processes as soon as one ends with a failure: none may do so before the others are done.
    """
    if not share.together:
        yield lambda counts: counts
        return
    import torch.distributed as distributed

    try:
        distributed.init_process_group("gloo", timeout=timedelta(minutes=10))
    except (RuntimeError, ValueError) as error:
        raise OSError(f"the processes of torchrun did not find each other: {error}") from error
    patient = distributed.new_group(timeout=timedelta(days=30))

    def sums(counts: list[int]) -> list[int]:
        total = torch.tensor(counts)
        distributed.all_reduce(total, group=patient)
        return total.tolist()

    try:
        yield sums
    finally:
        distributed.destroy_process_group()


def _short(name: str) -> str:
    """The first 80 bytes: names of files have 255 at most, of which the temporary one takes 38 more."""
    return name.encode()[:80].decode(errors="ignore")


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise ValueError(f"{variable} must be a whole number, got {text!r}")
    return int(text)
