"""How often a blend waits for the device: each time costs what a kernel over a whole picture costs."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pydlx.blending import blend

WAITING = {"_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero"}


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: scalars that are read, sizes that depend on values."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name.strip("_").startswith("index") and any(
            isinstance(place, torch.Tensor) and place.dtype == torch.bool
            for places in args
            if isinstance(places, (list, tuple))
            for place in places
        )
        if name in WAITING or by_mask:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch):
    counter = Waits()
    read = torch.Tensor.tolist

    def counted(tensor):
        counter.found["tolist"] += 1
        return read(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    return counter


# Method -> waits, those of the solve of an irregular mask included, which on a GPU are one fewer and those in the op.
MOST = {"copy-paste": 2, "poisson": 9, "mixed": 5, "average": 9, "modified-poisson": 2, "gaussian-poisson": 4}


@pytest.mark.parametrize("method", MOST)
def test_a_blend_seldom_waits_for_the_device(method, waits):
    draw = torch.Generator().manual_seed(0)
    source, target = ((255 * torch.rand(3, *size, generator=draw)).byte() for size in ((30, 33), (50, 60)))
    y, x = torch.meshgrid(torch.arange(30) - 15, torch.arange(33) - 16, indexing="ij")
    mask = 255 * (y**2 + x**2 < 150).byte()
    with waits:
        blend(source, target, mask, (9, 12), method)
    assert waits.found.total() <= MOST[method], waits.found


def test_waits_are_counted(waits):
    x = torch.arange(4)
    with waits:
        float(x[0])
        x[x > 1]
        x[x > 2] = 0
        torch.equal(x, x + 1)
        x.tolist()
    assert waits.found.total() >= 5
