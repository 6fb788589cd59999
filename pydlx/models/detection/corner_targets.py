"""CornerNet's training targets: boxes as heat maps of their corners, with the cell and the offset of each corner.

Law and Deng, "CornerNet: Detecting objects as paired keypoints", arXiv 1808.01244, section 3.2. Corners a few cells off
still give a good box, so the heat map holds a Gaussian around each corner, wider for larger boxes. A cell is a pixel of
a map, at the stride of the network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pydlx._checks import check_integers, check_positive, check_real_tensor, described, is_number, whole, whole_pair
from pydlx.losses.corner import CornerTargets


def gaussian_radius(height: float, width: float, iou: float = 0.3) -> float:
    """Return by how much both corners of a box may be off in x and y for the box to keep an IoU.

    Both corners move inwards: (h - 2 r)(w - 2 r) = iou h w. The published code takes the minimum of this and two other
    cases, both corners outwards and one in each direction, but this case is always the minimum.

    Args:
        height: Height of the box, positive.
        width: Width of the box, positive.
        iou: The IoU to keep, between 0 and 1; 0.3 in the published configuration.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If an argument is out of range.
    """
    check_positive("gaussian_radius", "height", height)
    check_positive("gaussian_radius", "width", width)
    _check_iou("gaussian_radius", iou)
    around = height + width
    # The order of operations matters: the caller truncates the radius, and must round as the published code does.
    return (around - math.sqrt(around**2 - 4 * ((1 - iou) * width * height))) / 4


def corner_targets(
    boxes: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    image_size: tuple[int, int] = (511, 511),
    map_size: tuple[int, int] = (128, 128),
    iou: float = 0.3,
    max_objects: int = 128,
) -> CornerTargets:
    """Return the targets of one image; ``torch.utils.data.default_collate`` batches them.

    A corner at x has the map coordinate f = x * map width / image width, the cell int(f) and the offset f - int(f);
    y likewise. The heat is 1 at the corner's cell and falls off by a Gaussian of standard deviation (2 r + 1) / 6 up to
    r cells away, where r is the integer part of :func:`gaussian_radius` of the box's height and width in cells, rounded
    up. Where Gaussians of one class overlap, the maximum counts.

    Boxes are clipped to the image. A corner on the image's right or lower edge belongs to the last cell, with offset 1.
    Boxes without area inside the image, and boxes beyond `max_objects`, are left out and counted.

    Args:
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the image.
        labels: (n,) integers from 0 to num_classes - 1.
        num_classes: C.
        image_size: Height and width of the network's input in pixels.
        map_size: Height and width of the network's maps, (H, W).
        iou: See :func:`gaussian_radius`.
        max_objects: K, number of rows for objects.

    Returns:
        For each kind of corner: heat (C, H, W) float32, cells y * W + x (K,) int64 and offsets (K, 2) float32; further
        a mask (K,) of the rows in use, and the counts of empty and of surplus boxes. All on the device of `boxes`;
        unused rows hold zeros.

    Raises:
        TypeError: If boxes are not real numbers, or labels not integers.
        ValueError: If a shape or an option does not fit, boxes are not finite, or a label is no class.
    """
    name = "corner_targets"
    num_classes = whole(name, "num_classes", num_classes, 1)
    max_objects = whole(name, "max_objects", max_objects, 1)
    image_h, image_w = whole_pair(name, "image_size", image_size, "(height, width), positive", 1)
    map_h, map_w = whole_pair(name, "map_size", map_size, "(height, width), positive", 1)
    _check_iou(name, iou)
    _check_objects(name, boxes, labels, num_classes)

    ends = torch.tensor([image_w, image_h], dtype=torch.float64, device=boxes.device)
    cells = torch.tensor([map_w, map_h], device=boxes.device)
    corners = boxes.double().view(-1, 2, 2).clamp(min=0).minimum(ends)
    held = (corners[:, 1] > corners[:, 0]).all(1)
    corners, classes = corners[held][:max_objects], labels[held][:max_objects].tolist()
    places = corners * (cells / ends)  # (n, 2 corners, 2)
    # Cells of the corners; a corner on the right or lower edge belongs to the last cell.
    at = places.long().minimum(cells - 1)
    sizes = (places[:, 1] - places[:, 0]).ceil().tolist()

    n = len(classes)
    heat = torch.zeros(2, num_classes, map_h, map_w, device=boxes.device)
    for label, (width, height), both in zip(classes, sizes, at.tolist(), strict=True):
        radius = int(gaussian_radius(height, width, iou))
        for kind, (x, y) in enumerate(both):
            _draw_gaussian(heat[kind, label], x, y, radius)
    cell = torch.zeros(2, max_objects, dtype=torch.int64, device=boxes.device)
    cell[:, :n] = (at[..., 1] * map_w + at[..., 0]).T
    offset = torch.zeros(2, max_objects, 2, device=boxes.device)
    offset[:, :n] = (places - at).transpose(0, 1).float()
    mask = torch.arange(max_objects, device=boxes.device) < n
    return CornerTargets(
        heat[0], heat[1], cell[0], cell[1], offset[0], offset[1], mask, empty=(~held).sum(), surplus=held.sum() - n
    )


def _draw_gaussian(heat: Tensor, x: int, y: int, radius: int) -> None:
    """Set heat (H, W) to the maximum of itself and a Gaussian around cell (x, y), in place."""
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64, device=heat.device)
    sigma = (2 * radius + 1) / 6
    line = torch.exp(-distance.square() / (2 * sigma**2))
    rows, own_rows = _overlap(y, radius, heat.shape[0])
    columns, own_columns = _overlap(x, radius, heat.shape[1])
    patch = heat[rows, columns]
    patch.copy_(torch.maximum(patch, (line[own_rows, None] * line[own_columns]).to(heat.dtype)))


def _overlap(centre: int, radius: int, length: int) -> tuple[slice, slice]:
    """Clip centre ± radius to range(length): slices of the map, and of the patch that begins at centre - radius."""
    first, end = max(0, centre - radius), min(length, centre + radius + 1)
    return slice(first, end), slice(first - centre + radius, end - centre + radius)


def _check_iou(name: str, iou: float) -> None:
    if not is_number(iou):
        raise TypeError(f"{name}: iou must be a number, got {described(iou)}")
    if not 0 < iou < 1:
        raise ValueError(f"{name}: iou must be between 0 and 1, got {iou}")


def _check_objects(name: str, boxes: Tensor, labels: Tensor, num_classes: int) -> None:
    check_real_tensor(name, "boxes", boxes)
    check_integers(name, "labels", labels)
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name}: boxes must have shape (n, 4), got {tuple(boxes.shape)}")
    if labels.shape != boxes.shape[:1]:
        raise ValueError(f"{name}: labels must have shape {tuple(boxes.shape[:1])}, got {tuple(labels.shape)}")
    if not boxes.isfinite().all():
        raise ValueError(f"{name}: boxes must be finite, got {boxes[~boxes.isfinite().all(1)][0].tolist()}")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(f"{name}: labels must be from 0 to {num_classes - 1}, got {int(wrong[0])}")
