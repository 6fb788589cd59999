"""Two processes together compute what one does."""

import pytest
import torch
from metrics.one_of_two_processes import one_of_two
from metrics.test_keypoint_ap import crowd

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.metrics import KeypointAP


@pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")
def test_two_processes(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    alone = KeypointAP(box_format="xywh")
    alone.update(*batch(*crowd(0)))
    expected = alone.compute()
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == expected
