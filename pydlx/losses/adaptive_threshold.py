"""Multi-label losses for relation extraction, with a learned threshold for each pair of entities.

There are logits l of C classes: class 0 is the threshold TH, the others are relations. For one pair of entities, P are
the relations that hold and N those that do not; TH is in neither. A relation is predicted if its logit is above TH's.

Zhou et al., "Document-level relation extraction with adaptive thresholding and localized context pooling", arXiv
2010.11304; Tan et al., "Document-level relation extraction with adaptive focal loss and knowledge distillation", arXiv
2203.10900. The losses are computed in float32, or float64 for float64 logits, also under autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._autograd import has_values
from pydlx._checks import check_beside, check_floating, check_not_negative, check_one_of, whole_or_none

_REDUCTIONS = ("mean", "sum", "none")


def adaptive_threshold_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """ATLOP's loss, which pushes relations that hold above the threshold and the others below it.

    For one pair, where each softmax is over the given classes only:

        - sum over r in P of log softmax(l over P and TH)[r]  -  log softmax(l over N and TH)[TH]

    Args:
        logits: (..., C), floating-point.
        labels: The same shape, bool or numbers 0 and 1. Column 0 is ignored.
        reduction: ``"mean"`` over pairs, 0 if there are none; ``"sum"``; ``"none"`` for (...) values.

    Returns:
        A scalar, or (...) values; float64 for float64 logits, else float32.

    Raises:
        TypeError: If the logits are not floating-point, or the labels are not a tensor.
        ValueError: If a shape, a device or the reduction does not fit, or labels on the CPU are not all 0 or 1.

    Example:
        >>> logits = torch.tensor([[0.5, 2.0, -1.0, 0.3, 1.0]])
        >>> labels = torch.tensor([[0, 1, 1, 0, 0]])
        >>> round(adaptive_threshold_loss(logits, labels).item(), 4)
        4.726
    """
    name = "adaptive_threshold_loss"
    x, holds = _inputs(name, logits, labels, reduction)
    beside = ~holds
    beside[..., 0] = False
    above = torch.where(holds, -x.masked_fill(beside, -torch.inf).log_softmax(-1), 0).sum(-1)
    return _reduced(above + _below_threshold(x, holds), reduction)


def adaptive_focal_loss(
    logits: Tensor, labels: Tensor, gamma: float = 1.0, offset: float = 0, reduction: str = "mean"
) -> Tensor:
    """The adaptive focal loss, which weights relations that hold higher the less certain they are.

    For one pair, with p_r = sigmoid(l_r - l_TH):

        - sum over r in P of (offset + (1 - p_r)^gamma) log p_r  -  log softmax(l over N and TH)[TH]

    The gradient includes that of the weight, as in the published code.

    Args:
        logits: (..., C), floating-point.
        labels: The same shape, bool or numbers 0 and 1. Column 0 is ignored.
        gamma: Exponent of the weight, not negative; 0 means no weight.
        offset: 0 as in the paper, or 1 as in the published code, which raises recall.
        reduction: ``"mean"`` over pairs, 0 if there are none; ``"sum"``; ``"none"`` for (...) values.

    Returns:
        A scalar, or (...) values; float64 for float64 logits, else float32.

    Raises:
        TypeError: If the logits are not floating-point, or the labels are not a tensor.
        ValueError: If a shape, a device or an option does not fit, or labels on the CPU are not all 0 or 1.
    """
    name = "adaptive_focal_loss"
    _check_weight(name, gamma, offset)
    x, holds = _inputs(name, logits, labels, reduction)
    apart = torch.where(holds, x - x[..., :1], 0)  # mask first: logsigmoid's derivative at infinity would be NaN
    weight = (gamma * F.logsigmoid(-apart)).exp() if gamma else torch.ones_like(apart)
    above = torch.where(holds, -(offset + weight) * F.logsigmoid(apart), 0).sum(-1)
    return _reduced(above + _below_threshold(x, holds), reduction)


def threshold_labels(logits: Tensor, top_k: int | None = None) -> Tensor:
    """The predicted classes: all relations above the threshold, or class 0 if there is none.

    Args:
        logits: (..., C), floating-point; class 0 is the threshold.
        top_k: Predict at most the k relations with the largest logits; ties at the k-th are all predicted. (Including
            the threshold in the ranking makes no difference: if it is among the k largest, fewer than k relations are
            above it.)

    Returns:
        (..., C) bool; each pair has at least one class.

    Raises:
        TypeError: If the logits are not floating-point, or `top_k` is not a whole number.
        ValueError: If there is no class, or `top_k` is not positive.

    Example:
        >>> threshold_labels(torch.tensor([[0.5, 2.0, -1.0], [0.5, 0.1, -1.0]]))
        tensor([[False,  True, False],
                [ True, False, False]])
    """
    name = "threshold_labels"
    _check_logits(name, logits)
    top_k = whole_or_none(name, "top_k", top_k, 1)
    taken = logits > logits[..., :1]
    if top_k is not None and top_k < logits.shape[-1]:
        taken = taken & (logits >= logits.topk(top_k, -1).values[..., -1:])
    return torch.cat([~taken.any(-1, keepdim=True), taken[..., 1:]], -1)


class AdaptiveThresholdLoss(nn.Module):
    """:func:`adaptive_threshold_loss` as a module.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_one_of("AdaptiveThresholdLoss", "reduction", reduction, _REDUCTIONS)
        self.reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (..., C) against labels of that shape."""
        return adaptive_threshold_loss(logits, labels, self.reduction)

    def extra_repr(self) -> str:
        """The reduction."""
        return f"reduction={self.reduction!r}"


class AdaptiveFocalLoss(nn.Module):
    """:func:`adaptive_focal_loss` as a module.

    Args:
        gamma: Exponent of the weight, not negative.
        offset: 0 as in the paper, 1 as in the published code.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def __init__(self, gamma: float = 1.0, offset: float = 0, reduction: str = "mean") -> None:
        super().__init__()
        _check_weight("AdaptiveFocalLoss", gamma, offset)
        check_one_of("AdaptiveFocalLoss", "reduction", reduction, _REDUCTIONS)
        self.gamma, self.offset, self.reduction = gamma, offset, reduction

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (..., C) against labels of that shape."""
        return adaptive_focal_loss(logits, labels, self.gamma, self.offset, self.reduction)

    def extra_repr(self) -> str:
        """The options."""
        return f"gamma={self.gamma}, offset={self.offset}, reduction={self.reduction!r}"


def _inputs(name: str, logits: Tensor, labels: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    """Check the inputs; return the logits in the computation's dtype and a bool mask of the relations that hold."""
    _check_logits(name, logits)
    check_beside(name, "labels", labels, "logits", logits)
    if labels.shape != logits.shape:
        raise ValueError(f"{name}: labels must have shape {tuple(logits.shape)} as logits, got {tuple(labels.shape)}")
    if labels.dtype != torch.bool and has_values(labels) and not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError(f"{name}: labels must be 0 and 1, got other numbers")
    check_one_of(name, "reduction", reduction, _REDUCTIONS)
    relation = torch.arange(logits.shape[-1], device=logits.device) > 0
    return logits.to(torch.promote_types(logits.dtype, torch.float32)), (labels != 0) & relation


def _check_logits(name: str, logits: Tensor) -> None:
    check_floating(name, "logits", logits)
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise ValueError(f"{name}: logits must have shape (..., C) with a class at least, got {tuple(logits.shape)}")


def _check_weight(name: str, gamma: float, offset: float) -> None:
    check_not_negative(name, "gamma", gamma)
    check_not_negative(name, "offset", offset)


def _below_threshold(x: Tensor, holds: Tensor) -> Tensor:
    """The second term of both losses: - log softmax(x over N and TH)[TH]."""
    return -x.masked_fill(holds, -torch.inf).log_softmax(-1)[..., 0]


def _reduced(each: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.sum() / max(each.numel(), 1)
