"""Masks of many images, one behind the other, from whatever holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import described
from pydlx._optional import needed_for
from pydlx.data.mask_spans import NO_TEXT, WRONG_LENGTHS, chosen_spans, mask_areas, polygon_spans, rle_spans, run_spans

if TYPE_CHECKING:
    from pydlx.data.coco_masks import Segmentations

Refuse = Callable[[int, str], None]  # the place of a mask, and what is wrong with it; may raise


@dataclass(frozen=True)
class MaskRows:
    """N masks as spans of pixels, see `pydlx.ops.ragged_mask_iou`.

    Attributes:
        spans: (S, 2) int32, first pixel and end of each span, pixels counted column after column.
        offsets: (N + 1,) int64, where the spans of each mask begin.
        sizes: (N, 2) int64, height and width of each mask's image.
    """

    spans: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    def area(self) -> np.ndarray:
        """(N,) float64, how many pixels each has."""
        return mask_areas(self.spans, self.offsets)

    def at(self, rows: np.ndarray | None) -> MaskRows:
        """Some of them, by their places; all of them where that is None."""
        if rows is None:
            return self
        spans, offsets = chosen_spans(self.spans, self.offsets, rows)
        return MaskRows(spans, offsets, self.sizes[rows])


def joined(parts: Sequence[MaskRows]) -> MaskRows:
    """The masks of all parts."""
    counts = [np.diff(part.offsets) for part in parts]
    return MaskRows(
        np.concatenate([np.zeros((0, 2), dtype=np.int32), *(part.spans for part in parts)]),
        np.concatenate([[0], np.cumsum(np.concatenate([[], *counts]), dtype=np.int64)]).astype(np.int64),
        np.concatenate([np.zeros((0, 2), dtype=np.int64), *(part.sizes for part in parts)]),
    )


def dense_masks(masks: Tensor) -> MaskRows:
    """Masks (n, H, W), bool, on any device: what goes over to the CPU are the spans alone."""
    count, height, width = masks.shape
    columns = masks.transpose(1, 2).reshape(count, height * width)
    edge = torch.zeros(count, 1, dtype=torch.bool, device=masks.device)
    changes = torch.cat([edge, columns], 1) != torch.cat([columns, edge], 1)
    of, place = (each.cpu().numpy() for each in changes.nonzero(as_tuple=True))
    counts = np.bincount(of, minlength=count) // 2
    return MaskRows(
        place.reshape(-1, 2).astype(np.int32),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.tile(np.array([[height, width]], dtype=np.int64), (count, 1)),
    )


def coded_masks(masks: Sequence[Any], size: tuple[int, int] | None, refuse: Refuse) -> MaskRows:
    """Masks as COCO writes them: polygons, or dicts with ``size`` and ``counts`` (text, bytes or a list).

    Args:
        masks: one entry each.
        size: height and width of the image, which polygons need.
        refuse: called with the place of an entry that is no mask, and what it must be and is.
    """
    with needed_for("masks as polygons or run lengths", extra="metrics"):
        import msgspec

        from pydlx.data.coco_masks import segmentations

    def wrong(place: int, found: str) -> None:
        refuse(place, f"must be polygons or run lengths as in COCO's files, got {found}")

    def raw(place: int, mask: Any) -> Any:
        if isinstance(mask, Mapping) and isinstance(mask.get("counts"), bytes):  # as pycocotools gives it
            mask = {**mask, "counts": mask["counts"].decode("ascii", "replace")}
        try:
            return msgspec.Raw(msgspec.json.encode(mask, enc_hook=_plain))
        except TypeError:
            wrong(place, described(mask))
            return msgspec.Raw(b"[]")

    sizes = np.tile(np.array([size or (0, 0)], dtype=np.int64), (len(masks), 1))
    return decoded(segmentations([raw(i, mask) for i, mask in enumerate(masks)], wrong), sizes, refuse)[0]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError


def decoded(masks: Segmentations, sizes: np.ndarray, refuse: Refuse) -> tuple[MaskRows, np.ndarray]:
    """The masks of COCO's files.

    Args:
        masks: N masks, not decoded.
        sizes: (N, 2) int64, height and width of the image of each, zeros where they are not known.
        refuse: called with the place of a mask that is at fault, and what it must be and is.

    Returns:
        The masks, and which are good, (N,) bool; the others are empty.
    """
    from pydlx.data.coco_masks import CODE, COUNTS, POLYGONS

    good = _sized(masks, sizes, refuse)
    sizes = np.where(masks.sizes > 0, masks.sizes, sizes)
    parts, places = [], []
    for kind in (POLYGONS, CODE, COUNTS):
        at = np.flatnonzero(good & (masks.kinds == kind))
        if not len(at):
            continue
        chosen = masks if len(at) == len(good) else masks.of(good & (masks.kinds == kind))
        pixels = sizes[at].prod(1)
        if kind == POLYGONS:
            spans, offsets = polygon_spans(chosen.points, chosen.corners, chosen.polygons, sizes[at])
            faults = np.zeros(len(at), dtype=np.uint8)
        elif kind == CODE:
            spans, offsets, faults = rle_spans(chosen.code, chosen.codes, pixels)
        else:
            spans, offsets, faults = run_spans(chosen.lengths, chosen.counts, pixels)
        for i in np.flatnonzero(faults).tolist():
            good[at[i]] = False
            refuse(int(at[i]), _reason(int(faults[i]), sizes[at[i]]))
        parts.append(MaskRows(spans, offsets, sizes[at]))
        places.append(at)
    if (wrong := np.flatnonzero(~good)).size:
        absent = np.setdiff1d(wrong, np.concatenate([wrong[:0], *places]))
        parts.append(MaskRows(np.zeros((0, 2), np.int32), np.zeros(len(absent) + 1, np.int64), sizes[absent]))
        places.append(absent)
    if len(parts) == 1:
        return parts[0], good
    order = np.concatenate([np.zeros(0, dtype=np.int64), *places]).argsort()
    return joined(parts).at(order), good


def _sized(masks: Segmentations, sizes: np.ndarray, refuse: Refuse) -> np.ndarray:
    """Which masks have a size that is not against their image's."""
    good = np.ones(len(masks.kinds), dtype=bool)
    own, image = masks.sizes, sizes
    lost = np.logical_and((own <= 0).any(1), (image <= 0).any(1))
    other = (own > 0).all(1) & (image > 0).all(1) & (own != image).any(1)
    huge = np.where((own > 0).all(1), own.prod(1), image.prod(1)) >= 2**31
    for i in np.flatnonzero(lost | other | huge).tolist():
        good[i] = False
        if other[i]:
            refuse(i, f"must have the image's size {image[i].tolist()}, got {own[i].tolist()}")
        elif lost[i]:
            refuse(i, "must be of an image that has height and width, got polygons without")
        else:
            refuse(i, f"must have fewer than 2**31 pixels, got {int(max(own[i].prod(), image[i].prod()))}")
    return good


def _reason(fault: int, size: np.ndarray) -> str:
    if fault == NO_TEXT:
        return "must have counts in COCO's code, got text that is none"
    assert fault == WRONG_LENGTHS
    height, width = size.tolist()
    return f"must have run lengths of {height} x {width} pixels in all, got others"
