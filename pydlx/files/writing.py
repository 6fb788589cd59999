"""Writing pictures, as a whole or not at all."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pydlx._checks import check_path, check_type
from pydlx._optional import needed_for
from pydlx.files.colours import imagecodecs, pillow
from pydlx.files.replacing import replacing

_TIFF = (".tif", ".tiff")


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes a picture (H, W) or (H, W, C), replacing the file as a whole or not at all.

    uint8 goes to any format Pillow writes, uint16 to ``.png`` and ``.tif``, floats to ``.tif`` and ``.npy``. The last
    of 2 or 4 channels is alpha. No colour profile is written, which means sRGB: what `read_image` gives.

    Raises:
        ValueError: the format cannot hold pictures of this dtype or number of channels, or the suffix is unknown.
        OSError: the file cannot be written; what stood there before is untouched.
    """
    check_path("write_image", "path", path)
    _check_picture("write_image", image)
    place = Path(path)
    try:
        with replacing(place) as temporary, temporary.open("wb") as stream:
            _encode(stream, place, image)
    except OSError as error:
        raise OSError(f"write_image: {error}") from error


def png_bytes(image: np.ndarray) -> bytes:
    """A picture of uint8 or uint16 as the content of a PNG file, for pipes and network answers.

    Raises:
        ValueError: PNG cannot hold the picture.
    """
    _check_picture("png_bytes", image)
    stream = BytesIO()
    _encode(stream, Path("picture.png"), image)
    return stream.getvalue()


def _check_picture(name: str, image: np.ndarray) -> None:
    check_type(name, "image", image, np.ndarray, "a NumPy array")
    if image.dtype.kind not in "biuf":
        raise TypeError(f"{name}: image must hold real numbers, got {image.dtype}")


def _encode(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        np.save(stream, image, allow_pickle=False)
    elif suffix in _TIFF and (image.dtype == np.uint16 or image.dtype.kind == "f"):
        _encode_tiff(stream, path, image)
    elif image.dtype == np.uint16 and suffix == ".png":
        stream.write(imagecodecs().png_encode(np.ascontiguousarray(image)))  # it takes no views
    elif image.dtype == np.uint8:
        _encode_with_pillow(stream, path, image)
    else:
        raise ValueError(
            f"write_image: '{path}' cannot hold {image.dtype} pictures; uint8 goes to any format, uint16 to .png and "
            ".tif, floats to .tif and .npy"
        )


def _encode_tiff(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    with needed_for("writing TIFF of 16 bits or floats", extra="images"):
        import tifffile
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise ValueError(f"write_image: '{path}' cannot hold a picture of shape {image.shape}")
    alpha: dict[str, Any] = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    plain = image[..., 0] if image.ndim == 3 and channels == 1 else image
    kind = "rgb" if channels > 2 else "minisblack"
    if channels > 1:
        alpha["planarconfig"] = "contig"
    tifffile.imwrite(stream, plain, photometric=kind, compression="zlib", metadata=None, **alpha)


def _encode_with_pillow(stream: BinaryIO, path: Path, image: np.ndarray) -> None:
    image_of = pillow()
    formats = image_of.registered_extensions()
    name = formats.get(path.suffix.lower())
    if name not in image_of.SAVE:
        raise ValueError(f"write_image: '{path}' has no suffix of a picture format that can be written, such as .png")
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    options = {"quality": 95} if name in ("JPEG", "WEBP") else {}
    try:
        image_of.fromarray(image).save(stream, format=name, **options)
    except (TypeError, OSError) as error:
        # Pillow says so where a format has no such channels, e.g. RGBA in JPEG; a full disk keeps its error number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"write_image: '{path}' cannot hold a picture of shape {image.shape}: {error}") from error
