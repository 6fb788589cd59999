"""Object keypoint similarity (OKS): COCO's measure of how close a detected pose is to a true one.

For a truth with points ``q_k`` of visibility ``v_k`` and area ``A``, and a detection with points ``p_k``:

    OKS = mean over { k : v_k > 0 } of exp(-|p_k - q_k|^2 / (2 (A + 2^-52) (2 sigma_k)^2))

``A`` is the area of the object's segmentation, not of its box; 2^-52 is ``numpy.spacing(1)``. If no point of the truth
is visible, its box (x, y, w, h) is used instead: the mean is over all k, and the distance is that of ``p_k`` from the
region ``[x - w, x + 2 w] x [y - h, y + 2 h]``. https://cocodataset.org/#keypoints-eval
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_beside, check_device, check_floating, numbers
from pydlx.ops.constants import constant
from pydlx.ops.ragged import check_offsets, check_same_groups

_SPACING = 2.0**-52


def oks(
    pred: Tensor,
    truth: Tensor,
    visibility: Tensor,
    area: Tensor,
    sigmas: Tensor | Sequence[float],
    boxes: Tensor | None = None,
) -> Tensor:
    """OKS of every detection with every truth, ``mean_k exp(-|p_k - q_k|^2 / (8 (area + 2^-52) sigma_k^2))``.

    The mean is over the visible points k of the truth. If none is visible, it is over all k, with the distances of p_k
    from the truth's box enlarged to three times its width and height.

    Differentiable in pred, truth and area. Equal points give exactly 1. The similarity of two poses is the same to the
    bit wherever they stand in their tensors.

    On CUDA the call does not wait for the device, except to copy sigmas to it: from a CPU tensor at every call, from a
    list at the first.

    Args:
        pred: (..., D, K, 2), float64, float32, float16 or bfloat16. 16-bit dtypes are computed in float32, because the
            square of a coordinate may overflow float16. If truth is float64, the computation is in float64.
        truth: (..., G, K, 2). Its leading dimensions and those of pred broadcast.
        visibility: (..., G, K), with the leading dimensions of truth, as have area and boxes; a point is visible if its
            value is above 0. The coordinates of other points are never used.
        area: (..., G), in square pixels. At area 0 only equal points have similarity; a negative area gives NaN.
        sigmas: K positive numbers, the spread of human annotators at each point.
        boxes: (..., G, 4) as x, y, w, h, for truths with no visible point. Without boxes such a truth has similarity 0
            to everything, and no gradient.

    Returns:
        (..., D, G), from 0 to 1, in the promoted dtype of pred and truth; under autocast at least float32.

    Raises:
        TypeError: If pred is not floating-point.
        ValueError: If a shape does not fit, a sigma is not positive, or sigmas or boxes require a gradient.
    """
    _check_tensors("oks", pred, truth, visibility, area, boxes)
    if torch.is_grad_enabled():
        for argument, given in (("sigmas", sigmas), ("boxes", boxes)):
            if isinstance(given, Tensor) and given.requires_grad:
                raise ValueError(f"oks: {argument} must not require a gradient, which is not given, got one that does")
    wide, truths, areas, spread, box = _in_one_dtype("oks", pred, truth, area, sigmas, boxes)
    _check_shapes("oks", wide, truths, visibility, areas, spread, box)
    lead = _common_lead(pred, truth)
    run = _op if _native.use_native(pred, "oks") else oks_reference
    similarity = run(
        _in_groups(wide, lead, 3),
        _in_groups(truths, lead, 3),
        _in_groups(visibility > 0, lead, 2),
        _in_groups(areas, lead, 1),
        spread,
        None if box is None else _in_groups(box, lead, 2),
    )
    if len(lead) != 1:
        similarity = similarity.view(*lead, *similarity.shape[1:])
    dtype = torch.promote_types(pred.dtype, truth.dtype)
    if similarity.dtype == dtype or torch.is_autocast_enabled(pred.device.type):
        return similarity
    return similarity.to(dtype)


def ragged_oks(
    pred: Tensor,
    truth: Tensor,
    visibility: Tensor,
    area: Tensor,
    sigmas: Tensor | Sequence[float],
    boxes: Tensor | None,
    pred_offsets: Tensor,
    truth_offsets: Tensor,
) -> Tensor:
    """OKS of every detection with every truth of its own group, for groups of different sizes in one call.

    Group i, for instance an image, consists of the rows ``[offsets[i], offsets[i + 1])`` of detections and of truths.

    On CUDA the call waits for the device, because the size of the result depends on the offsets.

    Args:
        pred: (D, K, 2), float64 or float32.
        truth: (G, K, 2).
        visibility: (G, K).
        area: (G,), not negative.
        sigmas: K numbers.
        boxes: (G, 4) as x, y, w, h, for truths with no visible point; without boxes those give 0.
        pred_offsets: (n + 1,), int64, from 0 to D, non-decreasing.
        truth_offsets: (n + 1,), int64, from 0 to G, non-decreasing.

    Returns:
        (P,): the (D_i, G_i) matrices of the groups, row-major, one after another. Not differentiable.

    Raises:
        TypeError: If pred is not floating-point.
        ValueError: If a shape or the offsets do not fit, or an input requires a gradient.
    """
    _check_tensors("ragged_oks", pred, truth, visibility, area, boxes)
    if _autograd.wants_derivative(pred, truth, area):
        raise ValueError("ragged_oks: inputs must not require a gradient, which it does not give; use oks")
    pred, truth, area, sigmas, boxes = _in_one_dtype("ragged_oks", pred, truth, area, sigmas, boxes)
    _check_shapes("ragged_oks", pred, truth, visibility, area, sigmas, boxes)
    check_offsets("ragged_oks", "pred_offsets", pred_offsets, len(pred))
    check_offsets("ragged_oks", "truth_offsets", truth_offsets, len(truth))
    check_same_groups("ragged_oks", pred_offsets, truth_offsets)
    for argument, offsets in (("pred_offsets", pred_offsets), ("truth_offsets", truth_offsets)):
        check_device("ragged_oks", argument, offsets, "pred", pred)
    pairs = torch.zeros_like(pred_offsets)
    torch.cumsum(pred_offsets.diff() * truth_offsets.diff(), 0, out=pairs[1:])
    run = _ragged_op if _native.use_native(pred, "oks_ragged") else ragged_oks_reference
    return run(pred, truth, visibility > 0, area, sigmas, boxes, pred_offsets, truth_offsets, pairs, int(pairs[-1]))


def _check_tensors(
    name: str, pred: Tensor, truth: Tensor, visibility: Tensor, area: Tensor, boxes: Tensor | None
) -> None:
    """Require tensors of the right kind, all on one device."""
    check_floating(name, "pred", pred)
    check_beside(name, "truth", truth, "pred", pred)
    check_beside(name, "visibility", visibility, "pred", pred)
    check_beside(name, "area", area, "pred", pred)
    if boxes is not None:
        check_beside(name, "boxes", boxes, "pred", pred)


def sigmas_of(name: str, sigmas: Tensor | Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The sigmas as a tensor on `device`. Only a list's values are checked: reading a CUDA tensor would wait for it."""
    if isinstance(sigmas, Tensor):
        if sigmas.is_complex() or sigmas.dtype == torch.bool:
            raise TypeError(f"{name}: sigmas must hold real numbers, got {sigmas.dtype}")
        if not sigmas.is_cpu and sigmas.device != device:
            raise ValueError(f"{name}: sigmas must be on the device of the poses, {device}, got {sigmas.device}")
        return sigmas.to(device, dtype)
    spread = numbers(name, "sigmas", sigmas)
    if not all(sigma > 0 for sigma in spread):
        raise ValueError(f"{name}: sigmas must be positive, got {tuple(spread)}")
    return constant(spread, dtype, device)


