"""A folder of photographs of any size and format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pydlx._checks import check_flag, check_path
from pydlx.data.annotations import warn_of
from pydlx.data.pairs import PICTURES
from pydlx.files import read_rgb


class Photographs(Sequence[np.ndarray]):
    """The pictures in a folder and its subfolders, each (H, W, 3) uint8, in the order of their paths.

    Pictures are read on access. Grey ones get three equal channels, alpha channels are dropped. Hidden files and files
    with other suffixes are ignored. Pictures that cannot be read, or have more than 8 bits, are skipped with a warning.

    Args:
        folder: The folder.
        check: Whether to read every picture once at the beginning, to find those that cannot be read. Otherwise such a
            picture raises an error on access.

    Attributes:
        folder: The folder.
        paths: Paths of the pictures.
        skipped: Paths of pictures that cannot be read, each with the reason.

    Raises:
        FileNotFoundError: If the folder is missing or holds no picture.
        OSError: If none of its pictures can be read.
    """

    def __init__(self, folder: str | os.PathLike[str], *, check: bool = True) -> None:
        check_path("Photographs", "folder", folder)
        check_flag("Photographs", "check", check)
        self.folder = Path(folder)
        found = _pictures(self.folder)
        self.skipped = _unreadable(found) if check else {}
        self.paths = [path for path in found if path not in self.skipped]
        if not self.paths:
            path, reason = next(iter(self.skipped.items()))
            raise OSError(
                f"Photographs: folder must hold pictures of 8 bits, got {len(found)} in '{folder}' that cannot be "
                f"read, the first '{path.name}': {reason}"
            )
        names = [path.relative_to(self.folder).as_posix() for path in self.skipped]
        warn_of(len(names), f"pictures of '{folder}' cannot be read and are skipped", names, "files")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        return read_rgb(self.paths[index])


def _pictures(folder: Path) -> list[Path]:
    """Return the files below a folder that have a picture's suffix."""
    if not folder.is_dir():
        raise FileNotFoundError(f"Photographs: no such folder: '{folder}'")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise FileNotFoundError(f"Photographs: '{folder}' holds no files of the kind {', '.join(PICTURES)}")
    return files


def _unreadable(paths: list[Path]) -> dict[Path, str]:
    """Return the pictures that cannot be read, each with the reason."""
    reasons = {}
    for path in paths:
        try:
            read_rgb(path)
        except (OSError, ValueError) as error:
            reasons[path] = str(error)
    return reasons
