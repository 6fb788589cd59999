"""A pyramid of bins against one average of the whole map, for crops of many sizes.

The task is again to classify the centre of a crop. Batches mix crops of three sizes; the networks are tested on five
other sizes, some smaller and some larger than all of these. All have about as many parameters: the network with the
global average has fewer features to classify, and a hidden layer in its head instead.
"""

from __future__ import annotations

import torch
from data import CLASSES, Crops
from torch import Tensor, nn
from torch.nn import functional as F
from training import convolution, fit

from pydlx.nn import SpatialPyramidPool2d

STEPS = 200
TRAIN_SIZES, TEST_SIZES, PER_SIZE = (24, 32, 40), (20, 28, 36, 48, 64), 16
CHANNELS, HIDDEN = 48, 185
POOLS = {
    "global average": lambda: SpatialPyramidPool2d([1], "average"),
    "pyramid, max": lambda: SpatialPyramidPool2d((4, 2, 1), "max"),
    "pyramid, SoftPool": lambda: SpatialPyramidPool2d((4, 2, 1), "soft"),
}
VARIANTS = tuple(POOLS)
COLUMNS = (*(f"accuracy at {size}" for size in TEST_SIZES), "ms per step")


class Network(nn.Module):
    """Maps a list of batches of crops, each of its own size, to the scores of all crops."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(convolution(3, 16), nn.MaxPool2d(2)),
            *(convolution(16, 32), nn.MaxPool2d(2)),
            convolution(32, CHANNELS),
        )
        self.pool = POOLS[variant]()
        features = self.pool.out_features(CHANNELS)
        hidden = [nn.Linear(features, HIDDEN), nn.ReLU()] if features == CHANNELS else []
        self.head = nn.Sequential(*hidden, nn.Linear(HIDDEN if hidden else features, CLASSES))

    def forward(self, batches: list[Tensor]) -> Tensor:
        """Maps [(n, 3, H, W), ...] to scores (sum of all n, CLASSES)."""
        maps = [image for batch in batches for image in self.trunk(batch)]
        return self.head(self.pool(maps))


def run(variant: str, seed: int, steps: int, train: Crops, test: Crops) -> dict[str, float]:
    """Trains one network and tests it on every size."""
    torch.manual_seed(seed)
    net = Network(variant)

    def loss(generator: torch.Generator) -> Tensor:
        batches, labels = zip(*(train.draw(PER_SIZE, size, generator) for size in TRAIN_SIZES), strict=True)
        return F.cross_entropy(net(batches), torch.cat(labels))

    step = fit(net, loss, seed, steps)
    found = {f"accuracy at {size}": test.accuracy(lambda crops: net([crops]), size) for size in TEST_SIZES}
    return {**found, "ms per step": step}
