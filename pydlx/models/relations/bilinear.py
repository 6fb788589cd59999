"""The grouped bilinear layer, from two vectors to a score for each class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pydlx._checks import whole


class GroupedBilinear(nn.Module):
    """Scores s_c = Σ_g x_gᵀ W_gc y_g + b_c, where x and y are split into blocks x_g and y_g of equal size.

    Zhou, Huang, Ma and Huang (ATLOP), arXiv 2010.11304, section 3.1. It has K b instead of K² weights per class.

    Args:
        size: K, the size of x and y.
        classes: C, the number of classes.
        block: b, the size of a block, which divides K.
    """

    def __init__(self, size: int, classes: int, block: int = 64) -> None:
        super().__init__()
        whole("GroupedBilinear", "size", size, 1)
        self.classes = whole("GroupedBilinear", "classes", classes, 1)
        self.block = whole("GroupedBilinear", "block", block, 1)
        if size % block:
            raise ValueError(f"GroupedBilinear: size must be a multiple of block, {block}, got {size}")
        self.groups = size // block
        bound = (size * block) ** -0.5  # as for a linear layer over all products
        self.weight = nn.Parameter(torch.empty(self.groups, block, classes, block).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return scores (P, C) of P pairs of rows of x (P, K) and y (P, K); uses memory for P K b products."""
        products = self._blocks(x).unsqueeze(3) * self._blocks(y).unsqueeze(2)  # (P, groups, b, b)
        return torch.addmm(self.bias, products.flatten(1), self.weight.transpose(2, 3).flatten(0, 2))

    def all_pairs(self, x: Tensor, y: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the scores of all ordered pairs of different entities in each document.

        Each row of x is multiplied by the weights once, not once for each of its pairs, which saves most of the work.

        Args:
            x: (E, K), vectors of all entities, document after document.
            y: (E, K), likewise.
            sizes: Number of entities k of each document.

        Returns:
            (P, C): for each document k (k − 1) rows in the order of ``ordered_pairs``.
        """
        half = torch.bmm(self._blocks(x).transpose(0, 1), self.weight.flatten(2))  # (groups, E, C b)
        half = half.unflatten(2, (self.classes, self.block))
        other = self._blocks(y).permute(1, 2, 0)  # (groups, b, E)
        parts = zip(half.split(list(sizes), 1), other.split(list(sizes), 2), strict=True)
        tables = (torch.bmm(own.flatten(1, 2), rows).sum(0).unflatten(0, (-1, self.classes)) for own, rows in parts)
        return torch.cat([without_diagonal(table.transpose(1, 2)) for table in tables]) + self.bias

    def _blocks(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, self.block))


def without_diagonal(table: Tensor) -> Tensor:
    """Return (k (k − 1), C), the off-diagonal entries of a table (k, k, C), in the order of ``ordered_pairs``."""
    size, channels = table.shape[1:]
    # After the first entry, which is on the diagonal, every (k + 1)-th entry is on it: drop the last of each k + 1.
    rest = table.reshape(size * size, channels)[1:].unflatten(0, (max(size - 1, 0), size + 1))
    return rest[:, :-1].flatten(0, 1)
