"""Data sets of images with or without a class: CIFAR-10's and STL-10's binary files, and folders of photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pydlx._checks import check_flag, check_one_of, check_path
from pydlx.data.photographs import Photographs

_CIFAR_RECORD = np.dtype([("label", "u1"), ("pixels", "u1", (3, 32, 32))])
_STL_SHAPE = (3, 96, 96)  # of a picture in the file, stored column by column

# Files of pictures and labels of STL-10's splits. "unlabeled" has 100,000 pictures.
_STL_FILES = {
    "train": ("train_X.bin", "train_y.bin"),
    "test": ("test_X.bin", "test_y.bin"),
    "unlabeled": ("unlabeled_X.bin", None),
}


class ClassifiedImage(NamedTuple):
    """An image and its class."""

    image: np.ndarray  # (H, W, 3) uint8
    label: int | None  # index of class_names; None if the data set has no classes


class ImageSet(Sequence[ClassifiedImage]):
    """Images mapped from files, with labels in memory; returned by `cifar10` and `stl10`.

    Attributes:
        class_names: Names of the classes.
        labels: (N,) int64, or None.
    """

    def __init__(
        self, parts: list[np.ndarray], labels: np.ndarray | None, class_names: Sequence[str], *, transposed: bool
    ) -> None:
        self.class_names, self.labels = tuple(class_names), labels
        self._parts, self._transposed = parts, transposed
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> ClassifiedImage:  # type: ignore[override]
        place = range(len(self))[index]
        part = int(np.searchsorted(self._ends, place, "right"))
        planes = self._parts[part][place - int(self._ends[part])]
        image = planes.transpose(2, 1, 0) if self._transposed else planes.transpose(1, 2, 0)
        return ClassifiedImage(np.ascontiguousarray(image), None if self.labels is None else int(self.labels[place]))


class PhotographFolders(Sequence[ClassifiedImage]):
    """Photographs in one subfolder per class; without subfolders they have no classes.

    The classes are the topmost subfolders in alphabetical order.

    Args:
        folder: The folder.
        check: See `Photographs`.

    Attributes:
        photographs: The pictures without their classes.
        class_names: Names of the classes; empty without subfolders.
        labels: (N,) int64, or None without subfolders.

    Raises:
        FileNotFoundError: See `Photographs`.
        OSError: See `Photographs`.
        ValueError: If some pictures are in subfolders and others are not.
    """

    def __init__(self, folder: str | os.PathLike[str], *, check: bool = True) -> None:
        check_path("PhotographFolders", "folder", folder)
        check_flag("PhotographFolders", "check", check)
        self.photographs = Photographs(folder, check=check)
        places = [path.relative_to(folder).parts for path in self.photographs.paths]
        loose = [parts for parts in places if len(parts) == 1]
        if loose and len(loose) < len(places):
            raise ValueError(
                f"PhotographFolders: folder must have all pictures in subfolders or none, got {len(loose)} of "
                f"{len(places)} in '{folder}' itself, the first '{loose[0][0]}'"
            )
        names = [] if loose else [parts[0] for parts in places]
        self.class_names = tuple(sorted(set(names)))
        self.labels = np.array([self.class_names.index(name) for name in names], np.int64) if names else None

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> ClassifiedImage:  # type: ignore[override]
        return ClassifiedImage(self.photographs[index], None if self.labels is None else int(self.labels[index]))


def cifar10(folder: str | os.PathLike[str], split: str) -> ImageSet:
    """Open CIFAR-10 in its binary version: 32 x 32 pixels, 10 classes. The pictures are mapped, not read into memory.

    Args:
        folder: Holds ``data_batch_1.bin`` to ``data_batch_5.bin`` (or some of these), ``test_batch.bin`` and
            ``batches.meta.txt``.
        split: ``"train"`` or ``"test"``.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file's length is no multiple of a record's, or a label is no class.
    """
    check_path("cifar10", "folder", folder)
    check_one_of("cifar10", "split", split, ("train", "test"))
    paths = sorted(Path(folder).glob("data_batch_*.bin" if split == "train" else "test_batch.bin"))
    if not paths:
        wanted = "data_batch_*.bin" if split == "train" else "test_batch.bin"
        raise FileNotFoundError(f"cifar10: '{folder}' holds no {wanted}")
    names = _class_names("cifar10", Path(folder) / "batches.meta.txt")
    records = [_mapped("cifar10", path, _CIFAR_RECORD) for path in paths]
    for path, part in zip(paths, records, strict=True):
        _check_labels("cifar10", path, part["label"], 0, len(names) - 1)
    labels = np.concatenate([part["label"] for part in records]).astype(np.int64)
    return ImageSet([part["pixels"] for part in records], labels, names, transposed=False)


def stl10(folder: str | os.PathLike[str], split: str) -> ImageSet:
    """Open STL-10 in its binary version: 96 x 96 pixels, 10 classes. The pictures are mapped, not read into memory.

    Labels are from 1 to 10 in the files and from 0 to 9 here.

    Args:
        folder: Holds ``class_names.txt`` and the split's files, such as ``train_X.bin`` and ``train_y.bin``.
        split: ``"train"``, ``"test"`` or ``"unlabeled"``.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file's length is no multiple of a picture's, the numbers of labels and pictures differ, or a
            label is no class.
    """
    check_path("stl10", "folder", folder)
    check_one_of("stl10", "split", split, tuple(_STL_FILES))
    pictures, answers = _STL_FILES[split]
    images = _mapped("stl10", Path(folder) / pictures, np.dtype(("u1", _STL_SHAPE)))
    names = _class_names("stl10", Path(folder) / "class_names.txt")
    if answers is None:
        return ImageSet([images], None, (), transposed=True)
    path = Path(folder) / answers
    labels = _mapped("stl10", path, np.dtype("u1"))
    if len(labels) != len(images):
        raise ValueError(f"stl10: '{path}' must hold a label for each of {len(images)} pictures, got {len(labels)}")
    _check_labels("stl10", path, labels, 1, len(names))
    return ImageSet([images], labels.astype(np.int64) - 1, names, transposed=True)


def _mapped(name: str, path: Path, record: np.dtype) -> np.ndarray:
    """Map a file of records into memory, after checking that its length is a multiple of a record's."""
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such file: '{path}'")
    length = path.stat().st_size
    if not length or length % record.itemsize:
        raise ValueError(f"{name}: '{path}' must hold whole records of {record.itemsize} bytes, got {length} bytes")
    return np.memmap(path, record.base, "r", shape=(length // record.itemsize, *record.shape))


def _class_names(name: str, path: Path) -> list[str]:
    """Read the names of the classes, one per line."""
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no such file: '{path}'")
    names = path.read_text().split()
    if not names:
        raise ValueError(f"{name}: '{path}' must hold the names of classes, one in a line, got none")
    return names


def _check_labels(name: str, path: Path, labels: np.ndarray, least: int, most: int) -> None:
    wrong = np.flatnonzero((labels < least) | (labels > most))
    if len(wrong):
        raise ValueError(
            f"{name}: '{path}' must hold labels from {least} to {most}, got {labels[wrong[0]]} of picture {wrong[0]}"
        )
