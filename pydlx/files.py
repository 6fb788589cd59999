"""Reading and writing pictures, without losing depth.

8-bit files go through Pillow. It would quietly cut deeper ones to 8 bits, so TIFF goes through tifffile, 16-bit PNG and
JPEG 2000 through imagecodecs, PPM and PAM through netpbmfile; ``.npy`` holds floating pictures of any range. The
libraries come with ``pip install "pydlx[images]"``.
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
from pydlx._optional import needed_for

# How files begin.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # in both byte orders, with 32-bit and 64-bit offsets
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # in a file of boxes, and bare
_COLOUR_NETPBM = (b"P3", b"P6", b"P7")


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a picture as (H, W) or (H, W, C): uint8, uint16, or whatever a TIFF or ``.npy`` file holds.

    TIFF, PNG, JPEG 2000 and Netpbm files keep their depth, other formats are read as 8 bits. Channels of 9 to 15 bits
    come as uint16 with the numbers in the file, those of Netpbm files stretched to the full range.

    Palettes become colours, black-and-white becomes 0 and 255, CMYK of 8 bits becomes RGB. Of several pages or frames
    the first is read. The orientation that a file notes is applied, in every format and at every depth.

    Raises:
        OSError: the file is missing, cannot be read, is cut short or holds no picture.
        ImportError: the library that the format needs is not installed.
    """
    check_path("read_image", "path", path)
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        return _read_pixels(path)
    except ImportError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"read_image: no such file: '{path}'") from None
    except Exception as error:  # decoders raise all sorts: struct.error, SyntaxError, their own classes
        raise OSError(f"read_image: cannot read '{path}' as a picture: {_one_line(error)}") from error


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a picture of 8 bits as (H, W, 3) uint8: grey becomes three equal channels, alpha is left out.

    Raises:
        OSError: as :func:`read_image`.
        ValueError: the picture has more than 8 bits.
    """
    image = read_image(path)
    if image.dtype != np.uint8:
        raise ValueError(f"read_rgb: '{path}' must be a picture of 8 bits, got {image.dtype}")
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] < 3:  # grey, or grey with alpha
        image = np.repeat(image[..., :1], 3, 2)
    return np.ascontiguousarray(image[..., :3])


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


def _read_pixels(path: Path) -> np.ndarray:
    """Decodes with Pillow what has 8 bits or fewer, and what Pillow would cut to 8 bits with libraries that do not."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_TIFF):
        deep = _read_deep_tiff(path)
        return _read_with_pillow(path) if deep is None else deep
    if head.startswith(_PNG) and head[24:25] == b"\x10":  # bits per channel
        return _upright(_imagecodecs().png_decode(path.read_bytes()), _orientation(path))
    if head.startswith(_JPEG_2000):
        return _imagecodecs().jpeg2k_decode(path.read_bytes())
    if head.startswith(_COLOUR_NETPBM):
        return _read_netpbm(path)
    return _read_with_pillow(path)


def _read_deep_tiff(path: Path) -> np.ndarray | None:
    """The first page of a TIFF with more than 8 bits per channel; None where it has no more."""
    with needed_for("reading TIFF", extra="images"):
        import tifffile
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.bitspersample <= 8:
            return None
        colours = tifffile.PHOTOMETRIC(page.photometric)
        if colours not in (colours.MINISWHITE, colours.MINISBLACK, colours.RGB):
            raise ValueError(f"its colours are {colours.name} of {page.bitspersample} bits, not grey or RGB")
        pixels, axes, orientation = page.asarray(), page.axes, page.tags.valueof("Orientation", 1)
    if axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"its axes are {axes}, not those of one picture")
    if axes == "SYX":  # one plane for each channel
        pixels = np.moveaxis(pixels, 0, -1)
    if colours == colours.MINISWHITE:
        pixels = (1 if pixels.dtype.kind == "f" else 2**page.bitspersample - 1) - pixels
    return _upright(pixels, orientation)


def _read_netpbm(path: Path) -> np.ndarray:
    with needed_for("reading PPM and PAM", extra="images"):
        import netpbmfile
    with netpbmfile.NetpbmFile(path) as file:
        pixels, white = file.asarray(), file.maxval
    brightest = 255 if white <= 255 else 65535
    return np.rint(pixels * (brightest / white)).astype(np.uint8 if brightest == 255 else np.uint16)


def _read_with_pillow(path: Path) -> np.ndarray:
    pillow = _pillow("Image")
    # From a stream: opened by name, an uncompressed TIFF would be mapped into memory, which Pillow 13 gets wrong where
    # the picture has to be turned by a quarter.
    with path.open("rb") as stream, pillow.open(stream) as picture:
        picture.load()
        kind = picture.format
        picture = _pillow("ImageOps").exif_transpose(picture)
    if picture.mode == "I" and kind == "PPM":  # 16-bit grey
        return np.array(picture).astype(np.uint16)
    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode == "P" or "transparency" in picture.info:
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode not in ("L", "LA", "RGB", "RGBA", "I", "F") and not picture.mode.startswith("I;16"):
        picture = picture.convert("RGB")
    return np.array(picture)


def _orientation(path: Path) -> int:
    """The orientation that the file notes as EXIF does, 1 for upright."""
    with _pillow("Image").open(path) as picture:
        return picture.getexif().get(0x0112, 1)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors pixels as a number from 1 to 8 asks for, with the meaning it has in EXIF and TIFF."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = -1 if orientation in (3, 4, 7, 8) else 1, -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _encode(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        np.save(stream, image, allow_pickle=False)
    elif image.dtype == np.uint16 and suffix == ".png":
        stream.write(_imagecodecs().png_encode(image))
    elif image.dtype == np.uint8:
        _encode_with_pillow(stream, path, image)
    else:
        raise ValueError(
            f"write_image: '{path}' cannot hold {image.dtype} pictures; uint8 goes to any format, uint16 to .png, "
            "floats to .npy"
        )


def _encode_with_pillow(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    pillow = _pillow("Image")
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


def _pillow(part: str) -> ModuleType:
    with needed_for("reading and writing pictures", extra="images"):
        return importlib.import_module(f"PIL.{part}")


def _imagecodecs() -> ModuleType:
    with needed_for("reading and writing pictures of 16 bits", extra="images"):
        return importlib.import_module("imagecodecs")


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
