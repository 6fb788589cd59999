"""Label maps in files: pictures whose pixels are class numbers, and folders of truths and predictions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pydlx._checks import check_path
from pydlx._optional import needed_for
from pydlx.data.pairs import paired_files

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".npy")

# Pillow's modes of one whole number per pixel.
_LABEL_MODES = {"P": np.uint8, "L": np.uint8, "1": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.int32}


def read_label_map(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a label map (H, W): the grey levels of a picture, the indices of one with a palette, or a ``.npy`` file.

    The orientation that a file notes is applied, as :func:`pydlx.files.read_image` does.

    Returns:
        uint8, uint16 or int32; of a ``.npy`` file the integer type it holds.

    Raises:
        ValueError: the file holds colours or fractions, or a format that changes labels (JPEG).
        OSError: the file is missing, cannot be read, is cut short or holds no picture.
        ImportError: Pillow is not installed (``pip install "pydlx[images]"``).

    Example:
        >>> read_label_map("truth/frame_0001.png").max()  # doctest: +SKIP
        18
    """
    check_path("read_label_map", "path", path)
    path = Path(path)
    try:
        labels = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _read_picture(path)
    except (ImportError, _NotLabelsError):
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"read_label_map: no such file: '{path}'") from None
    except Exception as error:  # decoders raise all sorts
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(f"read_label_map: cannot read '{path}' as a label map: {reason}") from error
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise _NotLabelsError(
            f"read_label_map: '{path}' must hold whole numbers (H, W), got {labels.dtype} of shape {labels.shape}"
        )
    return labels


class _NotLabelsError(ValueError):
    """A file that can be read, but holds no labels."""


def _read_picture(path: Path) -> np.ndarray:
    with needed_for("reading label maps", extra="images"):
        from PIL import Image, ImageOps
    with path.open("rb") as stream, Image.open(stream) as picture:  # not by name, see `pydlx.files`
        if picture.format in ("JPEG", "WEBP"):
            raise _NotLabelsError(f"read_label_map: '{path}' is a {picture.format}, which does not keep labels exactly")
        if picture.mode not in _LABEL_MODES:
            raise _NotLabelsError(
                f"read_label_map: '{path}' must be a grey or palette picture of class numbers, got {picture.mode}"
            )
        labels = np.array(ImageOps.exif_transpose(picture)).astype(_LABEL_MODES[picture.mode], copy=False)
        return labels // _grey_step(path) if picture.mode == "L" else labels


def _grey_step(path: Path) -> int:
    """How far apart Pillow puts the grey levels of PNG files of 2 and 4 bits, which it stretches to 0 .. 255."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[25] == 0:
        return {2: 85, 4: 17}.get(head[24], 1)
    return 1


class LabelMapPairs(Sequence[tuple[str, np.ndarray, np.ndarray]]):
    """Truths and predictions in two folders, paired by the files' names without suffix, in the order of these names.

    Items are (name, truth, prediction), read when they are asked for; truth and prediction are (H, W), see
    :func:`read_label_map`.

    Args:
        truth: folder of label maps; files of other kinds and hidden ones are passed over.
        prediction: folder with a label map for each of them, and no others.

    Raises:
        FileNotFoundError: a folder does not exist or holds no label map, or a file has no partner.
        ValueError: two files of a folder have one name; on reading, if a truth and its prediction differ in size.
    """

    def __init__(self, truth: str | os.PathLike[str], prediction: str | os.PathLike[str]) -> None:
        check_path("LabelMapPairs", "truth", truth)
        check_path("LabelMapPairs", "prediction", prediction)
        self.paths = paired_files(truth, prediction, SUFFIXES)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        name, truth_path, prediction_path = self.paths[index]
        truth, prediction = read_label_map(truth_path), read_label_map(prediction_path)
        if truth.shape != prediction.shape:
            raise ValueError(
                f"LabelMapPairs: '{prediction_path}' must have the size of '{truth_path}', {truth.shape}, "
                f"got {prediction.shape}"
            )
        return name, truth, prediction

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        return (self[index] for index in range(len(self)))
