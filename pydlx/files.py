"""Reading and writing pictures, without losing depth.

8-bit files go through Pillow, 16-bit PNG and TIFF through imagecodecs (Pillow would quietly cut their colours to 8
bit), and ``.npy`` holds floating pictures of any range. Both libraries come with ``pip install "pydlx[images]"``.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from pydlx._checks import check_path, check_type


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a picture as (H, W) or (H, W, C): uint8, uint16, or whatever a ``.npy`` file holds.

    Palettes become colours, black-and-white becomes 0 and 255, CMYK becomes RGB; a camera's rotation mark is applied.

    Raises:
        OSError: the file is missing, cannot be read, is cut short or holds no picture.
        ImportError: the library that the format needs is not installed.
    """
    check_path("read_image", "path", path)
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        deep = _read_deep(path)
        return _read_with_pillow(path) if deep is None else deep
    except ImportError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"read_image: no such file: '{path}'") from None
    except Exception as error:  # decoders raise all sorts: struct.error, SyntaxError, their own classes
        raise OSError(f"read_image: cannot read '{path}' as a picture: {_one_line(error)}") from error


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes a picture (H, W) or (H, W, C), replacing the file as a whole or not at all.

    uint8 goes to any format Pillow writes, uint16 to ``.png``, floats to ``.npy``.

    Raises:
        ValueError: the format cannot hold pictures of this dtype or number of channels, or the suffix is unknown.
        OSError: the file cannot be written; what stood there before is untouched.
    """
    check_path("write_image", "path", path)
    check_type("write_image", "image", image, np.ndarray, "a NumPy array")
    if image.dtype.kind not in "biuf":
        raise TypeError(f"write_image: image must hold real numbers, got {image.dtype}")
    place = Path(path)
    try:
        with replacing(place) as temporary, temporary.open("wb") as stream:
            _encode(stream, place, image)
    except OSError as error:
        raise OSError(f"write_image: {error}") from error


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
        raise OSError(f"cannot write '{path}': {_one_line(error)}") from error
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
        raise OSError(f"cannot write '{path}': {_one_line(error)}") from error


def _read_deep(path: Path) -> np.ndarray | None:
    """Decodes a file with more than 8 bits a channel; None where it has no more, or is another format."""
    with path.open("rb") as stream:
        head = stream.read(26)
    # PNG: the header chunk comes first and keeps the bit depth at byte 24.
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 26 and head[24] == 16:
        return _import("imagecodecs").png_decode(path.read_bytes())
    if head.startswith((b"II*\0", b"MM\0*")):
        image = _import("imagecodecs").tiff_decode(path.read_bytes())
        return image if image.dtype.itemsize > 1 and image.ndim <= 3 else None
    return None


def _read_with_pillow(path: Path) -> np.ndarray:
    pillow = _import("PIL.Image")
    with pillow.open(path) as picture:
        picture.load()
        picture = _import("PIL.ImageOps").exif_transpose(picture)
    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode == "P" or "transparency" in picture.info:
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode not in ("L", "LA", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    return np.array(picture)


def _encode(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        np.save(stream, image, allow_pickle=False)
    elif image.dtype == np.uint16 and suffix == ".png":
        stream.write(_import("imagecodecs").png_encode(image))
    elif image.dtype == np.uint8:
        _encode_with_pillow(stream, path, image)
    else:
        raise ValueError(
            f"write_image: '{path}' cannot hold {image.dtype} pictures; uint8 goes to any format, uint16 to .png, "
            "floats to .npy"
        )


def _encode_with_pillow(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    pillow = _import("PIL.Image")
    formats = pillow.registered_extensions()
    name = formats.get(path.suffix.lower())
    if name not in pillow.SAVE:
        raise ValueError(f"write_image: '{path}' has no suffix of a picture format that can be written, such as .png")
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    options = {"quality": 95} if name in ("JPEG", "WEBP") else {}
    try:
        pillow.fromarray(image).save(stream, format=name, **options)
    except (TypeError, OSError) as error:
        # Pillow says so where a format has no such channels, e.g. RGBA in JPEG; a full disk keeps its error number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"write_image: '{path}' cannot hold a picture of shape {image.shape}: {error}") from error


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = {"PIL": "Pillow"}.get(name.partition(".")[0], name)
        raise ImportError(f'pictures of this format need {library}: pip install "pydlx[images]"') from error


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
