"""A folder of photographs, of any sizes and formats."""

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

    Items are read when they are asked for. Grey pictures become three equal channels, an alpha channel is left out.
    Files that are no pictures by their suffix and hidden ones are passed over. Pictures that cannot be read, or have
    more than 8 bits, are skipped; a warning counts them and names the first.

    Args:
        folder: The folder.
        check: Whether to read every picture once at the beginning, to find those that cannot be read. Without, such a
            picture is an error when it is asked for.

    Attributes:
        folder: The folder.
        paths: Of the pictures.
        skipped: Paths of those that cannot be read, each with the reason.

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no picture.
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
    """The files below a folder that are pictures by their suffix."""
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
    """Those that cannot be read, and why."""
    reasons = {}
    for path in paths:
        try:
            read_rgb(path)
        except (OSError, ValueError) as error:
            reasons[path] = str(error)
    return reasons
