"""Texts that are given on the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DATA_SUFFIXES = (".json", ".jsonl", ".tsv")
_FILE_NAME = re.compile(r"\S+\.[A-Za-z]{1,4}")  # such as article.txt, which is no text


def given_text(given: str, option: str) -> str:
    """What the file or pipe of this name holds, if there is one, standard input for ``-``, or the words themselves.

    Raises:
        OSError: What looks like a file's name is none, or is that of a folder, or the file cannot be read.
        ValueError: The file is not UTF-8; the message begins with the option.
    """
    if given == "-":
        return sys.stdin.read()
    try:
        is_file, is_folder = Path(given).exists(), Path(given).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a character that names cannot hold
        is_file = is_folder = False
    if is_folder:
        raise IsADirectoryError(f"{option}: must be a text or a file, got the folder '{given}'")
    if not is_file:
        if _FILE_NAME.fullmatch(given):
            raise FileNotFoundError(f"{option}: no such file: '{given}'")
        return given
    try:
        return Path(given).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{option}: '{given}' must be UTF-8, got other bytes at {error.start}") from None
