"""Result files that appear as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pydlx.files import replacing

__all__ = ["check_writable", "replacing"]


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
