"""Colours for the pixels of a source that are fully transparent, whose own mean nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_hidden(planes: Tensor, hidden: Tensor) -> Tensor:
    """Gives each hidden pixel the colour of the nearest visible one, by steps along rows and columns.

    Args:
        planes: (N, C, h, w).
        hidden: (N, 1, h, w) bool; every image has a visible pixel.
    """
    height, width = hidden.shape[-2:]
    distance, column = _nearest(hidden.int() * (height + width), -1)
    _, row = _nearest(distance, -2)
    index = row * width + column.gather(-2, row)
    return planes.flatten(-2).gather(-1, index.flatten(-2).expand(-1, planes.shape[1], -1)).view_as(planes)


def _nearest(distance: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The least distance[j] + |i − j| over all j along an axis, and where it is."""
    length = distance.shape[axis]
    place = torch.arange(length, dtype=distance.dtype, device=distance.device)
    place = place if axis == -1 else place[:, None]
    before, at_before = torch.cummin(distance - place, axis)
    after, at_after = (x.flip(axis) for x in torch.cummin((distance + place).flip(axis), axis))
    from_before = before + place <= after - place
    nearest = torch.where(from_before, at_before, length - 1 - at_after)
    return torch.where(from_before, before + place, after - place), nearest
