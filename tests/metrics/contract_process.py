"""What each of two processes does for test_contract_distributed.py; they are started afresh and find it by its name."""

import warnings

import torch
from metrics.contract_cases import CASES, IDLE, filled
from metrics.keypoint_samples import crowd

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.metrics import ConfusionMetrics, KeypointAP


def one_of_two(rank, folder):
    """Saves what this process computes of data of which it has seen a part, or nothing."""
    warnings.simplefilter("ignore")  # of computing before any update
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    results = {"repeated": repeated_images(rank), "in turn": in_turn(rank), "failed": failed(rank)}
    for name, case in CASES.items():
        results[name, "shared"] = filled(name, case.batches[rank::2]).compute()
        options = {"compute_on_cpu": True, "dist_sync_on_step": True}
        results[name, "batch"] = case.make(**options)(*case.batches[rank])
        alone = filled(name, case.batches[rank::2], sync_on_compute=False)
        results[name, "alone"] = alone.compute()
        results[name, "group"] = filled(
            name, case.batches[rank::2], process_group=torch.distributed.group.WORLD
        ).compute()
        for how in IDLE:
            for idle in range(2):
                batches = case.batches if rank != idle else [] if how == "no update" else [case.empty] * 2
                metric = filled(name, batches)
                results[name, idle, how] = metric.compute()
                if rank == idle:  # it has its own states again
                    assert all(not len(state) for state in metric.metric_state.values() if isinstance(state, list))
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def repeated_images(rank):
    """Every second image, and the first one again, as a sampler that fills up its last batch hands it out."""
    preds, target = batch(*crowd(0))
    metric = KeypointAP(box_format="xywh")
    for i in [*range(rank, len(target), 2), *([0] if rank else [])]:
        metric.update([preds[i]], [target[i]], image_ids=[f"image {i:02}"])
    result = metric.compute()
    assert len(metric.curves().recall) == 10  # the process has its own rows again
    return result


def in_turn(rank):
    """Calls that one process alone makes, none of which may wait for the other; then a table of both."""
    metrics, poses = filled("ConfusionMetrics"), filled("KeypointAP")
    if rank == 0:
        metrics.table(), metrics.plot(), poses.plot(), poses.curves(), poses.per_keypoint()
        filled("BoxAP").labels(), filled("SSIM").plot()
    scores = metrics.compute()
    with metrics.sync_context():
        joined = metrics.table()
    assert joined == metrics.table(scores)
    return joined


def failed(rank):
    """A metric whose compute raises, and which has its own states afterwards."""

    class Failing(ConfusionMetrics):
        def compute(self):
            raise ValueError("no")

    metric = Failing(3)
    metric.update(torch.tensor([[rank]]), torch.tensor([[rank]]))
    try:
        metric.compute()
    except ValueError:
        return metric.matrix
    return None
