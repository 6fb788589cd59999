"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary file of the same suffix, which takes the place of `path` if the block succeeds.

    Raises:
        OSError: the file cannot be written; what stood there before is untouched.
    """
    place = Path(path).resolve()  # a link stays a link
    if place.exists() and not place.is_file():
        raise OSError(f"cannot write '{path}': it exists and is not a regular file")
    # In the same folder, so that the final rename stays on one file system and replaces in one step.
    temporary = place.with_name(f".{place.stem}-{uuid.uuid4().hex}{place.suffix}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        if place.exists():
            shutil.copymode(place, temporary)
        temporary.replace(place)
    except OSError as error:
        raise OSError(f"cannot write '{path}': {one_line(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises OSError if `path` cannot be written, which is better known before a long run than after it."""
    place = Path(path).resolve()
    if place.exists() and not place.is_file():
        raise OSError(f"cannot write '{path}': it exists and is not a regular file")
    try:
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.stem}-"):
            pass
    except OSError as error:
        raise OSError(f"cannot write '{path}': {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What an error says, without the system's number and without further lines."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
