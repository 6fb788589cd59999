"""Trilinear attention as a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from pydlx._checks import whole
from pydlx.ops.trilinear_attention import TrilinearAttention as Attention
from pydlx.ops.trilinear_attention import trilinear_attention

fx.wrap("trilinear_attention")  # torch.fx.symbolic_trace keeps the call as one node


class TrilinearAttention(nn.Module):
    """Similarities of (B, n, size) and (B, m, size), and their softmaxes; see :func:`pydlx.ops.trilinear_attention`.

    Args:
        size: Size of the vectors of both texts.

    Attributes:
        weight: (3 size,), for the context, the question and their product; initialised as that of
            ``torch.nn.Linear(3 * size, 1, bias=False)``.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = whole("TrilinearAttention", "size", size, 1)
        self.weight = nn.Parameter(torch.empty(3 * self.size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the weight again."""
        bound = 1 / math.sqrt(3 * self.size)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(
        self,
        context: Tensor,
        question: Tensor,
        context_mask: Tensor | None = None,
        question_mask: Tensor | None = None,
    ) -> Attention:
        """Compare two texts."""
        return trilinear_attention(
            context, question, self.weight, context_mask=context_mask, question_mask=question_mask
        )

    def extra_repr(self) -> str:
        """The size."""
        return f"size={self.size}"
