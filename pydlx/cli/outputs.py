"""What commands write: files whole or not at all, JSON, and the words that say what was written where."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydlx.cli.options import STANDARD
from pydlx.cli.progress import is_quiet, wipe


def say(text: str, stream: Any = None) -> None:
    """Says what was written where, unless ``--quiet`` was given; on standard output by default."""
    if not is_quiet():
        print(text, file=stream or sys.stdout)


def check_outputs(outputs: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> None:
    """Refuses before the work what would fail, or destroy something, after it.

    Args:
        outputs: the file of each option, None where it was not given.
        inputs: the file that each argument reads, which must not be written over.

    Raises:
        OSError: a file cannot be written; the message begins with the option.
        ValueError: a file is also read, or written twice.
    """
    from pydlx.figures import check_figure_path
    from pydlx.files import check_writable

    given = {} if inputs is None else inputs
    taken = {_resolved(path): argument for argument, path in given.items() if path not in (None, STANDARD)}
    for option, path in outputs.items():
        if path is None or str(path) == STANDARD:
            continue
        if (other := taken.setdefault(_resolved(path), option)) != option:
            raise ValueError(f"{option} must be another file than {other}, got '{path}'")
        try:
            if option.startswith("--plot"):
                check_figure_path(path)
            else:
                check_writable(path)
        except (OSError, ValueError) as error:
            raise type(error)(f"{option}: {error}") from error


def check_folder(path: Path, option: str) -> None:
    """Refuses a folder that cannot be made because a file is in its place.

    Raises:
        OSError: the message begins with the option.
    """
    place = next(place for place in (path, *path.absolute().parents) if place.exists() or place.is_symlink())
    if not place.is_dir():
        raise NotADirectoryError(f"{option}: must be a folder, but '{place}' is a file")
    if not os.access(place, os.W_OK):
        raise PermissionError(f"{option}: the folder '{place}' cannot be written to")


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Where to write a file: the path itself, or one whose content goes to standard output, for ``-``."""
    if str(path) != STANDARD:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "stdout.json")
        yield place
        with place.open(encoding="utf-8") as stream:
            wipe()
            shutil.copyfileobj(stream, sys.stdout)


def words_beside(path: Path) -> Any:
    """Where words about an output go: to stderr where standard output is taken by it."""
    return sys.stderr if str(path) == STANDARD else sys.stdout


def give_json(place: str | None, content: Any) -> bool:
    """Prints or writes what ``--json`` asks for; True where that takes the place of tables.

    NaN and infinity, which JSON does not have, become null.
    """
    if place is None:
        return False
    text = json.dumps(_jsonable(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if place == STANDARD:
        sys.stdout.write(text)
        return True
    write_text(Path(place), text)
    return False


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file as a whole."""
    from pydlx.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _resolved(path: Any) -> Path:
    return Path(path).resolve()
