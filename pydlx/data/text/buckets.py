"""Batches of texts of similar length, so that there is little padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydlx._checks import listed, whole

_POOL = 50  # batches that are sorted together: enough for little padding, few enough for random batches


def length_buckets(lengths: Sequence[int], batch_size: int, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    """Divide examples into batches of similar length, differently in every epoch.

    Examples are shuffled, sorted by length within pools of 50 batches, and divided into batches, which are shuffled.
    The result depends only on the arguments, on every machine.

    Args:
        lengths: Lengths of N examples.
        batch_size: Number of examples in a batch; one random batch may hold fewer.
        seed: Seed, not negative.
        epoch: Epoch, not negative.

    Returns:
        ceil(N / batch_size) lists of indices of `lengths`.
    """
    sizes = np.asarray(listed("length_buckets", "lengths", lengths, "whole numbers"))
    if sizes.ndim != 1 or (len(sizes) and sizes.dtype.kind not in "iu"):
        raise TypeError(f"length_buckets: lengths must be whole numbers, got {sizes.dtype} of shape {sizes.shape}")
    whole("length_buckets", "batch_size", batch_size, 1)
    random = np.random.default_rng(
        [whole("length_buckets", "seed", seed, 0), whole("length_buckets", "epoch", epoch, 0)]
    )
    order, pool = random.permutation(len(sizes)), _POOL * batch_size
    batches: list[list[int]] = []
    for part in (order[start : start + pool] for start in range(0, len(order), pool)):
        starts = np.arange(0, len(part), batch_size)
        if short := len(part) % batch_size:
            # The short batch is a random one: if it were the last, a training that drops it would never see the
            # longest examples.
            starts[random.integers(len(starts)) + 1 :] -= batch_size - short
        by_length = part[np.argsort(sizes[part], kind="stable")]
        batches += [batch.tolist() for batch in np.split(by_length, starts[1:])]
    return [batches[place] for place in random.permutation(len(batches))]
