"""The ``segmentation`` fields of COCO's files: polygons and run-length codes, as flat arrays, not decoded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from pydlx._optional import needed_for

with needed_for("reading COCO files", extra="metrics"):
    import msgspec

# Of `Segmentations.kinds`.
POLYGONS, CODE, COUNTS = 1, 2, 3

_LARGEST = float(np.finfo(np.float64).max)
_Length = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


@dataclass(frozen=True)
class Segmentations:
    """The masks of N records as their file writes them.

    Each record is of one kind and has its data in the arrays of that kind, at
    ``offsets[n] : offsets[n + 1]``; in the arrays of the other kinds that range is empty.

    Attributes:
        kinds: (N,) uint8: `POLYGONS`, `CODE` (COCO's compressed run lengths) or `COUNTS` (run lengths as a list).
        sizes: (N, 2) int64, height and width of the mask; zeros for polygons, which have the size of their image.
        polygons: (N + 1,) int64, offsets into `corners`: each record is the union of its polygons.
        corners: (P + 1,) int64, offsets into `points`, P polygons of at least three corners each.
        points: (Q, 2) float64, finite x, y.
        codes: (N + 1,) int64, offsets into `code`.
        code: (B,) uint8, the characters of COCO's compressed run lengths; whether they are a code is not checked.
        counts: (N + 1,) int64, offsets into `lengths`.
        lengths: (L,) int64 from 0 to 2^31 - 1, lengths of runs of 0 and 1 in turn, down the columns; whether they add
            up to the size is not checked.
    """

    kinds: np.ndarray
    sizes: np.ndarray
    polygons: np.ndarray
    corners: np.ndarray
    points: np.ndarray
    codes: np.ndarray
    code: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray

    def of(self, good: np.ndarray) -> Segmentations:
        """Those of some records, by a mask (N,)."""
        polygons, rings = _chosen(self.polygons, good)
        corners, points = _chosen(self.corners, rings)
        codes, characters = _chosen(self.codes, good)
        counts, lengths = _chosen(self.counts, good)
        return Segmentations(
            self.kinds[good],
            self.sizes[good],
            polygons,
            corners,
            self.points[points],
            codes,
            self.code[characters],
            counts,
            self.lengths[lengths],
        )


def _chosen(offsets: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The offsets of the chosen ranges put together, and a mask of what lies in them."""
    counts = np.diff(offsets)
    return _ends(counts[good]), np.repeat(good, counts)


def _ends(counts: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def of_counts(
    polygons: np.ndarray, corners: Any, codes: np.ndarray, counts: np.ndarray, **others: np.ndarray
) -> Segmentations:
    """Masks of which it is known how many polygons, characters and run lengths each has, and corners each polygon."""
    return Segmentations(
        polygons=_ends(polygons), corners=_ends(corners), codes=_ends(codes), counts=_ends(counts), **others
    )


class _Mask(msgspec.Struct, gc=False):
    size: tuple[_Length, _Length]
    counts: str | list[_Length]


_FORM = msgspec.json.Decoder(list[list[float]] | _Mask)


def segmentations(raws: Sequence[msgspec.Raw], wrong: Callable[[int, str], None]) -> Segmentations:
    """The masks of some records.

    Args:
        raws: the text of each.
        wrong: called with the place of one that is no mask, and what it is; may raise.

    Returns:
        All of them; a wrong one is without polygons.
    """
    kinds = np.full(len(raws), POLYGONS, dtype=np.uint8)
    sizes = np.zeros((len(raws), 2), dtype=np.int64)
    polygons, codes, counts = (np.zeros(len(raws), dtype=np.int64) for _ in range(3))
    rings: list[list[float]] = []
    code: list[bytes] = []
    lengths: list[list[int]] = []
    for place, raw in enumerate(raws):
        mask = _mask(raw)
        if isinstance(mask, str):
            wrong(place, mask)
        elif isinstance(mask, list):
            polygons[place] = len(mask)
            rings += mask
        else:
            sizes[place] = mask.size
            if isinstance(mask.counts, str):
                kinds[place], codes[place] = CODE, len(mask.counts)
                code.append(mask.counts.encode())
            else:
                kinds[place], counts[place] = COUNTS, len(mask.counts)
                lengths.append(mask.counts)
    return of_counts(
        kinds=kinds,
        sizes=sizes,
        polygons=polygons,
        corners=[len(ring) // 2 for ring in rings],
        points=np.fromiter(itertools.chain.from_iterable(rings), np.float64).reshape(-1, 2),
        codes=codes,
        code=np.frombuffer(b"".join(code), dtype=np.uint8),
        counts=counts,
        lengths=np.fromiter(itertools.chain.from_iterable(lengths), np.int64),
    )


def _mask(raw: msgspec.Raw) -> list[list[float]] | _Mask | str:
    """Polygons or a run-length code, or in words what there is instead."""
    try:
        mask = _FORM.decode(raw)
    except msgspec.ValidationError as error:
        wrong, _, where = str(error).partition(" - at ")
        wrong = wrong[:1].lower() + wrong[1:].replace("`null`", "null or NaN")
        return wrong + (f" at {where.strip('`').removeprefix('$').removeprefix('.')}" if where else "")
    if isinstance(mask, _Mask):
        return mask if not isinstance(mask.counts, str) or mask.counts.isascii() else "letters beyond ASCII"
    if not mask:
        return "an empty list"
    for ring in mask:
        if len(ring) < 6 or len(ring) % 2:
            return f"a polygon of {len(ring)} numbers"
        if not all(abs(x) <= _LARGEST for x in ring):
            return "a number out of range"
    return mask
