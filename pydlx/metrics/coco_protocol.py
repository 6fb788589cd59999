"""Average precision and recall by the protocol of the COCO evaluation, for any measure of similarity.

Lin et al., "Microsoft COCO: Common Objects in Context", arXiv 1405.0312; https://cocodataset.org/#detection-eval. The
rules of matching and of the curves are in `pydlx.ops.match_detections`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_type, is_number, is_whole, listed, numbers
from pydlx.ops.match_detections import match_detections, precision_curves

ALL = "all"
SMALL, MEDIUM, LARGE = (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10)
EVERYTHING = (0.0, 1e10)


# NumPy's linspace and torch's round differently, and recalls such as 7 / 10 are compared with these numbers.
def coco_thresholds() -> Tensor:
    """0.50, 0.55, ..., 0.95."""
    return torch.from_numpy(np.linspace(0.5, 0.95, 10))


def coco_recalls() -> Tensor:
    """0.00, 0.01, ..., 1.00."""
    return torch.from_numpy(np.linspace(0, 1, 101))


@dataclass(frozen=True)
class Protocol:
    """What is looked at.

    Attributes:
        thresholds: (T,) float64, similarities from which on a detection is right.
        recalls: (R,) float64, ascending, recalls at which precision is sampled.
        areas: name -> (least, largest) area of the truths that count, both ends included; ``"all"`` among them.
        max_detections: limits of detections per image and category, ascending.
    """

    areas: Mapping[str, tuple[float, float]]
    max_detections: tuple[int, ...]
    thresholds: Tensor = field(default_factory=coco_thresholds)
    recalls: Tensor = field(default_factory=coco_recalls)


@dataclass(frozen=True)
class Detections:
    """D detections: which image and category (D,) int64, how sure (D,) and how large (D,) float64."""

    images: Tensor
    categories: Tensor
    scores: Tensor
    area: Tensor


@dataclass(frozen=True)
class Truths:
    """G truths.

    Attributes:
        images: (G,) int64.
        categories: (G,) int64.
        area: (G,) float64.
        crowd: (G,) bool: a region that any number of detections may match; ignored.
        ignored: (G,) bool: truths that do not count, whatever their area.
        unrecorded: (G,) bool or None, see `match_detections`.
    """

    images: Tensor
    categories: Tensor
    area: Tensor
    crowd: Tensor
    ignored: Tensor
    unrecorded: Tensor | None = None


# (rows of the detections, rows of the truths, their offsets by group) -> similarity of all pairs, see match_detections.
# Rows are None where they are all in order; see `taken`.
Similarity = Callable[[np.ndarray | None, np.ndarray | None, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Curves:
    """What an evaluation found.

    Attributes:
        protocol: what was looked at.
        precision: (T, R, C, A, M) float64: by threshold, recall, category, area range, limit; -1 without truths.
        recall: (T, C, A, M) float64, the recall of all detections.
        scores: (T, R, C, A, M) float64, the score from which on precision and recall are those of the sample.
    """

    protocol: Protocol
    precision: Tensor
    recall: Tensor
    scores: Tensor

    def average_precision(
        self,
        *,
        threshold: float | None = None,
        category: int | None = None,
        area: str = ALL,
        limit: int | None = None,
    ) -> float:
        """Mean precision over recalls, and over thresholds and categories where none is chosen.

        Args:
            threshold: one of the protocol's.
            category: by its number.
            area: by its name.
            limit: of detections, one of the protocol's; the largest by default.

        Returns:
            The mean, -1 where no truth counts.
        """
        values = self._at(self.precision, area, limit)
        return _mean(self._chosen(values if category is None else values[:, :, category], threshold))

    def average_recall(
        self,
        *,
        threshold: float | None = None,
        category: int | None = None,
        area: str = ALL,
        limit: int | None = None,
    ) -> float:
        """Mean recall of all detections; see `average_precision`."""
        values = self._at(self.recall, area, limit)
        return _mean(self._chosen(values if category is None else values[:, category], threshold))

    def _at(self, values: Tensor, area: str, limit: int | None) -> Tensor:
        limits = self.protocol.max_detections
        return values[..., list(self.protocol.areas).index(area), limits.index(limit or limits[-1])]

    def _chosen(self, values: Tensor, threshold: float | None) -> Tensor:
        return values if threshold is None else values[(self.protocol.thresholds - threshold).abs() < 1e-9]


def _mean(values: Tensor) -> float:
    known = values.numpy()[values.numpy() > -1]
    return float(known.mean()) if known.size else -1.0


def evaluate(
    detections: Detections, truths: Truths, similarity: Similarity, protocol: Protocol, images: int, categories: int
) -> Curves:
    """Matches and counts.

    The short steps between the ops are NumPy's on purpose: torch would cut each of them over all threads, and each
    would take as long as the slowest thread, which on a busy machine is many times what the step itself takes.

    Args:
        detections: in any order; among equal scores of an image the earlier goes first.
        truths: in any order.
        similarity: of given rows of either.
        protocol: what to look at.
        images: how many there are.
        categories: how many there are.
    """
    bounds = np.array(list(protocol.areas.values()), dtype=np.float64)
    found_rows, found_groups = _in_order(detections, images)
    found_rows, found_groups = _best_rows(found_rows, found_groups, detections.scores, protocol.max_detections[-1])
    true_rows, true_groups = _in_order(truths, images)
    # Of all images x categories few have detections where there are many; truths of the others are only counted.
    groups = found_groups[np.flatnonzero(np.diff(found_groups, prepend=-1))]
    true_rows, true_groups = _rows_in(groups, true_rows, true_groups)
    found, true = _offsets(found_groups, groups), _offsets(true_groups, groups)
    ignored = (truths.ignored | truths.crowd).numpy() | _outside(truths.area, bounds)
    of = truths.categories.numpy()
    positives = np.stack([np.bincount(of[~out], minlength=categories) for out in ignored])
    score = taken(detections.scores, found_rows)
    outcome, rank = match_detections(
        similarity(found_rows, true_rows, found, true),
        score,
        found,
        true,
        torch.from_numpy(_outside(taken(detections.area, found_rows), bounds)),
        torch.from_numpy(ignored if true_rows is None else ignored[:, true_rows]),
        taken(truths.crowd, true_rows),
        None if truths.unrecorded is None else taken(truths.unrecorded, true_rows),
        protocol.thresholds,
        protocol.max_detections[-1],
    )
    category_offsets = _offsets(found_groups, np.arange(categories) * images)
    curves = precision_curves(
        outcome,
        rank,
        score,
        category_offsets,
        torch.from_numpy(positives),
        protocol.recalls,
        protocol.max_detections,
    )
    return Curves(protocol, *curves)


def taken(values: Tensor, rows: np.ndarray | None) -> Tensor:
    """Some rows, or where `rows` is None all of them."""
    return values if rows is None else torch.from_numpy(values.numpy()[rows])


def _in_order(of: Detections | Truths, images: int) -> tuple[np.ndarray | None, np.ndarray]:
    """The order that brings rows of a group together (None: the present one), and the group of each row then."""
    groups = of.categories.numpy() * images + of.images.numpy()
    if (groups[1:] >= groups[:-1]).all():
        return None, groups
    bits = len(groups).bit_length()
    if int(groups.max()) < 1 << (62 - bits):  # group and row in one number, which sorts in a tenth of the time
        keys = np.sort(groups << bits | np.arange(len(groups)))
        return keys & ((1 << bits) - 1), keys >> bits
    rows = groups.argsort(kind="stable")
    return rows, groups[rows]


# Leaving detections out costs a copy of the others, which is worth it from this share of them on.
_WORTH_A_COPY = 1 / 8


def _best_rows(
    rows: np.ndarray | None, groups: np.ndarray, scores: Tensor, limit: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """The rows among the `limit` best of their group, where so many are not that comparing them would take long."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    counts = np.diff(starts, append=len(groups))
    if np.maximum(counts - limit, 0).sum() <= _WORTH_A_COPY * len(groups):
        return rows, groups
    order = np.lexsort((-taken(scores, rows).numpy(), groups))
    place = np.arange(len(groups)) - np.repeat(starts, counts)
    return _selected(rows, groups, np.sort(order[place < limit]))


