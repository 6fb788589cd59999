"""Pictures of Pillow, taken as arrays and given back.

=====================  ==============================  ===========================================
mode                   seen as                         what a target of that mode becomes
=====================  ==============================  ===========================================
L, LA, RGB, RGBA       uint8, 1 to 4 channels          a picture of the same mode
I;16 and its kinds     uint16, grey                    I;16
P, PA, 1               RGB, RGBA or L of its colours   the same: a palette would not hold the blend
any with a clear       LA or RGBA                      the same
colour
=====================  ==============================  ===========================================

Other modes are refused: CMYK, LAB, HSV, YCbCr, F and I say too little about what their numbers mean.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from pydlx.files.colours import ImageWarning, ProfileError, convert, describe, is_srgb

_PLAIN = ("L", "LA", "RGB", "RGBA")
# Modes that become a plain one without loss, and which.
_SAME_COLOURS = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}


@dataclass(frozen=True)
class Picture:
    """A picture of Pillow as an array.

    Attributes:
        pixels: (H, W) or (H, W, C), uint8 or uint16.
        profile: the colour profile (ICC) that it carries.
        info: what Pillow keeps beside the pixels.
    """

    pixels: np.ndarray
    profile: bytes | None
    info: dict[Any, Any]

    def with_pixels(self, pixels: np.ndarray) -> Any:
        """Other pixels as a picture of Pillow, with what stood beside these."""
        from PIL import Image

        made = Image.fromarray(pixels)
        made.info = self.info
        return made


def is_pillow(image: Any) -> TypeGuard[Any]:
    """Whether this is a picture of Pillow; of none if nobody has imported Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def from_pillow(name: str, image: Any) -> Picture:
    """A picture of Pillow as an array; `name` is the argument of `blend` that it came as."""
    clear = "transparency" in image.info
    info = {key: value for key, value in image.info.items() if key != "transparency"}
    profile = image.info.get("icc_profile") or None
    if image.mode.startswith("I;16"):
        return Picture(np.asarray(image).astype(np.uint16), profile, info)
    if clear and image.mode in ("1", "L"):
        image = image.convert("LA")
    elif image.mode == "P" or (clear and image.mode == "RGB"):
        image = image.convert("RGBA" if clear else "RGB")
    elif image.mode in _SAME_COLOURS:
        image = image.convert(_SAME_COLOURS[image.mode])
    if image.mode not in _PLAIN:
        raise ValueError(
            f"blend: {name} must be a Pillow image of mode {', '.join(_PLAIN)}, P, 1 or I;16, got {image.mode}; "
            f"convert it first, for example by {name}.convert('RGB')"
        )
    return Picture(np.array(image), profile, info)


def as_arrays(source: Any, target: Any, mask: Any) -> tuple[Any, Any, Any, Picture | None]:
    """What `blend` was given, with NumPy arrays for pictures of Pillow; last the target, if it is one.

    The source comes in the colours of the target's profile.
    """
    picture = from_pillow("target", target) if is_pillow(target) else None
    if picture is not None:
        target = picture.pixels
    if is_pillow(source):
        source = in_colours_of(picture, from_pillow("source", source))
    if is_pillow(mask):
        mask = from_pillow("mask", mask).pixels
    return source, target, mask, picture


def in_colours_of(target: Picture | None, source: Picture) -> np.ndarray:
    """The source's pixels in the colours that the target's profile defines, sRGB if it has none."""
    wanted = None if target is None else target.profile
    given = source.profile
    if given == wanted or all(profile is None or is_srgb(profile) for profile in (given, wanted)):
        return source.pixels
    names = ["sRGB" if profile is None else describe(profile) for profile in (given, wanted)]
    try:
        pixels = convert(source.pixels, given, wanted)
    except ProfileError as error:
        pixels, note = source.pixels, f"keeps its numbers: {error}"
    else:
        note = f"was converted from {names[0]} to {names[1]}, the target's colours"
    warnings.warn(f"blend: source {note}", ImageWarning, stacklevel=4)
    return pixels
