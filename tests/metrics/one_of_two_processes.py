"""What each of two processes does. They are started afresh and have to find it by its name, unlike a test's own."""

import itertools

import torch
from metrics.keypoint_samples import crowd
from metrics.test_box_ap import batch as box_batch
from metrics.test_box_ap import boxes_at_random

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.metrics import (
    BleuScore,
    BoxAP,
    CmrcScore,
    EntityScore,
    KeypointAP,
    RelationScore,
    RougeLScore,
    SquadScore,
)

DATA = {KeypointAP: lambda: batch(*crowd(0)), BoxAP: lambda: box_batch(*boxes_at_random(0))}
ANSWERS = ["a red dog", "一二三", "blue"], [["red", "red dog"], ["一二"], ["green"]]
ENTITIES = [[("A", 0, 1)], [("B", 2, 2), ("A", 2, 2)], []], [[("A", 0, 1)], [("A", 2, 2)], [("B", 0, 0)]]
FACTS = torch.tensor([[0, 1, 1], [0, 0, 1], [1, 0, 0]]) > 0, torch.tensor([[0, 1, 0], [0, 1, 1], [0, 1, 0]]) > 0
SCORES = {  # name -> what makes it, predictions, truth
    "1.1": (SquadScore, *ANSWERS),
    "2.0": (lambda: SquadScore("2.0"), *ANSWERS),
    "cmrc": (lambda: CmrcScore("builtin"), *ANSWERS),
    "bleu": (BleuScore, *ANSWERS),
    "rouge": (RougeLScore, *ANSWERS),
    "entities": (lambda: EntityScore(["A", "B"]), *ENTITIES),
    "relations": (lambda: RelationScore(["Na", "P1", "P2"], frequent=["P2"]), *FACTS),
}
IDLE = {"no update": [], "empty updates": [([], []), ([], [])]}


def one_of_two(rank, folder):
    """Saves what this process computes of data that both have seen in part, or the other one alone."""
    store = torch.distributed.FileStore(str(folder / "store"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    results = {"shared": shared(rank), "scores": {name: scored(name, rank) for name in SCORES}}
    for kind, idle, how in itertools.product(DATA, range(2), IDLE):
        metric = kind(box_format="xywh")
        for predictions, targets in IDLE[how] if rank == idle else [DATA[kind]()]:
            metric.update(predictions, targets)
        results[kind.__name__, idle, how] = metric.compute()
        if rank == idle:
            assert not metric.images  # the process has its own states again
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def scored(name, rank):
    """A score of every second item."""
    make, predictions, truth = SCORES[name]
    metric = make()
    metric.update(predictions[rank::2], truth[rank::2])
    return metric.compute()


def shared(rank):
    """Every second image, and the first one again, as a sampler that fills up its last batch hands it out."""
    predictions, targets = DATA[KeypointAP]()
    metric = KeypointAP(box_format="xywh")
    images = [*range(rank, len(targets), 2), *([0] if rank else [])]
    for i in images:
        metric.update([predictions[i]], [targets[i]], image_ids=[f"image {i:02}"])
    result = metric.compute()
    assert len(metric.curves().recall) == 10  # the process has its own rows again
    return result
