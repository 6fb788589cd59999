"""Batch norm that is synchronised over all processes, also on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the mean and variance over the batches of all processes, which must be equally large.

    Several processes then train as one process does with all of their items. ``nn.SyncBatchNorm`` (torch 2.14) does
    this on GPUs only.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise input (N, C, H, W)."""
        if not (self.training and _processes() > 1):
            return super().forward(input)
        wide = input if input.dtype == torch.float64 else input.float()  # in mixed precision the input is half
        mean = _mean_of_all(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = _mean_of_all(centred.square().mean((0, 2, 3)))
        self._update_running(mean.detach(), variance.detach(), input.numel() // len(mean) * _processes())
        normal = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            normal = normal * self.weight[:, None, None] + self.bias[:, None, None]
        return normal.to(input.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: int) -> None:
        running: Any = (self.running_mean, self.running_var, self.num_batches_tracked)
        running[0].lerp_(mean, self.momentum)
        running[1].lerp_(variance * count / max(1, count - 1), self.momentum)
        running[2].add_(1)


def share_batch_norm(model: nn.Module) -> None:
    """Turn every ``nn.BatchNorm2d`` of a model into `SharedBatchNorm2d`, in place; weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


def _processes() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def _mean_of_all(values: Tensor) -> Tensor:
    """Return the mean over all processes; its gradient is sent to all of them."""
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(values) / _processes()
