"""Label maps, pictures whose pixels are class indices: reading them, and pairing folders of targets and predictions."""

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

# Pillow's modes with one integer per pixel.
_LABEL_MODES = {"P": np.uint8, "L": np.uint8, "1": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.int32}


def read_label_map(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a label map (H, W): the grey levels of a picture, the indices of a palette picture, or a ``.npy`` array.

    EXIF orientation is applied, as in :func:`pydlx.files.read_image`.

    Args:
        path: The file: PNG, TIFF, BMP, GIF or ``.npy``.

    Returns:
        (H, W) uint8, uint16 or int32; for ``.npy`` files of their own integer type.

    Raises:
        ValueError: If the file holds colours or floating-point numbers, or has a lossy format (JPEG, WebP).
        OSError: If the file is missing, cannot be read, is cut short or holds no picture.
        ImportError: If Pillow is not installed (``pip install "pydlx[images]"``).

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
    except Exception as error:  # decoders raise many kinds of errors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(f"read_label_map: cannot read '{path}' as a label map: {reason}") from error
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise _NotLabelsError(
            f"read_label_map: '{path}' must hold whole numbers (H, W), got {labels.dtype} of shape {labels.shape}"
        )
    return labels


class _NotLabelsError(ValueError):
    """A file that can be read but holds no labels."""


def _read_picture(path: Path) -> np.ndarray:
    with needed_for("reading label maps", extra="images"):
        from PIL import Image, ImageOps
    with path.open("rb") as stream, Image.open(stream) as picture:  # from a stream, see `pydlx.files`
        if picture.format in ("JPEG", "WEBP"):
            raise _NotLabelsError(f"read_label_map: '{path}' is a {picture.format}, which does not keep labels exactly")
        if picture.mode not in _LABEL_MODES:
            raise _NotLabelsError(
                f"read_label_map: '{path}' must be a grey or palette picture of class numbers, got {picture.mode}"
            )
        labels = np.array(ImageOps.exif_transpose(picture)).astype(_LABEL_MODES[picture.mode], copy=False)
        return labels // _grey_step(path) if picture.mode == "L" else labels


def _grey_step(path: Path) -> int:
    """Return the step by which Pillow scales grey levels of PNG files of 2 or 4 bits, to fill 0 to 255; otherwise 1."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[25] == 0:
        return {2: 85, 4: 17}.get(head[24], 1)
    return 1


class LabelMapPairs(Sequence[tuple[str, np.ndarray, np.ndarray]]):
    """Label maps of two folders, targets and predictions, paired by file names without suffix and sorted by name.

    Items are (name, truth, prediction), read on access; truth and prediction are (H, W), see :func:`read_label_map`.

    Args:
        truth: Folder of target label maps; hidden files and files with other suffixes are ignored.
        prediction: Folder with exactly one label map for each of them.

    Raises:
        FileNotFoundError: If a folder is missing or holds no label map, or a file has no partner.
        ValueError: If two files of a folder have the same name; on access, if truth and prediction differ in size.
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
