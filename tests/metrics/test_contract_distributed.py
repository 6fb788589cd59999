"""Two processes together compute what one does, for every metric, also where one of them sees nothing."""

import itertools

import pytest
import torch
from metrics.contract_cases import CASES, IDLE, filled
from metrics.contract_process import one_of_two
from metrics.keypoint_samples import crowd

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.metrics import KeypointAP

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What either process computed."""
    folder = tmp_path_factory.mktemp("two_processes")
    torch.multiprocessing.spawn(one_of_two, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_parts_are_joined(results, name):
    batches = CASES[name].batches
    in_order = [*batches[::2], *batches[1::2]]  # as the processes have them, which decides between equal scores
    for result in results:
        same(result[name, "shared"], filled(name, in_order).compute())
        same(result[name, "group"], result[name, "shared"])
        same(result[name, "batch"], filled(name, batches[:2]).compute())
    for rank, result in enumerate(results):
        same(result[name, "alone"], filled(name, batches[rank::2]).compute())


@pytest.mark.parametrize("name", CASES)
def test_one_sees_nothing(results, name):
    expected = filled(name).compute()
    for idle, how in itertools.product(range(2), IDLE):
        for result in results:
            same(result[name, idle, how], expected)


def test_images_that_two_processes_see_count_once(results):
    metric = KeypointAP(box_format="xywh")
    metric.update(*batch(*crowd(0)))
    assert [result["repeated"] for result in results] == [metric.compute()] * 2


def test_one_process_may_print_and_draw_alone(results):
    metrics = filled("ConfusionMetrics", CASES["ConfusionMetrics"].batches * 2)
    assert [result["in turn"] for result in results] == [metrics.table()] * 2


def test_a_failing_compute_leaves_a_process_its_own_states(results):
    for rank, result in enumerate(results):
        assert result["failed"].nonzero().tolist() == [[rank, rank]]
