"""The zlpr loss as a module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, fx, nn

from pydlx._checks import check_one_of
from pydlx.ops.zlpr_loss import REDUCTIONS, check_dim, zlpr_loss

fx.wrap("zlpr_loss")  # one node in a graph of torch.fx.symbolic_trace


class ZLPRLoss(nn.Module):
    """The loss of examples with any number of labels, of which those above 0 are predicted; see
    :func:`pydlx.ops.zlpr_loss`.

    Args:
        dim: The dimension, or several, that holds the labels; all others count examples.
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
