"""SoftPool against max and average pooling: which class does the centre of a 32 by 32 crop belong to?

The networks differ only in their three pooling layers; they start from the same weights and see the same batches.
"""

from __future__ import annotations

import torch
from data import CLASSES, Crops
from torch import Tensor, nn
from torch.nn import functional as F
from training import convolution, fit

from pydlx.nn import SoftPool2d

STEPS = 300
SIZE, BATCH = 32, 64
POOLS = {
    "average": lambda: nn.AvgPool2d(2),
    "max": lambda: nn.MaxPool2d(2),
    "SoftPool": lambda: SoftPool2d(2),
    "SoftPool, paper gradient": lambda: SoftPool2d(2, gradient="paper"),
}
VARIANTS = tuple(POOLS)
COLUMNS = ("accuracy", "ms per step")


def network(variant: str) -> nn.Sequential:
    """Builds a network that maps (N, 3, 32, 32) to scores (N, CLASSES)."""
    pool = POOLS[variant]
    return nn.Sequential(
        *(convolution(3, 16), pool()),
        *(convolution(16, 32), pool()),
        *(convolution(32, 48), pool()),
        *(nn.Conv2d(48, CLASSES, SIZE // 8), nn.Flatten()),
    )


def run(variant: str, seed: int, steps: int, train: Crops, test: Crops) -> dict[str, float]:
    """Trains and tests one network."""
    torch.manual_seed(seed)
    net = network(variant)

    def loss(generator: torch.Generator) -> Tensor:
        crops, labels = train.draw(BATCH, SIZE, generator)
        return F.cross_entropy(net(crops), labels)

    step = fit(net, loss, seed, steps)
    return {"accuracy": test.accuracy(net, SIZE), "ms per step": step}
