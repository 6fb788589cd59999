"""Result files that appear as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary file beside `path`, which takes its place if the block succeeds.

    Raises:
        OSError: the file cannot be written; one sentence says why.
    """
    temporary = _file_beside(path)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raises OSError if `path` cannot be written, which is better known before a long run than after it."""
    _file_beside(path).unlink()


def _file_beside(path: Path) -> Path:
    """A new file in the folder of `path`, of the same suffix, since libraries choose the format by it."""
    if path.is_dir():
        raise OSError(f"cannot write '{path}': it is a folder")
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        temporary.touch()
    except OSError as error:
        raise _cannot_write(path, error) from error
    return temporary


def _cannot_write(path: Path, error: OSError) -> OSError:
    return OSError(f"cannot write '{path}': {error.strerror or error}")