def _rows_in(groups: np.ndarray, rows: np.ndarray | None, of_rows: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The rows whose group is one of `groups`."""
    known = np.append(groups, -1)[np.searchsorted(groups, of_rows)] == of_rows
    return (rows, of_rows) if known.all() else _selected(rows, of_rows, np.flatnonzero(known))


def _selected(rows: np.ndarray | None, groups: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return kept if rows is None else rows[kept], groups[kept]


def _offsets(of_rows: np.ndarray, starts: np.ndarray) -> Tensor:
    """Where rows of each of the ascending `starts` begin, and where the last ends."""
    return torch.from_numpy(np.append(np.searchsorted(of_rows, starts), len(of_rows)).astype(np.int64))


def _outside(area: Tensor, bounds: np.ndarray) -> np.ndarray:
    """(A, n) bool."""
    return (area.numpy() < bounds[:, :1]) | (area.numpy() > bounds[:, 1:])


def validated(
    name: str,
    areas: Mapping[str, Sequence[float]],
    limits: Sequence[int],
    recall_thresholds: Sequence[float] | Tensor | None,
    **thresholds: Sequence[float] | Tensor | None,
) -> Protocol:
    """A protocol from what a user gives, checked; `thresholds` is ``iou_thresholds`` or ``oks_thresholds``."""
    check_type(name, "area_ranges", areas, Mapping, "names with (least, largest)")
    for area, bounds in areas.items():
        pair = bounds if isinstance(bounds, Sequence) and all(map(is_number, bounds)) else ()
        if len(pair) != 2 or not pair[0] <= pair[1]:
            raise ValueError(f"{name}: area_ranges[{area!r}] must be (least, largest), got {bounds!r}")
    if ALL not in areas:
        raise ValueError(f'{name}: area_ranges must have a range "all", got {list(areas)}')
    counts = listed(name, "max_detections", limits, "positive whole numbers")
    if not counts or not all(is_whole(limit) and limit > 0 for limit in counts):
        raise ValueError(f"{name}: max_detections must be positive whole numbers, got {limits!r}")
    (argument, values), recalls = thresholds.popitem(), recall_thresholds
    ranges = {key: (float(a), float(b)) for key, (a, b) in areas.items()}
    return Protocol(
        ranges,
        tuple(sorted(map(int, counts))),
        coco_thresholds() if values is None else _fractions(name, argument, values),
        coco_recalls() if recalls is None else _fractions(name, "recall_thresholds", recalls),
    )


def _fractions(name: str, argument: str, values: Sequence[float] | Tensor) -> Tensor:
    """Numbers from 0 to 1, ascending, float64."""
    entries = numbers(name, argument, values)
    if not entries or not all(0 <= entry <= 1 for entry in entries):
        raise ValueError(f"{name}: {argument} must be numbers from 0 to 1, got {values!r}")
    return torch.tensor(sorted(entries), dtype=torch.float64, device="cpu")


def unrecorded(has_id_0: Tensor | None, compatibility: str | None) -> Tensor | None:
    """Truths whose matches are lost: with pycocotools those of id 0, which there means "unmatched"."""
    if has_id_0 is None or not bool(has_id_0.any()):
        return None
    if compatibility == "pycocotools":
        return has_id_0
    warnings.warn(
        'an annotation has the id 0, which pycocotools takes for unmatched; compatibility="pycocotools" does the same',
        UserWarning,
        stacklevel=2,
    )
    return None


def check_compatibility(name: str, compatibility: str | None) -> None:
    """Refuses what is not a known implementation."""
    check_one_of(name, "compatibility", compatibility, (None, "pycocotools"))
