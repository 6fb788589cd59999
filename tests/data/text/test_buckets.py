"""Batches of similar length."""

import numpy as np
import pytest

from pydlx.data.text import length_buckets

LENGTHS = np.random.default_rng(0).integers(1, 500, 1003).tolist()


def test_every_example_is_in_one_batch():
    batches = length_buckets(LENGTHS, 8)
    assert sorted(place for batch in batches for place in batch) == list(range(1003))
    assert sorted(len(batch) for batch in batches) == [3, *[8] * 125]


def test_epochs_and_seeds_differ_and_come_again():
    runs = [length_buckets(LENGTHS, 8, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert len({str(run) for run in runs}) == 3
    assert length_buckets(LENGTHS, 8, seed=1) == runs[2]
    assert length_buckets([4, 4, 4, 9], 2, seed=3, epoch=5) == length_buckets(
        np.array([4, 4, 4, 9]), 2, seed=3, epoch=5
    )


def test_little_is_padded_and_long_ones_do_not_come_first():
    batches = length_buckets(LENGTHS, 8)
    padded = sum(max(LENGTHS[place] for place in batch) * len(batch) for batch in batches)
    assert padded < 1.05 * sum(LENGTHS)  # 1.75 unsorted
    means = [np.mean([LENGTHS[place] for place in batch]) for batch in batches]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


def test_the_short_batch_is_not_always_the_longest():
    """Training skips the short batch; if it always held the longest texts, they would never be trained on."""
    epochs = [length_buckets(range(47), 32, epoch=epoch) for epoch in range(20)]
    full = [{*next(batch for batch in batches if len(batch) == 32)} for batches in epochs]
    assert set.union(*full) == set(range(47))
    assert all(sorted(map(len, batches)) == [15, 32] for batches in epochs)


def test_few_and_no_examples():
    assert length_buckets([], 4) == []
    assert sorted(length_buckets([5, 2, 9], 4)[0]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: length_buckets([1.5], 1), TypeError, "length_buckets: lengths must be whole numbers, got float64"),
        (lambda: length_buckets([1], 0), ValueError, "length_buckets: batch_size must be positive, got 0"),
        (lambda: length_buckets([1], 1, epoch=-1), ValueError, "length_buckets: epoch must be not negative, got -1"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
