"""The loader of batches of similar length: every item once, split among processes, the same after resuming."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")

from pydlx.training.reproducible import TrainingLoader

LENGTHS = torch.randint(1, 500, (203,), generator=torch.Generator().manual_seed(0)).tolist()


def loader(lengths=LENGTHS, **settings):
    """Batches of eight numbers."""
    return TrainingLoader(range(len(LENGTHS)), lambda number: number, 8, seed=3, lengths=lengths, **settings)


def epoch(made):
    return [batch.tolist() for batch in made]


def padded(batches):
    """Returns the ratio of tokens with padding to tokens without."""
    total = sum(max(LENGTHS[n] for n in batch) * len(batch) for batch in batches)
    return total / sum(LENGTHS[n] for batch in batches for n in batch)


def test_every_item_comes_once_in_batches_of_similar_length():
    made = loader()
    epochs = [epoch(made) for _ in range(3)]
    for batches in epochs:
        assert sorted(n for batch in batches for n in batch) == list(range(203))
        assert sorted(map(len, batches)) == [3, *[8] * 25]
        assert padded(batches) < 1.15
    assert len(made) == 26
    assert padded(epoch(loader(lengths=None))) > 1.6
    assert epochs[0] != epochs[1] != epochs[2]
    longest = {max(range(26), key=lambda n: max(LENGTHS[item] for item in batches[n])) for batches in epochs}
    assert len(longest) > 1  # the order of batches is shuffled, too
    assert epoch(loader()) == epochs[0]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stop", [0, 1, 25, 26, 30])
def test_it_goes_on_where_it_stood(stop, workers):
    whole = [batch for made in [loader()] for _ in range(2) for batch in epoch(made)]
    made, seen = loader(), []
    while len(seen) < stop:
        for batch in made:
            seen.append(batch.tolist())
            if len(seen) == stop:
                break
    again = loader(workers=workers)
    again.load_state_dict(made.state_dict())
    while len(seen) < len(whole):
        seen += epoch(again)
    assert seen == whole


@pytest.mark.parametrize("drop_last", [False, True])
def test_processes_share_the_items(drop_last):
    """Each process has as many batches; one item comes twice, as 203 is odd; a short batch may be dropped."""
    own = [epoch(loader(processes=2, process=rank, drop_last=drop_last)) for rank in (0, 1)]
    assert [len(batches) for batches in own] == [12 if drop_last else 13] * 2
    seen = [n for batches in own for batch in batches for n in batch]
    if drop_last:
        assert {len(batch) for batches in own for batch in batches} == {8}
        assert len(set(seen)) >= len(seen) - 1
    else:
        assert sorted(set(seen)) == list(range(203))
        assert len(seen) == 204
    assert all(padded(batches) < 1.3 for batches in own)
