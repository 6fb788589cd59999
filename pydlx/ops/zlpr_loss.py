"""The zlpr loss for multi-label classification, where the labels with a score above 0 are predicted.

With the scores s of one example, P its labels and N all others:

    loss = log(1 + sum_P exp(-s)) + log(1 + sum_N exp(s))

Su et al., "ZLPR: A novel loss for multi-label classification", arXiv 2208.02955. A soft label y is in P with weight y
and in N with weight 1 - y. The gradient is -y exp(-s) / (1 + sum_P) + (1 - y) exp(s) / (1 + sum_N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_bool, check_device, check_floating, check_one_of, check_real_tensor, described, is_whole

_NAME = "zlpr_loss"
REDUCTIONS = ("mean", "sum", "none")


def zlpr_loss(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    *,
    dim: int | Sequence[int] = -1,
    reduction: str = "mean",
) -> Tensor:
    """The zlpr loss of examples that may have any number of labels (arXiv 2208.02955).

    With an example's scores s, its labels P and all others N it is ``log(1 + sum_P exp(-s)) + log(1 + sum_N exp(s))``;
    scores above 0 are predicted. A soft label y is in P with weight y and in N with weight 1 - y.

    For span scores (B, types, L, L) use ``dim=(-2, -1)``. The sums do not overflow for any finite score. The sum over N
    is computed directly, not as the sum over all minus that over P, which would cancel. Gradients have as many correct
    digits as the logarithms of the sums: five for float32 scores near 1000, as with ``torch.logsumexp``.

    Args:
        scores: Any shape; float64, float32, float16 or bfloat16 (16-bit dtypes are summed in float32). A score of -inf
            masks its element.
        labels: In the shape of scores: bool, integers that are 0 or 1, or soft labels from 0 to 1. They get no
            gradient.
        mask: bool, of a shape that broadcasts to that of scores: True where an element counts; others are ignored,
            whatever their values.
        dim: The dimensions of the labels, which the sums run over; all others are examples.
        reduction: ``"mean"`` or ``"sum"`` over the examples; ``"none"`` for one loss per example.

    Returns:
        A scalar, or the losses in the shape of scores without `dim`; float64 for float64 scores, else float32. An
        example whose elements are all masked has loss 0; the mean over no examples is NaN. NaN in an element that
        counts gives NaN, +inf in N gives inf.

    Raises:
        TypeError: If a tensor is of the wrong type.
        ValueError: If a shape, a device or an option does not fit; if labels require a gradient; or, on the CPU, if
            they are not from 0 to 1. On a GPU that is not checked, because reading them would wait for it.
    """
    check_one_of(_NAME, "reduction", reduction, REDUCTIONS)
    check_floating(_NAME, "scores", scores)
    labels = _checked_labels(scores, labels)
    mask = _checked_mask(scores, mask)
    dims = _dimensions(scores, dim)
    kept = [size for axis, size in enumerate(scores.shape) if axis not in dims]
    rows = math.prod(kept)
    run = _op if _native.use_native(scores, _NAME) else zlpr_loss_reference
    parts = run(
        _as_rows(scores, dims, rows), _as_rows(labels, dims, rows), None if mask is None else _as_rows(mask, dims, rows)
    )
    return reduced(parts.sum(-1).reshape(kept), reduction)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Reduce the losses; reduction is one of REDUCTIONS."""
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _checked_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """Check the labels; return them as bool, or soft labels in the accumulation dtype."""
    check_real_tensor(_NAME, "labels", labels)
    if labels.shape != scores.shape:
        wanted = f"the shape of scores, {tuple(scores.shape)}"
        raise ValueError(f"{_NAME}: labels must have {wanted}, got {tuple(labels.shape)}")
    check_device(_NAME, "labels", labels, "scores", scores)
    if labels.dtype == torch.bool:
        return labels
    soft = labels.is_floating_point()
    if soft and _autograd.wants_derivative(labels):
        raise ValueError(f"{_NAME}: labels must not require a gradient, which is not given; detach them")
    if labels.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch has no aminmax for them
        labels = labels.to(torch.int64)
    if labels.numel() and _autograd.has_values(labels):
        low, high = (bound.item() for bound in labels.aminmax())
        if not 0 <= low <= high <= 1:
            raise ValueError(f"{_NAME}: labels must be from 0 to 1, got {high if low >= 0 else low}")
    return labels.to(_wide(scores)) if soft else labels != 0


