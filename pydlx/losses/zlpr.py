"""The zlpr loss as a module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, fx, nn

from pydlx._checks import check_one_of
from pydlx.ops.zlpr_loss import REDUCTIONS, check_dim, zlpr_loss

fx.wrap("zlpr_loss")  # torch.fx.symbolic_trace keeps the call as one node


class ZLPRLoss(nn.Module):
    """The zlpr loss for multi-label classification; see :func:`pydlx.ops.zlpr_loss`.

    Args:
        dim: The dimension or dimensions of the labels; all others are examples.
        reduction: ``"mean"`` or ``"sum"`` over the examples, or ``"none"``.
    """

    def __init__(self, dim: int | Sequence[int] = -1, reduction: str = "mean") -> None:
        super().__init__()
        check_dim("ZLPRLoss", dim)
        check_one_of("ZLPRLoss", "reduction", reduction, REDUCTIONS)
        self.dim = dim
        self.reduction = reduction

    def forward(self, scores: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of scores against labels of their shape, hard or soft, where the mask is True."""
        return zlpr_loss(scores, labels, mask, dim=self.dim, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The options."""
        return f"dim={self.dim}, reduction={self.reduction!r}"
