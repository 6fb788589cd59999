"""The AP of teaching texts: which fraction of the people was found, at a threshold on their OKS.

These functions know no scores and charge nothing for detections of nobody. COCO's AP (`KeypointAP`,
`evaluate_keypoints`) is the area under a curve of precision over recall, which the detections' scores trace; it counts
an OKS equal to the threshold as found, here it has to be larger. The two kinds of number are not comparable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_real_tensor, described, is_number, listed, numbers
from pydlx._optional import needed_for

_MATCHINGS = ("greedy", "hungarian")


def single_person_ap(oks: Any, threshold: float | Sequence[float]) -> float:
    """Fraction of the people whose OKS is larger than the threshold, for one detection per person.

    Not comparable with COCO's AP, see the top of this file.

    Args:
        oks: (n,), the OKS of each person with their detection: a tensor, an array or a list.
        threshold: A number; or several, for the mean of their fractions.

    Raises:
        ValueError: If oks has another shape, holds NaN or is empty.

    Example:
        >>> single_person_ap([0.9, 0.6, 0.5, 0.2], 0.5)
        0.5
        >>> single_person_ap([0.9, 0.6, 0.5, 0.2], [0.1, 0.5])
        0.75
    """
    people = _similarities("single_person_ap", "oks", oks, dims=1, shape="(n,)")
    if not len(people):
        raise ValueError("single_person_ap: oks must hold at least one person, got none")
    fractions = [(people > limit).double().mean() for limit in _thresholds("single_person_ap", threshold)]
    return float(torch.stack(fractions).mean())


def multi_person_ap(oks_matrices: Iterable[Any], threshold: float | Sequence[float], matching: str = "greedy") -> float:
    """Fraction of the people in all images who are matched with a detection of OKS larger than the threshold.

    Each detection is matched with one person at most, and each person with one detection. Detections that are left over
    cost nothing. Not comparable with COCO's AP, see the top of this file.

    Args:
        oks_matrices: For each image the OKS of its detections (rows) with its people (columns), as
            :func:`pydlx.ops.oks` gives it; (0, n) where nothing was detected.
        threshold: A number; or several, for the mean of their fractions.
        matching: ``"greedy"``: the detections choose in the order of their rows, best score first say, the free person
            they have the highest OKS with, if that is larger than the threshold (of equal ones the first).
            ``"hungarian"``: the matching of the highest sum of OKS, whatever the threshold; needs scipy.

    Raises:
        ValueError: If a matrix has another shape or holds NaN, there are no people, or matching is something else.

    Example:
        The first detection takes the person that the second one needs.

        >>> matrix = [[0.9, 0.8], [0.7, 0.1]]
        >>> multi_person_ap([matrix], 0.5)
        0.5
        >>> multi_person_ap([matrix], 0.5, matching="hungarian")
        1.0
    """
    check_one_of("multi_person_ap", "matching", matching, _MATCHINGS)
    given = listed("multi_person_ap", "oks_matrices", oks_matrices, "a list of matrices")
    matrices = [
        _similarities("multi_person_ap", f"oks_matrices[{i}]", matrix, dims=2, shape="(detections, people)")
        for i, matrix in enumerate(given)
    ]
    people = sum(matrix.shape[1] for matrix in matrices)
    if not people:
        raise ValueError("multi_person_ap: oks_matrices must hold at least one person, got none")
    limits = _thresholds("multi_person_ap", threshold)
    if matching == "greedy":
        found = [sum(_found_greedily(matrix.tolist(), limit) for matrix in matrices) for limit in limits]
    else:
        matched = torch.cat([_matched_by_sum(matrix) for matrix in matrices])
        found = [int((matched > limit).sum()) for limit in limits]
    return sum(found) / (people * len(limits))


def _similarities(name: str, argument: str, given: Any, dims: int, shape: str) -> Tensor:
    try:
        similarities = torch.as_tensor(given)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"{name}: {argument} must be numbers of shape {shape}, got {described(given)}") from None
    check_real_tensor(name, argument, similarities)
    similarities = similarities.double()
    if similarities.dim() != dims:
        raise ValueError(f"{name}: {argument} must have shape {shape}, got {tuple(similarities.shape)}")
    if similarities.isnan().any():
        raise ValueError(f"{name}: {argument} must be numbers, got NaN")
    return similarities


def _thresholds(name: str, threshold: float | Sequence[float]) -> list[float]:
    limits = [float(threshold)] if is_number(threshold) else numbers(name, "threshold", threshold)
    if not limits or any(limit != limit for limit in limits):
        raise ValueError(f"{name}: threshold must be a number, or several, got {threshold if limits else 'none'}")
    return limits


def _found_greedily(rows: list[list[float]], limit: float) -> int:
    """Number of people that detections choose, in the order of the rows."""
    taken: set[int] = set()
    for row in rows:
        free = [person for person in range(len(row)) if person not in taken and row[person] > limit]
        if free:
            taken.add(max(free, key=row.__getitem__))
    return len(taken)


def _matched_by_sum(matrix: Tensor) -> Tensor:
    """The OKS of each pair in the matching of the highest sum."""
    with needed_for('matching="hungarian"', extra="metrics"):
        from scipy.optimize import linear_sum_assignment

    detections, people = linear_sum_assignment(matrix.cpu().numpy(), maximize=True)
    return matrix[torch.from_numpy(detections), torch.from_numpy(people)]
