"""Comparison of texts by cosines. Masks are (B, m), True at tokens; padding is never compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, whole
from pydlx.models.text.encoders import final_states


def _length(squares: Tensor) -> Tensor:
    """Square roots; next to 0 those of a number so small that only vectors of zeros are shorter, for their gradient."""
    return squares.clamp(min=torch.finfo(squares.dtype).eps ** 2).sqrt()


class CosineFilter(nn.Module):
    """r_j = max_i cos(q_i, p_j), by which a passage's words are multiplied: those count that the question knows.

    Wang, Mi, Hamza and Florian, "Multi-perspective context matching for machine comprehension" (MPCM), arXiv
    1612.04211, section 3. Vectors of zeros are like none.
    """

    def forward(self, p: Tensor, q: Tensor, mask: Tensor) -> Tensor:
        """r (B, n, 1), from p (B, n, d) and q (B, m, d)."""
        p, q = (x / _length(x.square().sum(-1, keepdim=True)) for x in (p, q))
        cosines = p @ q.transpose(1, 2)  # (B, n, m)
        return cosines.masked_fill(~mask.unsqueeze(1), torch.finfo(cosines.dtype).min).max(2, keepdim=True).values


class MultiPerspectiveMatching(nn.Module):
    """Cosines m_k(x, y) = cos(W_k ∘ x, W_k ∘ y) of a passage's states and a question's, in l perspectives, three ways.

    The states are those of a network that reads both ways, either half of which is compared apart: with the question's
    final state (full), with all its states, of which the best counts (max), or their mean does. Each way and half has
    a matrix W of its own.

    MPCM, arXiv 1612.04211, section 3. As (W_k ∘ x) · (W_k ∘ y) = x · (W_k² ∘ y), only the question's states, which are
    few, are multiplied with W; one product then compares them with the passage's in all perspectives. Lengths are
    computed once for each state.

    Args:
        size: h, of either half of a state.
        perspectives: l.
        share: Whether all six comparisons have the same W.

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
        """(B, n, 6 l) of x, (B, n, 2 h), and y, (B, m, 2 h): full, max and mean of the first half, then the second."""
        one = mask.new_ones(len(mask), 1)
        weights = list(self.weights) * (6 // len(self.weights))
        found: list[Tensor] = []
        for half, states, final in zip(
            x.chunk(2, -1), y.chunk(2, -1), final_states(y, mask).unsqueeze(1).chunk(2, -1), strict=True
        ):
            for products, others, real in ((_mean, final, one), (_best, states, mask), (_mean, states, mask)):
                squares = weights[len(found)].square()  # (l, h)
                seen = squares * others.unsqueeze(2) / _length(others.square() @ squares.T).unsqueeze(3)  # (B, m, l, h)
                found.append(products(half, seen, real) / _length(half.square() @ squares.T))
        return torch.cat(found, -1)


def _mean(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Means (B, n, l) over the m tokens of a mask of the products of x (B, n, h) with y (B, m, l, h)."""
    weights = mask / mask.sum(1, keepdim=True)
    mean = (weights.to(y.dtype).unsqueeze(1) @ y.flatten(2)).unflatten(2, y.shape[2:]).squeeze(1)  # (B, l, h)
    return x @ mean.transpose(1, 2)


def _best(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Their maxima."""
    products = (x @ y.flatten(1, 2).transpose(1, 2)).unflatten(2, y.shape[1:3])  # (B, n, m, l)
    return products.masked_fill(~mask[:, None, :, None], torch.finfo(products.dtype).min).max(2).values
