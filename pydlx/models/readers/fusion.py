"""Ways to make one vector of several, token by token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx._checks import whole


def _between(old: Tensor, new: Tensor, gate: Tensor) -> Tensor:
    """old + σ(gate) ∘ (new - old). ``torch.lerp`` refuses the dtypes that autocast mixes."""
    return old + gate.sigmoid() * (new - old)


class Gate(nn.Module):
    """σ(W z) ∘ z. Wang and others, "Gated self-matching networks" (R-Net), equation 6.

    Args:
        size: Of z.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(size, size, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """(..., size) of z, (..., size)."""
        return self.gate(z).sigmoid() * z


class GatedSum(nn.Module):
    """g ∘ x + (1 - g) ∘ y with g = σ(W [x; y] + b). Weissenborn and others (FastQAExt), arXiv 1703.04816.

    Args:
        size: Of x and y.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * size, size)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., size) of x and y, (..., size)."""
        return _between(y, x, self.gate(torch.cat([x, y], -1)))


class SFU(nn.Module):
    """Semantic fusion unit: g ∘ x + (1 - g) ∘ r with x = tanh(W_r [r; f] + b_r), g = σ(W_g [r; f] + b_g).

    Hu and others, "Reinforced Mnemonic Reader", arXiv 1705.02798, equation 5.

    Args:
        size: Of r, which is improved.
        fused: Of f, all that is fused into it side by side.
    """

    def __init__(self, size: int, fused: int) -> None:
        super().__init__()
        self.candidate = nn.Linear(size + fused, size)
        self.gate = nn.Linear(size + fused, size)

    def forward(self, r: Tensor, f: Tensor) -> Tensor:
        """(..., size) of r, (..., size), and f, (..., fused)."""
        both = torch.cat([r, f], -1)
        return _between(r, self.candidate(both).tanh(), self.gate(both))


class Highway(nn.Module):
    """Layers t ∘ relu(W x + b) + (1 - t) ∘ x with t = σ(W_t x + b_t). Srivastava and others, arXiv 1505.00387.

    Args:
        size: Of x.
        layers: One upon the other.
    """

    def __init__(self, size: int, layers: int = 2) -> None:
        super().__init__()
        layers = whole("Highway", "layers", layers, 1)
        self.transforms = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(size, size) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) of x, (..., size)."""
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            x = _between(x, transform(x).relu(), gate(x))
        return x