def _in_one_dtype(
    name: str, pred: Tensor, truth: Tensor, area: Tensor, sigmas: Tensor | Sequence[float], boxes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """All tensors in the dtype of the computation: float64 if pred or truth is, else float32."""
    dtype = torch.promote_types(torch.promote_types(pred.dtype, truth.dtype), torch.float32)
    spread = sigmas_of(name, sigmas, dtype, pred.device)
    return pred.to(dtype), truth.to(dtype), area.to(dtype), spread, None if boxes is None else boxes.to(dtype)


def _check_shapes(
    name: str, pred: Tensor, truth: Tensor, visibility: Tensor, area: Tensor, sigmas: Tensor, boxes: Tensor | None
) -> None:
    """Require the same number of points everywhere, and one row per truth in all tensors about truths."""
    if pred.dim() < 3 or pred.shape[-1] != 2:
        raise ValueError(f"{name}: pred must have shape (..., D, K, 2), got {tuple(pred.shape)}")
    if truth.dim() < 3 or truth.shape[-2:] != pred.shape[-2:]:
        raise ValueError(f"{name}: truth must have shape (..., G, {pred.shape[-2]}, 2), got {tuple(truth.shape)}")
    if sigmas.shape != pred.shape[-2:-1]:
        raise ValueError(f"{name}: sigmas must hold {pred.shape[-2]} numbers, one per point, got {sigmas.numel()}")
    for argument, tensor, wanted in (
        ("visibility", visibility, truth.shape[:-1]),
        ("area", area, truth.shape[:-2]),
        ("boxes", boxes, (*truth.shape[:-2], 4)),
    ):
        if tensor is not None and tensor.shape != torch.Size(wanted):
            raise ValueError(f"{name}: {argument} must have shape {tuple(wanted)}, got {tuple(tensor.shape)}")


def _common_lead(pred: Tensor, truth: Tensor) -> torch.Size:
    lead, other = pred.shape[:-3], truth.shape[:-3]
    if lead == other:
        return lead
    try:
        return torch.broadcast_shapes(lead, other)
    except RuntimeError:
        raise ValueError(
            f"oks: leading dimensions of pred and truth must broadcast, got {tuple(pred.shape)} and "
            f"{tuple(truth.shape)}"
        ) from None


def _in_groups(x: Tensor, lead: torch.Size, dims: int) -> Tensor:
    """Expand the leading dimensions to `lead` and flatten them into one; the last `dims` dimensions stay."""
    if not lead:
        return x.unsqueeze(0)
    if len(lead) == 1 and x.shape[0] == lead[0] and x.dim() == dims + 1:
        return x
    return x.expand(*lead, *x.shape[-dims:]).reshape(lead.numel(), *x.shape[-dims:])


def oks_reference(
    pred: Tensor, truth: Tensor, visible: Tensor, area: Tensor, sigmas: Tensor, boxes: Tensor | None
) -> Tensor:
    """The definition: pred (..., D, K, 2), truth (..., G, K, 2), visible (..., G, K) of bool; (..., D, G)."""
    points, counted = pred.unsqueeze(-3), visible
    apart = points - truth.unsqueeze(-4)
    if boxes is not None:
        corner, size = boxes[..., None, :, None, :2], boxes[..., None, :, None, 2:]
        outside = (points - (corner - size)).clamp(max=0) + (points - (corner + 2 * size)).clamp(min=0)
        hidden = ~visible.any(-1, keepdim=True)
        apart = torch.where(hidden.unsqueeze(-1).unsqueeze(-4), outside, apart)
        counted = visible | hidden
    counted = counted.unsqueeze(-3)
    apart = torch.where(counted.unsqueeze(-1), apart, 0)  # invisible points may be NaN, which would reach the gradient
    spread = 8 * (area.where(area >= 0, torch.nan) + _SPACING).unsqueeze(-1) * sigmas.square()
    spread, square = spread.unsqueeze(-3), apart.square().sum(-1)
    far = square > 1000 * spread  # exp underflows to 0, and the derivative by the area would be 0 times infinity
    each = torch.exp(-torch.where(far, 0, square) / spread)
    return torch.where(counted & ~far, each, 0).sum(-1) / counted.sum(-1).clamp(min=1)


def ragged_oks_reference(
    pred: Tensor,
    truth: Tensor,
    visible: Tensor,
    area: Tensor,
    sigmas: Tensor,
    boxes: Tensor | None,
    pred_offsets: Tensor,
    truth_offsets: Tensor,
    pair_offsets: Tensor,
    pairs: int,
) -> Tensor:
    """The definition, group by group."""
    found = [pred.new_empty(0)]
    ends = zip(pred_offsets.tolist(), truth_offsets.tolist(), strict=True)
    (first_pred, first_truth), *ends_of_groups = ends
    for end_pred, end_truth in ends_of_groups:
        rows = slice(first_truth, end_truth)
        box = None if boxes is None else boxes[rows]
        group = oks_reference(pred[first_pred:end_pred], truth[rows], visible[rows], area[rows], sigmas, box)
        found.append(group.flatten())
        first_pred, first_truth = end_pred, end_truth
    return torch.cat(found)


def _backward_reference(
    grad: Tensor,
    pred: Tensor,
    truth: Tensor,
    visible: Tensor,
    area: Tensor,
    sigmas: Tensor,
    boxes: Tensor | None,
    wants_pred: bool,
    wants_truth: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of pred, truth and area, empty where not wanted; differentiable in those and grad."""

    def similarity(pred: Tensor, truth: Tensor, area: Tensor) -> Tensor:
        return oks_reference(pred, truth, visible, area, sigmas, boxes)

    d_pred, d_truth, d_area = _autograd.pull_back(similarity, (pred, truth, area), grad)
    wanted = ((d_pred, wants_pred), (d_truth, wants_truth), (d_area, wants_truth))
    d_pred, d_truth, d_area = (x if asked else x.new_empty(0) for x, asked in wanted)
    return d_pred, d_truth, d_area


def _fake(pred: Tensor, truth: Tensor, *others: Any) -> Tensor:
    return pred.new_empty(pred.shape[0], pred.shape[1], truth.shape[1])


def _fake_backward(grad: Tensor, pred: Tensor, truth: Tensor, visible: Tensor, area: Tensor, *others: Any) -> Any:
    wants_pred, wants_truth = others[-2:]
    return tuple(
        x.new_empty(x.shape if wanted else 0)
        for x, wanted in ((pred, wants_pred), (truth, wants_truth), (area, wants_truth))
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wants_pred, wants_truth, _, wants_area, *_ = ctx.needs_input_grad
    d_pred, d_truth, d_area = _backward_op(grad, *ctx.saved_tensors, wants_pred, wants_truth or wants_area)
    return (
        d_pred if wants_pred else None,
        d_truth if wants_truth else None,
        None,
        d_area if wants_area else None,
        None,
        None,
    )


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, wants_pred, wants_truth = inputs
    ctx.wants = wants_pred, wants_truth
    ctx.save_for_backward(*tensors)


def _double_backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference."""
    grad, pred, truth, visible, area, sigmas, boxes = ctx.saved_tensors

    def gradients(grad: Tensor, pred: Tensor, truth: Tensor, area: Tensor) -> tuple[Tensor, ...]:
        return _backward_reference(grad, pred, truth, visible, area, sigmas, boxes, *ctx.wants)

    d_grad, d_pred, d_truth, d_area = _autograd.pull_back(gradients, (grad, pred, truth, area), v)
    return d_grad, d_pred, d_truth, None, d_area, None, None, None, None


def _batching_of(options: int) -> _autograd.BatchingRule:
    """Batching rule where all inputs but the sigmas and the last `options` ones begin with the group dimension."""

    def batching(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
        end = len(inputs) - options
        sigmas, boxes = inputs[end - 2 : end]
        if dims[end - 2] is not None:
            return _autograd.one_by_one(op, size, dims, inputs)

        def with_sigmas(*tensors: Tensor | None) -> Any:
            return op(*tensors[:-1], sigmas, tensors[-1], *inputs[end:])

        return _autograd.folded(with_sigmas, size, (*dims[: end - 2], dims[end - 1]), (*inputs[: end - 2], boxes))

    return batching


def _fake_ragged(pred: Tensor, *others: Any) -> Tensor:
    return pred.new_empty(others[-1])


_INPUTS = "Tensor pred, Tensor truth, Tensor visible, Tensor area, Tensor sigmas, Tensor? boxes"

_op = _native.register(
    f"oks({_INPUTS}) -> Tensor",
    reference=oks_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_batching_of(0),
)
_backward_op = _native.register(
    f"_oks_backward(Tensor grad, {_INPUTS}, bool wants_pred, bool wants_truth) -> (Tensor, Tensor, Tensor)",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_batching_of(2),
)
_ragged_op = _native.register(
    f"oks_ragged({_INPUTS}, Tensor pred_offsets, Tensor truth_offsets, Tensor pair_offsets, SymInt pairs) -> Tensor",
    reference=ragged_oks_reference,
    fake=_fake_ragged,
)
