"""Files and texts that commands read, by name or from standard input."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydlx.cli.options import STANDARD

DATA_SUFFIXES = (".json", ".jsonl", ".tsv")
_FILE_NAME = re.compile(r"\S+\.[A-Za-z]{1,4}")  # such as article.txt, which is no text
_GZIP = b"\x1f\x8b"


def check_file(path: str | os.PathLike[str], argument: str, or_folder: bool = False) -> None:
    """Requires that a file, or a pipe, is there, and that a file is not empty.

    Args:
        path: of the file.
        argument: its name on the command line.
        or_folder: whether a folder will do.

    Raises:
        OSError: nothing is there, or a folder where none will do; the message begins with the argument.
        ValueError: the file is empty.
    """
    place = Path(path)
    if not _exists(place):
        raise FileNotFoundError(f"{argument}: no such file{' or folder' if or_folder else ''}: '{path}'")
    if place.is_dir() and not or_folder:
        raise IsADirectoryError(f"{argument}: must be a file, got the folder '{path}'")
    if place.is_file() and place.stat().st_size == 0:
        raise ValueError(f"{argument}: the file '{path}' is empty")


def check_checkpoint(path: Path) -> None:
    """Requires a file for ``--checkpoint``. Of a folder load_model says which of its files may have been meant."""
    if not path.is_dir():
        check_file(path, "--checkpoint")


def check_folder_there(path: str | os.PathLike[str], argument: str) -> None:
    """Requires that a folder is there.

    Raises:
        OSError: there is none; the message begins with the argument.
    """
    place = Path(path)
    if not _exists(place):
        raise FileNotFoundError(f"{argument}: no such folder: '{path}'")
    if not place.is_dir():
        raise NotADirectoryError(f"{argument}: must be a folder, got the file '{path}'")


@contextmanager
def standard_input(argument: str, suffix: str = ".json") -> Iterator[str]:
    """The name of a file with what standard input holds, for readers that take a file.

    Args:
        argument: for which ``-`` was given; errors of the block name it in place of that file.
        suffix: of the file, for readers that go by it.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, f"stdin{suffix}")
        with place.open("wb") as stream:
            source = getattr(sys.stdin, "buffer", None)
            if source is None:  # replaced by a stream of text
                stream.write(sys.stdin.read().encode())
            else:
                shutil.copyfileobj(source, stream)
        with place.open("rb") as stream:
            if stream.read(2) == _GZIP:
                place = place.rename(f"{place}.gz")
        try:
            yield str(place)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{argument}: {_named_again(error, place)}") from error


def given_text(given: str, argument: str) -> str:
    """What the file or pipe of this name holds, if there is one, standard input for ``-``, or the words themselves.

    Raises:
        OSError: what looks like a file's name is none, or is that of a folder, or the file cannot be read.
        ValueError: the file is not UTF-8; the message begins with the argument.
    """
    if given == STANDARD:
        return sys.stdin.read()
    place = Path(given)
    if not _exists(place):
        if _FILE_NAME.fullmatch(given):
            raise FileNotFoundError(f"{argument}: no such file: '{given}'")
        return given
    if place.is_dir():
        raise IsADirectoryError(f"{argument}: must be a text or a file, got the folder '{given}'")
    try:
        return place.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{argument}: '{given}' must be UTF-8, got other bytes at {error.start}") from None


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError):  # too long for a name, or with a character that names cannot hold
        return False


def _named_again(error: Exception, place: Path) -> str:
    text = str(error).replace(f"'{place}'", "standard input").replace(str(place), "standard input")
    return text.replace("standard input: standard input", "standard input")
