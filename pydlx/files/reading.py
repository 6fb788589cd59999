"""Reading pictures without losing depth or colours.

8-bit files go through Pillow. It would quietly cut deeper ones to 8 bits, so TIFF goes through tifffile, 16-bit PNG and
JPEG 2000 through imagecodecs, PPM and PAM through netpbmfile; ``.npy`` holds floating pictures of any range. The
libraries come with ``pip install "pydlx[images]"``.
"""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pydlx._checks import check_flag, check_path
from pydlx._optional import needed_for
from pydlx.files.colours import ImageWarning, ProfileError, convert, describe, imagecodecs, is_srgb, pillow
from pydlx.files.replacing import one_line

# How files begin.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # in both byte orders, with 32-bit and 64-bit offsets
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # in a file of boxes, and bare
_COLOUR_NETPBM = (b"P3", b"P6", b"P7")
_NUMPY = b"\x93NUMPY"

_UNSIGNED = 1  # TIFF's SampleFormat
_PREMULTIPLIED = 1  # TIFF's ExtraSamples
_PLANES = 2  # TIFF's PlanarConfiguration: channel after channel
_DISPLAY_GAMMA = 1 / 2.2  # what PNG's gAMA says of ordinary pictures


@dataclass
class _Picture:
    """Pixels as they are in the file, what defines their colours, and what the reader has to say."""

    pixels: np.ndarray
    profile: bytes | None = None
    notes: list[str] = field(default_factory=list)


def read_image(path: str | os.PathLike[str] | BinaryIO, *, to_srgb: bool = True) -> np.ndarray:
    """Reads a picture as (H, W) or (H, W, C): uint8, uint16, or whatever a TIFF or ``.npy`` file holds.

    Depth: TIFF, PNG, JPEG 2000 and Netpbm files keep theirs, other formats are read as 8 bits. Channels of 9 to 15 bits
    come as uint16 with the numbers in the file, those of Netpbm files stretched to the full range.

    Layout: palettes and transparent colours become channels, black-and-white becomes 0 and 255, premultiplied alpha is
    taken out of the colours. Of several pages or frames the first is read. The orientation that a file notes is
    applied, in every format and at every depth.

    Colours: those of a profile (ICC) other than sRGB's are converted to sRGB at 8 and 16 bits; CMYK and L*a*b* of 8
    bits become RGB. Each such picture brings an `ImageWarning`. So do two that are left as they are: floating pictures
    with a profile, and PNG files that state another gamma.

    Args:
        path: of the file, or an open binary file that can seek; it is read from its beginning.
        to_srgb: False leaves the numbers as they are in the file whatever its profile, without a word: for masks, depth
            and the like.

    Raises:
        OSError: the file is missing, cannot be read, is cut short or holds no picture; or one that has no agreed
            meaning as grey or RGB: CMYK and L*a*b* of more than 8 bits, JPEG 2000 in other colours than sRGB and
            grey, complex numbers, volumes of more than 8 bits.
        ImportError: the library that the format needs is not installed.
    """
    check_flag("read_image", "to_srgb", to_srgb)
    name, picture = _read(path)
    if not to_srgb:
        return picture.pixels
    pixels = _srgb_pixels(picture)
    for note in picture.notes:
        warnings.warn(f"read_image: '{name}': {note}", ImageWarning, stacklevel=2)
    return pixels


