"""Batch norm over the batches of all processes, on the CPU, too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that trains with the mean and variance of all processes' batches together, which are equally large.

    So that several processes train as one does with all of their items. ``nn.SyncBatchNorm`` (torch 2.14) does the same
    on GPUs alone.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not (self.training and _processes() > 1):
            return super().forward(input)
        wide = input if input.dtype == torch.float64 else input.float()  # mixed precision brings half floats
        mean = _mean_of_all(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = _mean_of_all(centred.square().mean((0, 2, 3)))
        self._remember(mean.detach(), variance.detach(), input.numel() // len(mean) * _processes())
        normal = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            normal = normal * self.weight[:, None, None] + self.bias[:, None, None]
        return normal.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        running: Any = (self.running_mean, self.running_var, self.num_batches_tracked)
        running[0].lerp_(mean, self.momentum)
        running[1].lerp_(variance * count / max(1, count - 1), self.momentum)
        running[2].add_(1)


def share_batch_norm(model: nn.Module) -> None:
    """Make every ``nn.BatchNorm2d`` within a model one that is shared; weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


def _processes() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def _mean_of_all(values: Tensor) -> Tensor:
    """The mean over all processes, whose gradient reaches all of them."""
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(values) / _processes()
