"""C++ that tests compile, kept between runs: one compilation per machine and change, whichever clone asks for it.

An object is named by a hash of its compiler, its flags and its preprocessed source; a library by those of its objects.
They lie in ``$PYDLX_CACHE``, by default ``~/.cache/pydlx``. Above two gigabytes the longest unused ones are deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

MOST_BYTES = 2 * 2**30


def cache_folder() -> Path:
    """Where the compiled files are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PYDLX_CACHE") or Path(home) / "pydlx")


def cxx() -> str:
    """The C++ compiler that tests use."""
    return os.environ.get("CXX") or shutil.which("g++") or "c++"


@cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make this file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(name: str, parts: list[str], make: Callable[[Path], object]) -> Path:
    """The file made from these parts, from the cache or built now."""
    stem, suffix = Path(name).stem, Path(name).suffix
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    path = cache_folder() / f"{stem}-{key}{suffix}"
    with _locked(path):
        if path.exists():
            path.touch()  # used today, so that it is not deleted tomorrow
        else:
            unfinished = path.with_name(f"unfinished-{path.name}")
            make(unfinished)
            unfinished.replace(path)
    return path


def compile_object(source: Path, flags: list[str], root: Path) -> Path:
    """Compile one file below ``root``; the result does not depend on the path of root."""
    compiler = cxx()
    flags = [*flags, f"-ffile-prefix-map={root}/="]
    command = [compiler, *flags, "-x", "c++", str(source)]
    text = subprocess.run([*command, "-E"], stdout=subprocess.PIPE, text=True, check=True).stdout
    parts = [part.replace(str(root), "") for part in (_version(compiler), *flags, text)]
    return _kept(
        f"{source.stem}.o", parts, lambda target: subprocess.run([*command, "-c", "-o", str(target)], check=True)
    )


def compile_objects(sources: list[Path], flags: list[str], root: Path) -> list[Path]:
    """Compile each of these files, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda source: compile_object(source, flags, root), sources))


def link(name: str, objects: list[Path], flags: list[str]) -> Path:
    """Link objects of the cache into a program or, with ``-shared`` among the flags, a library of this name."""
    compiler = cxx()
    command = [compiler, *map(str, objects), *flags]
    parts = [_version(compiler), *(path.name for path in objects), *flags]
    path = _kept(name, parts, lambda target: subprocess.run([*command, "-o", str(target)], check=True))
    _delete_unused()
    return path


def _delete_unused() -> None:
    """Delete the least recently used files beyond the limit."""
    found = []
    for path in cache_folder().glob("*-*"):
        with contextlib.suppress(FileNotFoundError):  # another run has just renamed or deleted it
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)