def read_rgb(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a picture of 8 bits as (H, W, 3) uint8 in sRGB: grey becomes three equal channels, alpha is left out.

    Colours are converted as by `read_image`, without a warning for every picture of a data set.

    Raises:
        OSError: as :func:`read_image`.
        ValueError: the picture has more than 8 bits.
    """
    image = _srgb_pixels(_read(path)[1])
    if image.dtype != np.uint8:
        raise ValueError(f"read_rgb: '{path}' must be a picture of 8 bits, got {image.dtype}")
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] < 3:  # grey, or grey with alpha
        image = np.repeat(image[..., :1], 3, 2)
    return np.ascontiguousarray(image[..., :3])


def _read(path: str | os.PathLike[str] | BinaryIO) -> tuple[str, _Picture]:
    """The name to call a file by, and what it holds."""
    if isinstance(path, (str, os.PathLike)):
        name = os.fspath(path)
    elif hasattr(path, "read"):
        name = str(getattr(path, "name", "stream"))
    else:
        check_path("read_image", "path", path)
    try:
        with Path(path).open("rb") if isinstance(path, (str, os.PathLike)) else nullcontext(path) as stream:
            picture = _decode(stream)
    except ImportError:
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"read_image: no such file: '{name}'") from None
    except Exception as error:  # decoders raise all sorts: struct.error, SyntaxError, their own classes
        unknown = type(error).__name__ == "UnidentifiedImageError"  # Pillow's, which shows its stream
        why = "it has no format that is known" if unknown else one_line(error)
        raise OSError(f"read_image: cannot read '{name}' as a picture: {why}") from error
    pixels = picture.pixels
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "buif":
        raise OSError(f"read_image: '{name}' holds no picture but {pixels.dtype} of shape {pixels.shape}")
    return name, picture


def _srgb_pixels(picture: _Picture) -> np.ndarray:
    """The pixels in sRGB. What was done, or could not be, is added to the notes."""
    pixels, profile = picture.pixels, picture.profile
    try:
        if profile is None or is_srgb(profile):
            return pixels
        if pixels.dtype not in (np.uint8, np.uint16):
            picture.notes.append(f"its colour profile, {describe(profile)}, is not applied to {pixels.dtype}")
            return pixels
        converted = convert(pixels, profile, None)
    except ProfileError as error:
        picture.notes.append(f"{error}, so it is taken for sRGB")
        return pixels
    picture.notes.append(f"its colours were converted to sRGB from {describe(profile)}")
    return converted


def _decode(stream: BinaryIO) -> _Picture:
    """Decodes with Pillow what has 8 bits or fewer, and what Pillow would cut to 8 bits with libraries that do not."""
    stream.seek(0)
    head = stream.read(26)
    stream.seek(0)
    if head.startswith(_NUMPY):
        return _Picture(np.load(stream, allow_pickle=False))
    if head.startswith(_TIFF):
        return _read_deep_tiff(stream) or _read_with_pillow(stream, head)
    if head.startswith(_PNG) and head[24:25] == b"\x10":  # bits per channel
        return _read_deep_png(stream)
    if head.startswith(_JPEG_2000):
        return _read_jpeg_2000(stream.read())
    if head.startswith(_COLOUR_NETPBM):
        return _read_netpbm(stream)
    return _read_with_pillow(stream, head)


def _read_deep_tiff(stream: BinaryIO) -> _Picture | None:
    """The first page of a TIFF unless its channels are unsigned numbers of 8 bits at most, which Pillow reads.

    But for grey and alpha in planes of their own: Pillow leaves that alpha at 0.
    """
    with needed_for("reading TIFF", extra="images"):
        import tifffile
    with tifffile.TiffFile(stream) as file:
        page = file.pages.first
        lost_alpha = page.bitspersample == 8 and page.samplesperpixel == 2 and page.planarconfig == _PLANES
        if page.bitspersample <= 8 and page.sampleformat == _UNSIGNED and not lost_alpha:
            stream.seek(0)
            return None
        colours = tifffile.PHOTOMETRIC(page.photometric)
        if colours not in (colours.MINISWHITE, colours.MINISBLACK, colours.RGB):
            raise ValueError(f"its colours are {colours.name} of {page.bitspersample} bits, not grey or RGB")
        pixels, axes, orientation = page.asarray(), page.axes, page.tags.valueof("Orientation", 1)
        profile, extra = page.tags.valueof("InterColorProfile"), tuple(page.extrasamples)
    if axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"its axes are {axes}, not those of one picture")
    if axes == "SYX":  # one plane for each channel
        pixels = np.moveaxis(pixels, 0, -1)
    if colours == colours.MINISWHITE:
        given, pixels = pixels, (1 if pixels.dtype.kind == "f" else 2**page.bitspersample - 1) - pixels
        if pixels.ndim == 3:
            pixels[..., 1:] = given[..., 1:]  # alpha is not turned round
    if extra == (_PREMULTIPLIED,):
        pixels = _divided_by_alpha(pixels)
    return _Picture(_upright(pixels, orientation), profile)


def _divided_by_alpha(pixels: np.ndarray) -> np.ndarray:
    """Colours as they are where nothing shines through; 0 where alpha is 0."""
    white = 1.0 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:].astype(np.float64)
    colours = pixels[..., :-1].astype(np.float64) * white
    colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    if pixels.dtype.kind != "f":
        colours = np.rint(colours).clip(0, white)
    return np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], -1)


def _read_deep_png(stream: BinaryIO) -> _Picture:
    pixels = imagecodecs().png_decode(stream.read())
    stream.seek(0)
    with pillow().open(stream) as picture:  # for what stands beside the pixels
        profile, notes = picture.info.get("icc_profile"), _gamma_notes(picture)
        return _Picture(_upright(pixels, picture.getexif().get(0x0112, 1)), profile, notes)


def _read_jpeg_2000(data: bytes) -> _Picture:
    """The numbers in the file and the profile in the box "colr" (ISO/IEC 15444-1, I.5.3.3), if it has one."""
    place = data.find(b"colr", 0, max(0, data.find(b"jp2c")))  # bare streams have no boxes
    profile = None
    if place >= 0 and data[place + 4] != 1:  # no number of the standard's list
        profile = data[place + 7 : place - 4 + int.from_bytes(data[place - 4 : place], "big")]
        # OpenJPEG would convert by the profile, at 8 bits and without a word. Boxes that it does not know it skips.
        data = data[:place] + b"free" + data[place + 4 :]
    elif place >= 0 and (listed := int.from_bytes(data[place + 7 : place + 11], "big")) not in (16, 17):
        raise ValueError(f"its colours are number {listed} of those of JPEG 2000, not sRGB (16) or grey (17)")
    return _Picture(imagecodecs().jpeg2k_decode(data), profile)


def _read_netpbm(stream: BinaryIO) -> _Picture:
    with needed_for("reading PPM and PAM", extra="images"):
        import netpbmfile
    with netpbmfile.NetpbmFile(stream) as file:
        pixels, white = file.asarray(), file.maxval
    brightest = 255 if white <= 255 else 65535
    return _Picture(np.rint(pixels * (brightest / white)).astype(np.uint8 if brightest == 255 else np.uint16))


def _read_with_pillow(stream: BinaryIO, head: bytes) -> _Picture:
    # From a stream: opened by name, an uncompressed TIFF would be mapped into memory, which Pillow 13 gets wrong where
    # the picture has to be turned by a quarter.
    with pillow().open(stream) as picture:
        picture.load()
        kind, notes, profile = picture.format, _gamma_notes(picture), picture.info.get("icc_profile")
        picture = pillow("ImageOps").exif_transpose(picture)
    if picture.mode == "I" and kind == "PPM":  # 16-bit grey
        return _Picture(np.array(picture).astype(np.uint16))
    if picture.mode == "CMYK":
        if profile is not None:
            return _Picture(_srgb_of_inks(picture, profile, notes), None, notes)
        notes.append("its inks (CMYK) have no colour profile, so their RGB is a guess")
    if picture.mode == "LAB":
        notes.append("its colours were converted to sRGB from L*a*b*")
        profile = None
    if kind == "PNG" and head[25] == 0 and head[24] in (2, 4) and isinstance(picture.info.get("transparency"), int):
        # Pillow stretches the levels of 2 and 4 bits to 0..255, but not the transparent one.
        picture.info["transparency"] *= 255 // (2 ** head[24] - 1)
    return _Picture(np.array(_plain(picture)), profile, notes)


def _plain(picture: Any) -> Any:
    """A picture of Pillow in one of the modes whose arrays are what they look like."""
    clear = "transparency" in picture.info
    if picture.mode in ("1", "L") and clear:
        grey = picture.convert("L")
        grey.info["transparency"] = picture.info["transparency"]  # lost on the way from "1"
        return grey.convert("LA")
    if picture.mode == "1":
        return picture.convert("L")
    if (picture.mode in ("P", "RGB") and clear) or picture.mode in ("PA", "RGBa"):
        return picture.convert("RGBA")
    if picture.mode in ("L", "LA", "RGB", "RGBA", "I", "F") or picture.mode.startswith("I;16"):
        return picture
    return picture.convert("LA" if picture.mode == "La" else "RGB")


def _srgb_of_inks(picture: Any, profile: bytes, notes: list[str]) -> np.ndarray:
    """CMYK by its profile, or without where that is broken."""
    try:
        made = convert(np.array(picture), profile, None)
    except ProfileError as error:
        notes.append(f"{error}, so the RGB of its inks (CMYK) is a guess")
        return np.array(picture.convert("RGB"))
    notes.append(f"its inks (CMYK) were converted to sRGB from {describe(profile)}")
    return made


def _gamma_notes(picture: Any) -> list[str]:
    """Whether a PNG says that its numbers are not sRGB's, in a way that nothing here follows."""
    gamma = picture.info.get("gamma")
    if gamma is None or "srgb" in picture.info or "icc_profile" in picture.info:
        return []
    if abs(gamma - _DISPLAY_GAMMA) < 0.05 * _DISPLAY_GAMMA:
        return []
    return [f"it states the gamma {gamma:g}, which is left aside"]


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors pixels as a number from 1 to 8 asks for, with the meaning it has in EXIF and TIFF."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = -1 if orientation in (3, 4, 7, 8) else 1, -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])
