"""Two processes together compute what one does, also where one of them sees no image."""

import itertools

import pytest
import torch
from metrics.one_of_two_processes import DATA, IDLE, SCORES, one_of_two

from pydlx.metrics import KeypointAP

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What either process computed."""
    pytest.importorskip("torchmetrics")
    folder = tmp_path_factory.mktemp("two_processes")
    torch.multiprocessing.spawn(one_of_two, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def alone(kind):
    metric = kind(box_format="xywh")
    metric.update(*DATA[kind]())
    return metric.compute()


def test_each_sees_a_part(results):
    assert [result["shared"] for result in results] == [alone(KeypointAP)] * 2


def test_one_sees_nothing(results):
    for kind in DATA:
        expected = alone(kind)
        assert 0.05 < expected["AP"] < 0.95
        for idle, how in itertools.product(range(2), IDLE):
            assert [result[kind.__name__, idle, how] for result in results] == [expected] * 2, (kind, idle, how)


def test_items_are_shared_out(results):
    for name, (make, predictions, truth) in SCORES.items():
        metric = make()
        metric.update(predictions, truth)
        for result in results:
            torch.testing.assert_close(result["scores"][name], metric.compute(), rtol=1e-14, atol=0, equal_nan=True)
