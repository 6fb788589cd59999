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


def box_of(planes: Tensor) -> Box:
    """The box of all pixels of ``planes (..., H, W)``."""
    return Box(0, 0, planes.shape[-2], planes.shape[-1])


def crop(planes: Tensor, box: Box, beyond: str) -> Tensor:
    """Crops floating ``planes (N, C, H, W)`` to a box that may reach past them, by any distance.

    `beyond` says what stands there: ``"replicate"``, the nearest pixel (so all gradients there are 0), or ``"zero"``.
    The box has to share at least one pixel with the planes.
    """
    inside = box.intersect(box_of(planes))
    margins = (inside.left - box.left, box.right - inside.right, inside.top - box.top, box.bottom - inside.bottom)
    cropped = inside.of(planes)
    if not any(margins):
        return cropped
    return F.pad(cropped, margins, mode="constant" if beyond == "zero" else beyond)


def bounding_boxes(where: Tensor) -> list[Box | None]:
    """For each image the smallest box around the true pixels of ``where (N, ..., H, W)``; None where there are none.

    The host waits for the device once.
    """
    marks = where.flatten(1, -3).view(torch.uint8).amax(1)  # torch reduces bytes many times faster than bools
    height, width = marks.shape[-2:]
    rows, columns = marks.amax(2), marks.amax(1)
    ends = [rows.argmax(1), columns.argmax(1), rows.flip(1).argmax(1), columns.flip(1).argmax(1), rows.amax(1)]
    boxes: list[Box | None] = []
    for top, left, below, beside, any_true in torch.stack(ends, 1).tolist():
        boxes.append(Box(top, left, height - below, width - beside) if any_true else None)
    return boxes


def centred_offset(source_size: tuple[int, int], target_size: tuple[int, int]) -> tuple[int, int]:
    """The offset that puts the middle of a source of size (h, w) on the middle of a target of size (H, W)."""
    rows, columns = whole_pair("centred_offset", "source_size", source_size, "(height, width)", 1)
    target_rows, target_columns = whole_pair("centred_offset", "target_size", target_size, "(height, width)", 1)
    return (target_rows - rows) // 2, (target_columns - columns) // 2


def offset_for_centre(inside: Tensor, x: int, y: int) -> tuple[int, int]:
    """The offset that puts the middle of a mask on column x and row y of the target, as ``cv2.seamlessClone`` does.

    The middle of rows top to bottom − 1 is row (top + bottom) // 2. The outermost pixels of the source do not count, as
    OpenCV does not take them for the mask, unless there are no others.

    Args:
        inside: (N or 1, 1, h, w), bool. Of several masks the box around all counts; without any, that of the source.
        x: column of the target.
        y: row of the target.
    """
    box, margin = None, 1
    if min(inside.shape[-2:]) > 2:
        box = bounding_boxes(inside[..., 1:-1, 1:-1].any(0, keepdim=True))[0]
    if box is None:
        box, margin = bounding_boxes(inside.any(0, keepdim=True))[0] or box_of(inside), 0
    return y - margin - (box.top + box.bottom) // 2, x - margin - (box.left + box.right) // 2
