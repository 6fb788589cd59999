"""The fractions of people found, against hand-made cases and every possible matching."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest
import torch

import pydlx.metrics.matched_poses
from pydlx.metrics import multi_person_ap, single_person_ap


def test_single_person_counts_strictly_larger_ones():
    people = [0.5, 0.75, 1.0, 0.2]
    assert single_person_ap(people, 0.5) == 0.5
    assert single_person_ap(people, 0.49) == 0.75
    assert single_person_ap(people, 1.0) == 0
    for same in (torch.tensor(people), np.array(people, dtype=np.float32)):
        assert single_person_ap(same, 0.5) == 0.5


def test_several_thresholds_give_the_mean():
    people = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    limits = np.linspace(0.5, 0.95, 10)
    assert single_person_ap(people, limits) == pytest.approx(np.mean([single_person_ap(people, t) for t in limits]))
    matrices = [people[:20].view(4, 5), people[20:].view(6, 5)]
    for matching in ("greedy", "hungarian"):
        if matching == "hungarian":
            pytest.importorskip("scipy")
        each = [multi_person_ap(matrices, t, matching) for t in limits.tolist()]
        assert multi_person_ap(matrices, limits.tolist(), matching) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("matrix", "threshold", "expected"),
    [
        ([[0.9, 0.8], [0.7, 0.1]], 0.5, 0.5),  # the first row takes what the second needs
        ([[0.7, 0.1], [0.9, 0.8]], 0.5, 1.0),  # the second row takes what is left
        ([[0.9, 0.8], [0.7, 0.1]], 0.85, 0.5),
        ([[0.4, 0.3], [0.9, 0.1]], 0.5, 0.5),  # a row below the threshold takes nobody
        ([[0.5]], 0.5, 0.0),
        ([[0.8, 0.8], [0.9, 0.1]], 0.5, 0.5),  # of equal ones the first
        ([[0.9], [0.8], [0.7]], 0.5, 1.0),  # detections left over cost nothing
    ],
)
def test_greedy(matrix, threshold, expected):
    assert multi_person_ap([matrix], threshold) == expected


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_hungarian_is_the_best_of_all_matchings(shape):
    pytest.importorskip("scipy")
    matrix = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide = matrix if shape[0] <= shape[1] else matrix.T
    choices = itertools.permutations(range(wide.shape[1]), len(wide))
    best = max((wide[range(len(wide)), list(people)] for people in choices), key=torch.sum)
    for threshold in (0.2, 0.5, 0.8):
        expected = int((best > threshold).sum()) / shape[1]
        assert multi_person_ap([matrix], threshold, "hungarian") == expected


@pytest.mark.parametrize("matching", ["greedy", "hungarian"])
def test_people_count_over_all_images(matching):
    if matching == "hungarian":
        pytest.importorskip("scipy")
    images = [torch.tensor([[0.9]]), torch.zeros(0, 2), torch.zeros(3, 0), torch.tensor([[0.1, 0.6]])]
    assert multi_person_ap(images, 0.5, matching) == 2 / 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: single_person_ap([], 0.5), "single_person_ap: oks must hold at least one person, got none"),
        (lambda: single_person_ap([[0.5]], 0.5), r"single_person_ap: oks must have shape \(n,\), got \(1, 1\)"),
        (lambda: single_person_ap([float("nan")], 0.5), "single_person_ap: oks must be numbers, got NaN"),
        (lambda: single_person_ap([0.5], []), "single_person_ap: threshold must be a number, or several, got none"),
        (lambda: multi_person_ap([], 0.5), "multi_person_ap: oks_matrices must hold at least one person, got none"),
        (lambda: multi_person_ap([[[0.5]], [0.5]], 0.5), r"multi_person_ap: oks_matrices\[1\] must have shape \(det"),
        (lambda: multi_person_ap([[[0.5]]], 0.5, "best"), "multi_person_ap: matching must be one of 'greedy', 'hung"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_examples():
    pytest.importorskip("scipy")
    assert doctest.testmod(pydlx.metrics.matched_poses).failed == 0
