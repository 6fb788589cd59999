"""OKS as a loss on matched poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from pydlx._checks import check_floating, check_one_of, check_positive, check_tensor, numbers
from pydlx.ops.oks import oks

_MODES = ("linear", "square", "log")
_REDUCTIONS = ("mean", "sum", "none")


class OKSLoss(nn.Module):
    """One minus (or minus the logarithm of) the OKS of matched poses, the measure by which poses are evaluated.

    For each pair of poses with OKS s (see :func:`pydlx.ops.oks`):

        linear  1 - s          square  1 - s^2          log  -log(s)

    The gradient of ``"linear"`` and ``"square"`` vanishes for poses far apart; that of ``"log"`` vanishes only where s
    is below eps, to which it is clamped.

    Args:
        sigmas: K positive numbers.
        mode: ``"linear"``, ``"square"`` or ``"log"``.
        min_area: Areas, in square pixels, are clamped to at least this: the loss of a tiny object would otherwise jump
            from 0 to 1 within a fraction of a pixel.
        eps: Lower bound of s in ``"log"``.
        reduction: ``"mean"`` over the poses with a visible point, ``"sum"``, or ``"none"``.

    Shapes: pred and truth (..., K, 2), visibility (..., K), area (...); the loss is (...) or a scalar, at least
    float32. A pose without a visible point has loss 0 and no gradient; the mean over no poses is 0.

    Example:
        >>> loss = OKSLoss([0.025, 0.1])
        >>> truth = torch.tensor([[[10.0, 20.0], [30.0, 40.0]]])
        >>> loss(truth, truth, torch.ones(1, 2), torch.tensor([900.0]))
        tensor(0.)
    """

    sigmas: Tensor

    def __init__(
        self,
        sigmas: Tensor | Sequence[float],
        mode: str = "linear",
        *,
        min_area: float = 1.0,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_one_of("OKSLoss", "mode", mode, _MODES)
        check_one_of("OKSLoss", "reduction", reduction, _REDUCTIONS)
        check_positive("OKSLoss", "min_area", min_area)
        check_positive("OKSLoss", "eps", eps)
        spread = numbers("OKSLoss", "sigmas", sigmas)
        if not spread or not all(sigma > 0 for sigma in spread):
            raise ValueError(f"OKSLoss: sigmas must be positive numbers in one row, got {spread}")
        self._numbers = torch.tensor(spread, dtype=torch.float64, device="cpu")
        device = sigmas.device if isinstance(sigmas, Tensor) else torch.get_default_device()
        self.register_buffer("sigmas", self._numbers.to(device), persistent=False)
        self.mode, self.min_area, self.eps, self.reduction = mode, min_area, eps, reduction

    def forward(self, pred: Tensor, truth: Tensor, visibility: Tensor, area: Tensor) -> Tensor:
        """The loss of each pair of poses, or their mean or sum."""
        options = (self.mode, self.min_area, self.eps, self.reduction)
        return _loss(pred, truth, visibility, area, self.sigmas, *options)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OKSLoss:
        """Move or cast the module. The sigmas are then copied in again, because ``to_empty`` leaves them undefined."""
        super()._apply(fn, recurse)
        self.sigmas.copy_(self._numbers)
        return self

    def extra_repr(self) -> str:
        """The options."""
        return f"{len(self.sigmas)} points, mode={self.mode!r}, min_area={self.min_area}, reduction={self.reduction!r}"


@fx.wrap
def _loss(
    pred: Tensor,
    truth: Tensor,
    visibility: Tensor,
    area: Tensor,
    sigmas: Tensor,
    mode: str,
    min_area: float,
    eps: float,
    reduction: str,
) -> Tensor:
    """The loss, as a function that ``torch.fx.symbolic_trace`` keeps as one node."""
    check_floating("OKSLoss", "pred", pred)
    for argument, given in (("truth", truth), ("visibility", visibility), ("area", area)):
        check_tensor("OKSLoss", argument, given)
    area = area.clamp(min=min_area)
    wide = pred.to(torch.promote_types(pred.dtype, torch.float32))
    similarity = oks(
        wide.unsqueeze(-3), truth.unsqueeze(-3), visibility.unsqueeze(-2), area.unsqueeze(-1), sigmas
    ).flatten(-3)
    if mode == "log":
        loss = -similarity.clamp(min=eps).log()
    else:
        loss = 1 - (similarity if mode == "linear" else similarity.square())
    counted = (visibility > 0).any(-1)
    loss = torch.where(counted, loss, 0)
    if reduction == "mean":
        return loss.sum() / counted.sum().clamp(min=1)
    return loss.sum() if reduction == "sum" else loss
