"""Colours that a profile defines (ICC), converted by LittleCMS through imagecodecs.

Pictures without a profile count as sRGB, as they do everywhere on the web.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import numpy as np

from pydlx._optional import needed_for

# Colour spaces as the header of a profile names them, and imagecodecs' names.
_SPACES = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}


class ImageWarning(UserWarning):
    """A picture was converted on the way in, or does not look like what it is used as."""


class ProfileError(ValueError):
    """A colour profile is broken, or does not go with the picture that carries it."""


def imagecodecs() -> ModuleType:
    """The package, or one line that says how to get it."""
    with needed_for("handling 16 bits or colour profiles", extra="images"):
        return importlib.import_module("imagecodecs")


def pillow(part: str = "Image") -> ModuleType:
    """A module of Pillow, or one line that says how to get it."""
    with needed_for("reading and writing pictures", extra="images"):
        return importlib.import_module(f"PIL.{part}")


@functools.cache
def srgb_profile() -> bytes:
    """LittleCMS's own."""
    cms = pillow("ImageCms")
    return cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes()


@functools.lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Whether no colour moves by more than one of 255 levels. There are many profiles of sRGB, under many names."""
    if space_of(profile) not in ("gray", "rgb"):
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if space_of(profile) == "gray":
        probes = levels[None]
    else:
        probes = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    return bool(np.abs(convert(probes, profile, None).astype(int) - probes).max() <= 1)


def describe(profile: bytes) -> str:
    """The name in a profile, such as ``Display P3``."""
    from io import BytesIO

    cms = pillow("ImageCms")
    try:
        return cms.getProfileDescription(cms.ImageCmsProfile(BytesIO(profile))).strip() or "without a name"
    except (OSError, cms.PyCMSError):
        return "that cannot be read"


def space_of(profile: bytes) -> str | None:
    """``"gray"``, ``"rgb"`` or ``"cmyk"``; None for others."""
    return _SPACES.get(profile[16:20])


def convert(pixels: np.ndarray, source: bytes | None, target: bytes | None) -> np.ndarray:
    """Converts pixels (H, W) or (H, W, C) from one profile to another; None is sRGB. Alpha stays as it is.

    Grey stays grey where the target's profile is grey or None, and becomes three channels otherwise.

    Args:
        pixels: uint8 or uint16; the last of 2 or 4 channels is alpha, but of CMYK.
        source: the profile of `pixels`.
        target: the profile wanted.

    Raises:
        ProfileError: a profile cannot be read, or has another number of channels than the picture.
    """
    space = "rgb" if source is None else space_of(source)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    has_alpha = planes.shape[2] in (2, 4) and space != "cmyk"
    colours, alpha = (planes[..., :-1], planes[..., -1:]) if has_alpha else (planes, planes[..., :0])
    grey = colours.shape[2] == 1
    if grey and source is None:  # sRGB's grey as three channels
        colours = np.repeat(colours, 3, 2)
    wanted = "rgb" if target is None else space_of(target)
    if space is None or wanted is None or colours.shape[2] != {"gray": 1, "rgb": 3, "cmyk": 4}[space]:
        raise ProfileError(f"the colour profile is of {space or 'another kind'}, the picture has {pixels.shape}")
    codecs = imagecodecs()
    try:
        made = codecs.cms_transform(
            np.ascontiguousarray(colours if space != "gray" else colours[..., 0]),
            source or srgb_profile(),
            target or srgb_profile(),
            colorspace=space,
            outcolorspace=wanted,
            # Otherwise LittleCMS puts a coarse table in the place of the formulas, which is 2 % off near black.
            flags=codecs.CMS.FLAGS.NOOPTIMIZE if pixels.dtype == np.uint16 else None,
        )
    except (codecs.CmsError, ValueError) as error:
        raise ProfileError(f"the colour profile cannot be used: {error}") from error
    made = made.reshape(*pixels.shape[:2], -1)
    if grey and target is None:
        made = made[..., :1]
    made = np.concatenate([made, alpha], 2)
    return made[..., 0] if made.shape[2] == 1 else made
