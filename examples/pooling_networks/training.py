"""The convolution block and the training loop that the experiments share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Builds a 3 by 3 convolution that keeps the size, batch normalisation and ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def fit(network: nn.Module, loss: Callable[[torch.Generator], Tensor], seed: int, steps: int) -> float:
    """Trains with AdamW, its rate falling linearly to 0; returns the median milliseconds of a step.

    Args:
        network: The network to train; left in evaluation mode.
        loss: Draws a batch with the generator it is given and returns the network's loss on it.
        seed: Seed of that generator; networks trained with the same seed see the same batches.
        steps: Number of steps.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    network.train()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimiser.zero_grad()
        loss(generator).backward()
        optimiser.step()
        schedule.step()
        times.append(time.perf_counter() - start)
    network.eval()
    return 1e3 * statistics.median(times)
