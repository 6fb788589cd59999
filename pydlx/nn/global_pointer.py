"""Stand-in until the fused op lands: the dense form."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _rotate(x: Tensor) -> Tensor:
    """(B, H, L, d) with rotary positions, interleaved pairs."""
    length, size = x.shape[-2:]
    rates = 10000.0 ** (-2 * torch.arange(size // 2, device=x.device, dtype=x.dtype) / size)
    angles = torch.arange(length, device=x.device, dtype=x.dtype).unsqueeze(1) * rates
    cos, sin = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    real = (mask.unsqueeze(1) & mask.unsqueeze(2)).triu().unsqueeze(1)
    return scores.masked_fill(~real, -torch.inf)


def _loss(scores: Tensor, spans: Tensor) -> Tensor:
    labels = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    labels[tuple(spans.unbind(1))] = True
    zero = scores.new_zeros(*scores.shape[:2], 1)
    positive = torch.cat([zero, (-scores).masked_fill(~labels, -torch.inf).flatten(2)], -1).logsumexp(-1)
    negative = torch.cat([zero, scores.masked_fill(labels, -torch.inf).flatten(2)], -1).logsumexp(-1)
    return (positive + negative).mean()


class GlobalPointer(nn.Module):
    """Dense stand-in."""

    def __init__(self, size: int, types: int, head_size: int = 64, rotary: bool = True) -> None:
        super().__init__()
        self.types, self.head_size, self.rotary = types, head_size, rotary
        self.project = nn.Linear(size, types * 2 * head_size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Scores."""
        q, k = self.project(hidden).unflatten(-1, (self.types, 2, self.head_size)).permute(3, 0, 2, 1, 4)
        if self.rotary:
            q, k = _rotate(q), _rotate(k)
        return _masked(q @ k.transpose(-1, -2) / self.head_size**0.5, mask)

    def loss(self, hidden: Tensor, spans: Tensor, mask: Tensor) -> Tensor:
        """Loss."""
        return _loss(self(hidden, mask), spans)


class EfficientGlobalPointer(nn.Module):
    """Dense stand-in."""

    def __init__(self, size: int, types: int, head_size: int = 64, rotary: bool = True) -> None:
        super().__init__()
        self.head_size, self.rotary = head_size, rotary
        self.project = nn.Linear(size, 2 * head_size)
        self.bias = nn.Linear(2 * head_size, 2 * types)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Scores."""
        p = self.project(hidden)
        q, k = p[..., 0::2].unsqueeze(1), p[..., 1::2].unsqueeze(1)
        if self.rotary:
            q, k = _rotate(q), _rotate(k)
        end, start = (self.bias(p) / 2).transpose(1, 2).unflatten(1, (-1, 2)).unbind(2)
        scores = q @ k.transpose(-1, -2) / self.head_size**0.5 + start.unsqueeze(-1) + end.unsqueeze(-2)
        return _masked(scores, mask)

    def loss(self, hidden: Tensor, spans: Tensor, mask: Tensor) -> Tensor:
        """Loss."""
        return _loss(self(hidden, mask), spans)
