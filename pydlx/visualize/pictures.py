"""Pictures of what excites feature maps, as in figure 2 of Zeiler and Fergus."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pydlx._checks import check_type, is_number, listed, numbers, whole
from pydlx._optional import needed_for
from pydlx.visualize.activations import Excitation, Excitations

_PAPER, _INK, _GREY, _OUTSIDE = 255, 40, 128, 224
_GAP, _MARGIN, _LABEL = 2, 10, 18


def grid(
    excitations: Excitations,
    columns: int = 4,
    *,
    tile: int = 40,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
) -> np.ndarray:
    """One picture of what excites each feature map: its projections, and to the right the parts of images they are of.

    Projections are signed: grey is zero, and each is stretched to its own range. Parts that run over an image's
    border are filled up. Needs Pillow, for the labels.

    Args:
        excitations: From :func:`pydlx.visualize.top_activations`, of images with one channel or three.
        columns: Feature maps side by side.
        tile: Least height and width of one projection; small ones are enlarged by a whole factor.
        mean: With `std`, what takes the images to the range 0 to 1, ``image * std + mean``; one number or one for each
            channel.
        std: See `mean`.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: If there is nothing to show, or images have other channels.
        ImportError: If Pillow is not installed.
    """
    check_type("grid", "excitations", excitations, Mapping, "what top_activations returns")
    shown = {
        channel: listed("grid", "excitations", found, "what top_activations returns")
        for channel, found in excitations.items()
        if not isinstance(found, Sequence) or found
    }
    if not shown:
        raise ValueError("grid: excitations must have at least one entry, got none")
    columns, tile = whole("grid", "columns", columns, 1), whole("grid", "tile", tile, 1)
    every = [excitation for found in shown.values() for excitation in found]
    for excitation in every:
        check_type("grid", "excitations", excitation, Excitation, "what top_activations returns")
    channels = {excitation.patch.shape[0] for excitation in every}
    if not channels <= {1, 3}:
        raise ValueError(f"grid: images must have 1 or 3 channels, got {sorted(channels)}")
    means, stds = (_by_channel(name, given) for name, given in (("mean", mean), ("std", std)))
    most = max(map(len, shown.values()))
    across = math.ceil(math.sqrt(most))
    size = (max(e.patch.shape[1] for e in every), max(e.patch.shape[2] for e in every))
    layout = _Layout(size, max(1, math.ceil(tile / max(size))), math.ceil(most / across), across)
    blocks = []
    for channel, found in shown.items():
        projections = layout.tiles(found, [_projection_picture(e.projection) for e in found], _GREY)
        patches = layout.tiles(found, [_image_picture(e.patch, means, stds) for e in found], _OUTSIDE)
        block = _sheet([projections, patches], 1, 2, 3 * _GAP)
        blocks.append(np.concatenate([_label(f"map {channel}", block.shape[1]), block]))
    columns = min(columns, len(blocks))
    sheet = _sheet(blocks, math.ceil(len(blocks) / columns), columns, _MARGIN)
    return np.pad(sheet, ((0, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), constant_values=_PAPER)


@dataclass(frozen=True)
class _Layout:
    """How the pictures of one feature map are laid out: their size, how much they are enlarged, rows and columns."""

    size: tuple[int, int]
    scale: int
    rows: int
    columns: int

    def tiles(self, found: Sequence[Excitation], pictures: Sequence[np.ndarray], fill: int) -> np.ndarray:
        """The pictures, each filled up to the size where its excitation's region runs over the border."""
        filled = [_filled(picture, e, self.size, fill) for picture, e in zip(pictures, found, strict=True)]
        enlarged = [picture.repeat(self.scale, 0).repeat(self.scale, 1) for picture in filled]
        return _sheet(enlarged, self.rows, self.columns, _GAP)


def _projection_picture(projection: Tensor) -> np.ndarray:
    """(h, w, 3) uint8 with zero at mid-grey."""
    signal = _channels_last(projection)
    # Not the largest value: single cells that stick out would leave the rest in the grey.
    limit = (np.quantile(np.abs(signal), 0.99) or np.abs(signal).max() or 1.0) if signal.size else 1.0
    return np.rint(_GREY + (255 - _GREY) * (signal / limit).clip(-1, 1)).astype(np.uint8)


def _by_channel(argument: str, given: float | Sequence[float]) -> np.ndarray:
    """One number, or three."""
    values = np.array([given] if is_number(given) else numbers("grid", argument, given))
    if len(values) not in (1, 3) or not np.isfinite(values).all():
        raise ValueError(f"grid: {argument} must be one finite number or one for each of 3 channels, got {given!r}")
    return values


def _image_picture(patch: Tensor, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8."""
    image = _channels_last(patch) * std + mean
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)


def _channels_last(picture: Tensor) -> np.ndarray:
    colours = picture.detach().double().cpu().expand(3, -1, -1)
    return colours.permute(1, 2, 0).numpy()


def _filled(picture: np.ndarray, excitation: Excitation, size: tuple[int, int], fill: int) -> np.ndarray:
    """Fill up to a size: before what starts at the image's first row or column, behind all else."""
    missing = [wanted - given for wanted, given in zip(size, picture.shape[:2], strict=True)]
    margins = [(m, 0) if part.start == 0 else (0, m) for m, part in zip(missing, excitation.region, strict=True)]
    return np.pad(picture, (*margins, (0, 0)), constant_values=fill)


def _sheet(pictures: Sequence[np.ndarray], rows: int, columns: int, gap: int) -> np.ndarray:
    """Pictures of one size, row by row; places without one stay paper."""
    height, width = pictures[0].shape[:2]
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), _PAPER, np.uint8)
    for n, picture in enumerate(pictures):
        row, column = divmod(n, columns)
        top, left = row * (height + gap), column * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _label(text: str, width: int) -> np.ndarray:
    """(_LABEL, width, 3), the text at the left."""
    image, drawing = _pillow("Image"), _pillow("ImageDraw")
    strip = image.new("RGB", (width, _LABEL), (_PAPER,) * 3)
    drawing.Draw(strip).text((0, 2), text, fill=(_INK,) * 3, font_size=12)
    return np.asarray(strip)


def _pillow(module: str) -> Any:
    with needed_for("grid", extra="images"):
        return importlib.import_module(f"PIL.{module}")
