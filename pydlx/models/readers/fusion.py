"""Gates and fusion units: layers that combine several vectors of a token into one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx._checks import whole


def _interpolate(old: Tensor, new: Tensor, gate: Tensor) -> Tensor:
    """old + σ(gate) ∘ (new - old). ``torch.lerp`` refuses mixed dtypes, which autocast produces."""
    return old + gate.sigmoid() * (new - old)


class Gate(nn.Module):
    """σ(W z) ∘ z. Wang and others, "Gated self-matching networks" (R-Net), equation 6.

    Args:
        size: Size of z.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(size, size, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Gate z (..., size); returns (..., size)."""
        return self.gate(z).sigmoid() * z


class GatedSum(nn.Module):
    """g ∘ x + (1 - g) ∘ y with g = σ(W [x; y] + b). Weissenborn and others (FastQAExt), arXiv 1703.04816.

    Args:
        size: Size of x and y.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * size, size)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fuse x and y (..., size); returns (..., size)."""
        return _interpolate(y, x, self.gate(torch.cat([x, y], -1)))


class SFU(nn.Module):
    """Semantic fusion unit: g ∘ x + (1 - g) ∘ r with x = tanh(W_r [r; f] + b_r), g = σ(W_g [r; f] + b_g).

    Hu and others, "Reinforced Mnemonic Reader", arXiv 1705.02798, equation 5.

    Args:
        size: Size of r.
        fused: Size of f, the concatenation of all vectors that are fused into r.
    """

    def __init__(self, size: int, fused: int) -> None:
        super().__init__()
        self.candidate = nn.Linear(size + fused, size)
        self.gate = nn.Linear(size + fused, size)

    def forward(self, r: Tensor, f: Tensor) -> Tensor:
        """Fuse f (..., fused) into r (..., size); returns (..., size)."""
        both = torch.cat([r, f], -1)
        return _interpolate(r, self.candidate(both).tanh(), self.gate(both))


class Highway(nn.Module):
    """Layers t ∘ relu(W x + b) + (1 - t) ∘ x with t = σ(W_t x + b_t). Srivastava and others, arXiv 1505.00387.

    Args:
        size: Size of x.
        layers: Number of layers.
    """

    def __init__(self, size: int, layers: int = 2) -> None:
        super().__init__()
        layers = whole("Highway", "layers", layers, 1)
        self.transforms = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers to x (..., size); returns (..., size)."""
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            x = _interpolate(x, transform(x).relu(), gate(x))
        return x
