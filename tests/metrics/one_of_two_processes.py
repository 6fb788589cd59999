"""What each of two processes does. They are started afresh and have to find it by its name, unlike a test's own."""

import torch
from metrics.test_keypoint_ap import crowd

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.metrics import KeypointAP


def one_of_two(rank, folder):
    """Every second image, and the first one again, as a sampler that fills up its last batch hands it out."""
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    predictions, targets = batch(*crowd(0))
    metric = KeypointAP(box_format="xywh")
    images = [*range(rank, len(targets), 2), *([0] if rank else [])]
    for i in images:
        metric.update([predictions[i]], [targets[i]], image_ids=[i])
    torch.save(metric.compute(), folder / f"{rank}.pt")
    assert len(metric.curves().recall) == 10  # the process has its own rows again
    torch.distributed.destroy_process_group()
