"""The stand-in for ``torchmetrics.Metric`` on its own; test_segmentation.py runs a real metric on it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import distributed

from pydlx.metrics.standalone import Metric


class Mean(Metric):
    """Mean of all numbers, and the numbers themselves."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("seen", [], dist_reduce_fx="cat")

    def update(self, numbers):
        if numbers.isnan().any():
            raise ValueError("NaN")
        self.total = self.total + numbers.sum()
        self.seen.append(numbers)

    def compute(self):
        return (self.total / sum(map(len, self.seen))).item()


class Percent(Mean):
    """Overrides compute and calls the overridden one."""

    def compute(self):
        return 100 * super().compute()


class Total(Mean):
    """What the states hold."""

    def compute(self):
        return self.total.item()


class TotalAndMore(Total):
    """Overrides compute and calls the overridden one."""

    def compute(self):
        return super().compute() + 1


def test_batches_add_up():
    metric = Mean()
    metric.update(torch.tensor([1.0, 2.0]))
    assert metric(torch.tensor([9.0])) == 9, "forward gives the value of the batch"
    assert metric.compute() == 4
    assert torch.cat(metric.seen).tolist() == [1, 2, 9]


def test_reset_forgets_and_defaults_stay():
    metric = Mean()
    for _ in range(2):
        metric.total += 7  # in place: the default must not change with it
        metric.update(torch.tensor([1.0]))
        metric.reset()
        assert metric.total == 0
        assert metric.seen == []


def test_a_batch_that_fails_leaves_no_trace():
    metric = Mean()
    metric.update(torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^NaN$"):
        metric(torch.tensor([torch.nan]))
    assert metric.compute() == 1.5


def test_copies_are_independent():
    metric = Mean()
    metric.update(torch.tensor([1.0]))
    other = copy.deepcopy(metric)
    other.update(torch.tensor([5.0]))
    assert (metric.compute(), other.compute()) == (1, 3)


def test_moves_keep_dtypes():
    metric = torch.nn.Sequential(Mean())[0]
    metric.update(torch.tensor([1.0]))
    metric.half().to("meta")
    assert metric.total.device.type == metric.seen[0].device.type == "meta"
    assert metric.total.dtype is torch.float64
    assert metric.seen[0].dtype is torch.float32
    metric.reset()
    assert metric.total.device.type == "meta"


def test_has_no_parameters_and_an_empty_state_dict():
    assert not list(Mean().parameters())
    assert not Mean().state_dict()


def test_states_are_joined_once(tmp_path, monkeypatch):
    """A process group of one, which claims to be of two that hold the same."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
        monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(2))
        monkeypatch.setattr(
            distributed, "all_gather_object", lambda parts, mine: parts.__setitem__(slice(None), [mine] * 2)
        )
        for metric, unit in ((Mean(), 1), (Percent(), 100)):
            metric.update(torch.tensor([1.0, 5.0]))
            assert metric.compute() == 3 * unit
            metric.total += 6
            assert metric.compute() == 6 * unit
            assert metric(torch.tensor([8.0])) == 8 * unit
            assert (metric.total, len(metric.seen)) == (20, 2), "own states are back"
        for metric, more in ((Total(), 0), (TotalAndMore(), 1)):
            metric.update(torch.tensor([1.0, 5.0]))
            assert metric.compute() == 12 + more
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize(("default", "reduction"), [(torch.zeros(1), "cat"), ([], "sum"), (torch.zeros(1), "mean")])
def test_reductions_that_do_not_fit(default, reduction):
    with pytest.raises(ValueError, match=r'^add_state: dist_reduce_fx must be "sum" for tensors, "cat" for lists, got'):
        Mean().add_state("more", default, dist_reduce_fx=reduction)
