"""Where the source lands on the target: boxes on the canvas, clipping, cropping."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pydlx._checks import whole_pair


class Box(NamedTuple):
    """Rows ``top <= row < bottom`` and columns ``left <= column < right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width; not positive where the box is empty."""
        return self.bottom - self.top, self.right - self.left

    def intersect(self, other: Box) -> Box:
        """The part common to both boxes."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def grow(self, margin: int) -> Box:
        """The box with `margin` more pixels on each side."""
        return Box(self.top - margin, self.left - margin, self.bottom + margin, self.right + margin)

    def shift(self, rows: int, columns: int) -> Box:
        """The box moved down and to the right."""
        return Box(self.top + rows, self.left + columns, self.bottom + rows, self.right + columns)

    def of(self, planes: Tensor) -> Tensor:
        """The view of ``planes (..., H, W)`` inside the box, which lies inside the planes."""
        return planes[..., self.top : self.bottom, self.left : self.right]

    def join(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )


def whole(planes: Tensor) -> Box:
    """The box of all pixels of ``planes (..., H, W)``."""
    return Box(0, 0, planes.shape[-2], planes.shape[-1])


def crop(planes: Tensor, box: Box, beyond: str) -> Tensor:
    """Crops floating ``planes (N, C, H, W)`` to a box that may reach past them, by any distance.

    `beyond` says what stands there: ``"replicate"``, the nearest pixel (so all gradients there are 0), or ``"zero"``.
    The box has to share at least one pixel with the planes.
    """
    inside = box.intersect(whole(planes))
    margins = (inside.left - box.left, box.right - inside.right, inside.top - box.top, box.bottom - inside.bottom)
    cropped = inside.of(planes)
    if not any(margins):
        return cropped
    return F.pad(cropped, margins, mode="constant" if beyond == "zero" else beyond)


def bounding_box(where: Tensor) -> Box | None:
    """The smallest box around the true pixels of all planes of ``where (..., H, W)``; None where there are none."""
    marks = where.flatten(0, -3).view(torch.uint8).amax(0)  # torch reduces bytes many times faster than bools
    rows = torch.nonzero(marks.amax(1))
    if not len(rows):
        return None
    columns = torch.nonzero(marks.amax(0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def centred_offset(source_size: tuple[int, int], target_size: tuple[int, int]) -> tuple[int, int]:
    """The offset that puts the middle of a source of size (h, w) on the middle of a target of size (H, W)."""
    rows, columns = whole_pair("centred_offset", "source_size", source_size, "(height, width)", 1)
    target_rows, target_columns = whole_pair("centred_offset", "target_size", target_size, "(height, width)", 1)
    return (target_rows - rows) // 2, (target_columns - columns) // 2
