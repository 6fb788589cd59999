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
# Rows are None where they are all in order.
Similarity = Callable[[Tensor | None, Tensor | None, Tensor, Tensor], Tensor]


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
    values = values[values > -1]
    return float(values.mean()) if values.numel() else -1.0


def evaluate(
    detections: Detections, truths: Truths, similarity: Similarity, protocol: Protocol, images: int, categories: int
) -> Curves:
    """Matches and counts.

    Args:
        detections: in any order; among equal scores of an image the earlier goes first.
        truths: in any order.
        similarity: of given rows of either.
        protocol: what to look at.
        images: how many there are.
        categories: how many there are.
    """
    limits, bounds = list(protocol.max_detections), torch.tensor(list(protocol.areas.values()), dtype=torch.float64)
    found_rows, found_groups = _in_order(detections.categories * images + detections.images)
    found_rows, found_groups = _best_rows(found_rows, found_groups, detections.scores, limits[-1])
    true_rows, true_groups = _in_order(truths.categories * images + truths.images)
    # Of all images x categories few have detections where there are many; truths of the others are only counted.
    groups = found_groups.unique_consecutive()
    true_rows, true_groups = _rows_in(groups, true_rows, true_groups)
    found, true = _offsets(found_groups, groups), _offsets(true_groups, groups)
    ignored = truths.ignored | truths.crowd | _outside(truths.area, bounds)
    positives = torch.stack([torch.bincount(truths.categories[~out], minlength=categories) for out in ignored])
    score = _rows(detections.scores, found_rows)
    outcome, rank = match_detections(
        similarity(found_rows, true_rows, found, true),
        score,
        found,
        true,
        _outside(_rows(detections.area, found_rows), bounds),
        ignored if true_rows is None else ignored[:, true_rows],
        _rows(truths.crowd, true_rows),
        None if truths.unrecorded is None else _rows(truths.unrecorded, true_rows),
        protocol.thresholds,
        limits[-1],
    )
    category_offsets = _offsets(found_groups, torch.arange(categories) * images)
    curves = precision_curves(outcome, rank, score, category_offsets, positives, protocol.recalls, limits)
    return Curves(protocol, *curves)


def _in_order(groups: Tensor) -> tuple[Tensor | None, Tensor]:
    """The order that brings rows of a group together (None: the present one), and the group of each row then."""
    if bool((groups[1:] >= groups[:-1]).all()):
        return None, groups
    ordered, rows = groups.sort(stable=True)
    return rows, ordered


def _best_rows(rows: Tensor | None, groups: Tensor, scores: Tensor, limit: int) -> tuple[Tensor | None, Tensor]:
    """The rows among the `limit` best of their group, which alone are compared with truths."""
    if not len(groups) or int(groups.unique_consecutive(return_counts=True)[1].max()) <= limit:
        return rows, groups
    falling = _rows(scores, rows).argsort(descending=True, stable=True)
    order = falling[groups[falling].argsort(stable=True)]
    place = torch.arange(len(groups)) - torch.searchsorted(groups, groups)
    return _selected(rows, groups, order[place < limit].sort().values)


def _rows_in(groups: Tensor, rows: Tensor | None, of_rows: Tensor) -> tuple[Tensor | None, Tensor]:
    """The rows whose group is one of `groups`."""
    place = torch.searchsorted(groups, of_rows)
    known = torch.cat([groups, groups.new_tensor([-1])])[place] == of_rows
    return (rows, of_rows) if bool(known.all()) else _selected(rows, of_rows, known.nonzero().flatten())


def _selected(rows: Tensor | None, groups: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    return kept if rows is None else rows[kept], groups[kept]


def _offsets(of_rows: Tensor, starts: Tensor) -> Tensor:
    """Where rows of each of the ascending `starts` begin, and where the last ends."""
    return torch.cat([torch.searchsorted(of_rows, starts), starts.new_tensor([len(of_rows)])])


def _rows(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values[order]


def _outside(area: Tensor, bounds: Tensor) -> Tensor:
    return (area < bounds[:, :1]) | (area > bounds[:, 1:])


def validated(name: str, areas: Mapping[str, Sequence[float]], limits: Sequence[int], **values: object) -> Protocol:
    """A protocol from what a user gives, checked."""
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
    given = {}
    for key, value in values.items():
        if value is not None:
            argument = "recall_thresholds" if key == "recalls" else key
            entries = numbers(name, argument, value)
            if not entries or not all(0 <= entry <= 1 for entry in entries):
                raise ValueError(f"{name}: {argument} must be numbers from 0 to 1, got {value!r}")
            given[key] = torch.tensor(sorted(entries), dtype=torch.float64)
    ranges = {key: (float(a), float(b)) for key, (a, b) in areas.items()}
    return Protocol(ranges, tuple(sorted(map(int, counts))), **given)


_LETTERS = {"small": "S", "medium": "M", "large": "L"}


def summary(curves: Curves, *, by_limit: bool) -> dict[str, float]:
    """The numbers by COCO's names; -1 where no truth counts.

    ``AP``, ``AP50``, ``AP75``, then AP by area (``APS``, ``APM``, ``APL``; ``AP_name`` for other names), and the same
    for AR, whose first three are ``AR``, ``AR50``, ``AR75``, or with `by_limit` ``AR1``, ``AR10``, ``AR100``.
    """
    areas = [name for name in curves.protocol.areas if name != ALL]

    def by_area(kind: str, mean: Callable[..., float]) -> dict[str, float]:
        return {kind + _LETTERS.get(area, f"_{area}"): mean(area=area) for area in areas}

    def by_threshold(kind: str, mean: Callable[..., float]) -> dict[str, float]:
        return {kind: mean(), f"{kind}50": mean(threshold=0.5), f"{kind}75": mean(threshold=0.75)}

    precision, recall = curves.average_precision, curves.average_recall
    if by_limit:
        recalls = {f"AR{limit}": recall(limit=limit) for limit in curves.protocol.max_detections}
    else:
        recalls = by_threshold("AR", recall)
    return {**by_threshold("AP", precision), **by_area("AP", precision), **recalls, **by_area("AR", recall)}


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
