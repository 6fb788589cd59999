"""Matching layers of MPCM, which compare texts by cosines. Masks are (B, m), True at tokens; padding is ignored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, whole
from pydlx.models.text.encoders import final_states


def _norm(squares: Tensor) -> Tensor:
    """Square root with a floor of eps, so that its gradient stays finite for zero vectors."""
    return squares.clamp(min=torch.finfo(squares.dtype).eps ** 2).sqrt()


class CosineFilter(nn.Module):
    """Relevance r_j = max_i cos(q_i, p_j) of each passage word to the question; MPCM multiplies the word by it.

    Wang, Mi, Hamza and Florian, "Multi-perspective context matching for machine comprehension" (MPCM), arXiv
    1612.04211, section 3. The cosine with a zero vector is 0.
    """

    def forward(self, p: Tensor, q: Tensor, mask: Tensor) -> Tensor:
        """Return r (B, n, 1) for p (B, n, d) and q (B, m, d)."""
        p, q = (x / _norm(x.square().sum(-1, keepdim=True)) for x in (p, q))
        cosines = p @ q.transpose(1, 2)  # (B, n, m)
        return cosines.masked_fill(~mask.unsqueeze(1), torch.finfo(cosines.dtype).min).max(2, keepdim=True).values


class MultiPerspectiveMatching(nn.Module):
    """Cosines m_k(x, y) = cos(W_k ∘ x, W_k ∘ y) of passage and question states in l perspectives, by three strategies.

    The forward and the backward half of the states are compared separately: with the question's final state (full),
    with all its states, keeping the maximum (max) or the mean (mean). Each of these six comparisons has its own W.

    MPCM, arXiv 1612.04211, section 3. As (W_k ∘ x) · (W_k ∘ y) = x · (W_k² ∘ y), only the question's states, which are
    few, are multiplied by W; one matrix product then compares them with the passage's in all perspectives. Norms are
    computed once for each state.

    Args:
        size: h, size of either half of a state.
        perspectives: l.
        share: Whether all six comparisons share one W.

    Attributes:
        output: Size of an output vector.
    """

    def __init__(self, size: int, perspectives: int, *, share: bool = False) -> None:
        super().__init__()
        check_flag("MultiPerspectiveMatching", "share", share)
        shape = (whole("MultiPerspectiveMatching", "perspectives", perspectives, 1), size)
        self.weights = nn.ParameterList(torch.randn(shape) for _ in range(1 if share else 6))
        self.output = 6 * perspectives

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Return (B, n, 6 l) for x (B, n, 2 h), y (B, m, 2 h): full, max, mean of the forward half, then backward."""
        one = torch.ones_like(mask[:, :1])
        weights = list(self.weights) * (6 // len(self.weights))
        found: list[Tensor] = []
        for half, states, final in zip(
            x.chunk(2, -1), y.chunk(2, -1), final_states(y, mask).unsqueeze(1).chunk(2, -1), strict=True
        ):
            for products, others, real in ((_mean, final, one), (_best, states, mask), (_mean, states, mask)):
                squares = weights[len(found)].square()  # (l, h)
                seen = squares * others.unsqueeze(2) / _norm(others.square() @ squares.T).unsqueeze(3)  # (B, m, l, h)
                found.append(products(half, seen, real) / _norm(half.square() @ squares.T))
        return torch.cat(found, -1)


def _mean(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over m of the dot products of x (B, n, h) with y (B, m, l, h): (B, n, l)."""
    weights = mask / mask.sum(1, keepdim=True)
    mean = (weights.to(y.dtype).unsqueeze(1) @ y.flatten(2)).unflatten(2, y.shape[2:]).squeeze(1)  # (B, l, h)
    return x @ mean.transpose(1, 2)


def _best(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Return the maximum over m of the dot products of x (B, n, h) with y (B, m, l, h): (B, n, l)."""
    products = (x @ y.flatten(1, 2).transpose(1, 2)).unflatten(2, y.shape[1:3])  # (B, n, m, l)
    return products.masked_fill(~mask[:, None, :, None], torch.finfo(products.dtype).min).max(2).values
