"""Pairing of the files of two folders by their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".npy")


def paired_files(
    truth: str | os.PathLike[str], prediction: str | os.PathLike[str], suffixes: Sequence[str]
) -> list[tuple[str, Path, Path]]:
    """Pair the files of two folders by their names without suffix.

    Args:
        truth: A folder; hidden files and files with other suffixes are ignored.
        prediction: A folder with exactly one partner for each of them.
        suffixes: Suffixes of the files, in lower case.

    Returns:
        Tuples (name, truth, prediction), sorted by name.

    Raises:
        FileNotFoundError: If a folder is missing or holds no such file, or a file has no partner.
        ValueError: If two files of a folder have the same name.
    """
    truths, predictions = _files(truth, suffixes), _files(prediction, suffixes)
    for name in sorted(truths.keys() ^ predictions.keys()):
        path, other = (truths[name], prediction) if name in truths else (predictions[name], truth)
        raise FileNotFoundError(f"'{path}' has no partner in '{other}'")
    return [(name, truths[name], predictions[name]) for name in sorted(truths)]


def _files(folder: str | os.PathLike[str], suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder by name without suffix."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"no such folder: '{folder}'")
    found: dict[str, Path] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise ValueError(f"'{found[path.stem]}' and '{path.name}' have the same name")
        found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"'{folder}' holds no files of the kind {', '.join(suffixes)}")
    return found