def _checked_mask(scores: Tensor, mask: Tensor | None) -> Tensor | None:
    """Check the mask; return it expanded to the shape of scores."""
    if mask is None:
        return None
    check_bool(_NAME, "mask", mask)
    check_device(_NAME, "mask", mask, "scores", scores)
    fits = mask.dim() <= scores.dim() and all(
        size in (1, whole) for size, whole in zip(mask.shape[::-1], scores.shape[::-1], strict=False)
    )
    if not fits:
        wanted = f"a shape that broadcasts to that of scores, {tuple(scores.shape)}"
        raise ValueError(f"{_NAME}: mask must have {wanted}, got {tuple(mask.shape)}")
    return mask.expand(scores.shape)


def check_dim(name: str, dim: int | Sequence[int]) -> list[int]:
    """Require one dimension or several; return them as a list."""
    if is_whole(dim):
        return [dim]
    if not isinstance(dim, (tuple, list)) or not dim or not all(map(is_whole, dim)):
        raise TypeError(f"{name}: dim must be a whole number or a tuple of them, got {described(dim)}")
    return list(map(int, dim))


def _dimensions(scores: Tensor, dim: int | Sequence[int]) -> tuple[int, ...]:
    """The dimensions of the sums, non-negative and sorted."""
    count = scores.dim()
    dims = sorted(axis + count if axis < 0 else axis for axis in check_dim(_NAME, dim))
    if dims[0] < 0 or dims[-1] >= count or len(set(dims)) < len(dims):
        wanted = f"different dimensions of scores, which has {count}"
        raise ValueError(f"{_NAME}: dim must name {wanted}, got {described(dim)}")
    return tuple(dims)


def _as_rows(x: Tensor, dims: tuple[int, ...], rows: int) -> Tensor:
    """Reshape to (examples, labels), with the dimensions `dims` last."""
    last = tuple(range(x.dim() - len(dims), x.dim()))
    return x.movedim(dims, last).reshape(rows, math.prod([x.shape[axis] for axis in dims]))


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def zlpr_loss_reference(scores: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    """The definition; returns both logarithms separately.

    Args:
        scores: (R, n).
        labels: (R, n), bool; or soft labels in the accumulation dtype.
        mask: (R, n), bool.

    Returns:
        (R, 2): the logarithms of the sums over P and over N, in the accumulation dtype.
    """
    s = scores.to(_wide(scores))
    counts = s != -torch.inf
    if mask is not None:
        counts = counts & mask
    weights = labels.to(s.dtype)
    terms = ((counts & (weights > 0), weights.log() - s), (counts & (weights < 1), torch.log1p(-weights) + s))
    one = s.new_zeros(s.shape[0], 1)
    sums = [torch.cat([one, torch.where(inside, x, -torch.inf)], 1).logsumexp(1) for inside, x in terms]
    return torch.stack(sums, 1)


def _backward_reference(grad: Tensor, parts: Tensor, scores: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    """The gradient of the scores; differentiable in grad and scores.

    `parts`, the forward's output, is there for the kernel; the reference does not use it.
    """
    return _autograd.pull_back(lambda s: zlpr_loss_reference(s, labels, mask), (scores,), grad)[0]


def _fake(scores: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    return scores.new_empty(scores.shape[0], 2, dtype=_wide(scores))


def _fake_backward(grad: Tensor, parts: Tensor, scores: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    return scores.new_empty(scores.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, *inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _backward_op(grad, *ctx.saved_tensors), None, None


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _double_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference.

    `parts` depends on the scores; the reference's derivative includes that, so parts itself gets None.
    """
    grad, parts, scores, labels, mask = ctx.saved_tensors

    def gradient(grad: Tensor, scores: Tensor) -> Tensor:
        return _backward_reference(grad, parts, scores, labels, mask)

    d_grad, d_scores = _autograd.pull_back(gradient, (grad, scores), v)
    return d_grad, None, d_scores, None, None


_op = _native.register(
    "zlpr_loss(Tensor scores, Tensor labels, Tensor? mask) -> Tensor",
    reference=zlpr_loss_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_autograd.folded,
)
_backward_op = _native.register(
    "_zlpr_loss_backward(Tensor grad, Tensor parts, Tensor scores, Tensor labels, Tensor? mask) -> Tensor",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_autograd.folded,
)
