"""Masks as spans of pixels, from what COCO's files hold: run lengths and polygons.

Pixels are counted column after column. A span is the pixels ``range(first, end)``; a mask is a row of spans that rise
and do not overlap. The rules of both formats are in ``csrc/mask_spans/mask_spans.h``.
"""

from __future__ import annotations

import itertools

import numpy as np

from pydlx import _native

# What can be wrong with run lengths; the numbers are those of csrc/mask_spans/mask_spans.h.
GOOD, NO_TEXT, WRONG_LENGTHS = 0, 1, 2
_SCALE = 5  # of the grid on which polygons are drawn
_FARTHEST = 2**24


def rle_spans(code: np.ndarray, offsets: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks from COCO's compressed run lengths.

    Args:
        code: (B,) uint8, the text of n masks, one behind the other.
        offsets: (n + 1,) int64, where the text of each begins.
        pixels: (n,) int64, height times width of each.

    Returns:
        Spans (S, 2) int32; where those of each mask begin, (n + 1,) int64; and what is wrong with each, (n,) uint8 of
        ``GOOD``, ``NO_TEXT`` (a character that is none of the code, or a number cut off) and ``WRONG_LENGTHS`` (below
        zero, or not `pixels` in all). Masks at fault have no spans.
    """
    host = _native.host_module()
    if host is not None:
        return host.rle_spans(code, offsets, pixels)
    masks = [
        _read_runs(code[a:b].tolist(), int(n)) for (a, b), n in zip(itertools.pairwise(offsets), pixels, strict=True)
    ]
    faults = np.array([mask if isinstance(mask, int) else GOOD for mask in masks], dtype=np.uint8)
    return *_joined([[] if isinstance(mask, int) else mask for mask in masks]), faults


def run_spans(
    lengths: np.ndarray, offsets: np.ndarray, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks from run lengths that are not compressed; see `rle_spans`.

    Args:
        lengths: (L,) int64, not negative, of n masks, one behind the other.
        offsets: (n + 1,) int64, where those of each begin.
        pixels: (n,) int64, height times width of each.
    """
    counts = np.diff(offsets)
    of = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(lengths)
    before = np.concatenate([[0], ends])[offsets[:-1]]
    totals = np.concatenate([[0], ends])[offsets[1:]] - before
    faults = np.where(totals == pixels, GOOD, WRONG_LENGTHS).astype(np.uint8)
    inside = (np.arange(len(lengths)) - offsets[of]) % 2 == 1
    kept = inside & (lengths > 0) & (faults[of] == GOOD)
    spans = (ends[kept] - before[of[kept]])[:, None] - lengths[kept][:, None] * np.array([1, 0])
    return spans.astype(np.int32), _starts(np.bincount(of[kept], minlength=len(counts))), faults


def chosen_spans(spans: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spans of some masks.

    Args:
        spans: (S, 2) int32, of n masks, one behind the other.
        offsets: (n + 1,) int64, where those of each begin.
        rows: (m,) int64, the places of the masks that are wanted.

    Returns:
        Their spans (S', 2) int32, and where those of each begin, (m + 1,) int64.
    """
    host = _native.host_module()
    if host is not None:
        return host.chosen_spans(spans, offsets, rows)
    counts = np.diff(offsets)[rows]
    starts = _starts(counts)
    return spans[np.arange(starts[-1]) + np.repeat(offsets[rows] - starts[:-1], counts)], starts


def mask_areas(spans: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many pixels each mask has, (n,) float64; spans and offsets as for `chosen_spans`."""
    host = _native.host_module()
    if host is not None:
        return host.mask_areas(spans, offsets)
    before = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0], dtype=np.int64)])
    return np.diff(before[offsets]).astype(np.float64)


def polygon_spans(
    points: np.ndarray, corners: np.ndarray, polygons: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masks from polygons, drawn pixel for pixel as pycocotools draws them.

    Args:
        points: (V, 2) float64, x and y of all corners.
        corners: (P + 1,) int64, where those of each polygon begin.
        polygons: (n + 1,) int64, where the polygons of each mask begin; a mask is all of them together.
        sizes: (n, 2) int64, height and width of each mask.

    Returns:
        Spans (S, 2) int32, and where those of each mask begin, (n + 1,) int64.
    """
    host = _native.host_module()
    if host is not None:
        return host.polygon_spans(points, corners, polygons, sizes)
    masks = []
    for (first, last), (height, width) in zip(itertools.pairwise(polygons), sizes.tolist(), strict=True):
        drawn = [_drawn(points[corners[k] : corners[k + 1]], height, width) for k in range(first, last)]
        masks.append(_united([span for spans in drawn for span in spans]))
    return _joined(masks)


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def _joined(masks: list[list[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray]:
    spans = np.array(list(itertools.chain.from_iterable(masks)), dtype=np.int32).reshape(-1, 2)
    return spans, _starts(np.array([len(mask) for mask in masks], dtype=np.int64))


def _read_runs(code: list[int], pixels: int) -> list[tuple[int, int]] | int:
    """The spans of one mask, or what is wrong with it."""
    runs: list[int] = []
    number = shift = 0
    for character in code:
        bits = character - 48
        if not 0 <= bits <= 63 or shift > 55:
            return NO_TEXT
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        if runs[-1] < 0:
            return WRONG_LENGTHS
        number = shift = 0
    if shift:
        return NO_TEXT
    if sum(runs) != pixels:
        return WRONG_LENGTHS
    ends = np.cumsum([0, *runs]).tolist()
    return _united([(ends[k], ends[k + 1]) for k in range(1, len(runs), 2) if runs[k]])


def _united(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans of all of these pixels."""
    united: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if united and first <= united[-1][1]:
            united[-1] = united[-1][0], max(united[-1][1], end)
        else:
            united.append((first, end))
    return united


def _drawn(polygon: np.ndarray, height: int, width: int) -> list[tuple[int, int]]:
    """The spans of one polygon."""
    corner = np.trunc(np.clip(_SCALE * polygon + 0.5, -_FARTHEST, _FARTHEST)).astype(np.int64)
    path = np.concatenate([_edge(a, b) for a, b in zip(corner, np.roll(corner, -1, axis=0), strict=True)])
    turns = np.flatnonzero(path[1:, 0] != path[:-1, 0])
    here, before = path[turns + 1], path[turns]
    column = (np.where(here[:, 0] < before[:, 0], here[:, 0], here[:, 0] - 1) + 0.5) / _SCALE - 0.5
    row = np.ceil(np.clip((np.minimum(here[:, 1], before[:, 1]) + 0.5) / _SCALE - 0.5, 0, height))
    there = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    places = np.sort(column[there].astype(np.int64) * height + row[there].astype(np.int64)).tolist()
    places += [height * width] * (len(places) % 2)
    return _united([(a, b) for a, b in zip(places[::2], places[1::2], strict=True) if a < b])


def _edge(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The points of the fine grid from one corner to the next, one for each step along the longer side."""
    longer = 0 if abs(end[0] - start[0]) >= abs(end[1] - start[1]) else 1
    turned = start[longer] > end[longer]
    low, high = (end, start) if turned else (start, end)  # so that both directions round alike
    steps = np.arange(high[longer] - low[longer] + 1)
    slope = (high[1 - longer] - low[1 - longer]) / max(1, len(steps) - 1)
    points = np.empty((len(steps), 2), dtype=np.int64)
    points[:, longer] = low[longer] + steps
    points[:, 1 - longer] = np.trunc(low[1 - longer] + slope * steps + 0.5)
    return points[::-1] if turned else points
