"""Corner pooling: running maxima from an edge of a feature map, which tell a box's corner where its sides are.

Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", arXiv 1808.01244. For rows i and columns j:

    top     y[i, j] = max x[i.., j]        left    y[i, j] = max x[i, j..]
    bottom  y[i, j] = max x[..i, j]        right   y[i, j] = max x[i, ..j]

The gradient of a maximum goes to the first of equal elements met on the way from the edge, as in the published code and
in ``max_pool2d``; ``torch.cummax`` picks the last. A NaN is the maximum from where it is met, and the first one met
takes the gradient of all elements behind it.

``torch.onnx.export(module, ..., dynamo=True)`` writes these operations as ``Gather`` and ``Max``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_device, check_floating, check_one_of

DIRECTIONS = ("top", "bottom", "left", "right")
_TOP, _BOTTOM, _LEFT, _RIGHT = range(4)


def corner_pool(x: Tensor, direction: str) -> Tensor:
    """Running maximum along the rows or columns of a feature map (arXiv 1808.01244).

    On CUDA the call does not wait for the device.

    Args:
        x: (N, C, H, W) or (C, H, W), float64, float32, float16 or bfloat16. The memory format, contiguous or
            channels-last, is kept; other strides are accepted.
        direction: ``"top"``: y[.., i, :] = max over rows >= i; ``"bottom"``: rows <= i; ``"left"``: y[.., j] = max over
            columns >= j; ``"right"``: columns <= j.

    Returns:
        A tensor of x's shape, with the values of ``torch.cummax``: NaN stays once met. Of equal elements the one
        nearest to the edge where the scan starts keeps the gradient.

    Raises:
        TypeError: If x is not a floating-point tensor.
        ValueError: If x has another shape, or the direction is none of the four.
    """
    _check_map("corner_pool", "x", x)
    check_direction("corner_pool", direction)
    return _run("corner_pool", _op, corner_pool_reference, (x,), DIRECTIONS.index(direction))


def top_left_pool(top: Tensor, left: Tensor) -> Tensor:
    """``corner_pool(top, "top") + corner_pool(left, "left")`` in one pass; half precision is rounded once.

    On CUDA the call does not wait for the device.

    Args:
        top: (N, C, H, W) or (C, H, W), as in :func:`corner_pool`.
        left: The same shape, dtype and device.

    Returns:
        A tensor of the same shape, in the memory format of `top`.

    Raises:
        TypeError: If one is not a floating-point tensor, or their dtypes differ.
        ValueError: If the shapes do not fit.
    """
    _check_pair("top_left_pool", "top", top, "left", left)
    return _run("corner_pool_pair", _pair_op, corner_pool_pair_reference, (top, left), True)


def bottom_right_pool(bottom: Tensor, right: Tensor) -> Tensor:
    """``corner_pool(bottom, "bottom") + corner_pool(right, "right")`` in one pass; see :func:`top_left_pool`.

    On CUDA the call does not wait for the device.

    Args:
        bottom: (N, C, H, W) or (C, H, W), as in :func:`corner_pool`.
        right: The same shape, dtype and device.
    """
    _check_pair("bottom_right_pool", "bottom", bottom, "right", right)
    return _run("corner_pool_pair", _pair_op, corner_pool_pair_reference, (bottom, right), False)


def check_direction(name: str, direction: str) -> None:
    """Raise ValueError unless `direction` is one of the four."""
    check_one_of(name, "direction", direction, DIRECTIONS)


def _check_map(name: str, argument: str, x: Tensor) -> None:
    check_floating(name, argument, x)
    if x.dim() not in (3, 4):
        raise ValueError(f"{name}: {argument} must have shape (N, C, H, W) or (C, H, W), got {x.dim()} dimensions")


def _check_pair(name: str, first: str, a: Tensor, second: str, b: Tensor) -> None:
    _check_map(name, first, a)
    _check_map(name, second, b)
    if a.shape != b.shape:
        raise ValueError(f"{name}: {second} must have the shape of {first}, {tuple(a.shape)}, got {tuple(b.shape)}")
    if a.dtype != b.dtype:
        raise TypeError(f"{name}: {second} must have the dtype of {first}, {a.dtype}, got {b.dtype}")
    check_device(name, second, b, first, a)


def _run(name: str, op: Any, reference: Any, maps: tuple[Tensor, ...], option: int) -> Tensor:
    batched = maps[0].dim() == 4
    maps = maps if batched else tuple(x.unsqueeze(0) for x in maps)
    y = (op if _native.use_native(maps[0], name) else reference)(*maps, option)
    return y if batched else y.squeeze(0)


def _directions(top_left: bool) -> tuple[int, int]:
    return (_TOP, _LEFT) if top_left else (_BOTTOM, _RIGHT)


def _axis(direction: int) -> int:
    return 2 if direction in (_TOP, _BOTTOM) else 3


def _winners(x: Tensor, direction: int) -> Tensor:
    """For every element, the place along the axis of the element that is its maximum: int64, of x's shape."""
    axis, from_end = _axis(direction), direction in (_TOP, _LEFT)
    scan = x.detach().flip(axis) if from_end else x.detach()
    if scan.numel() == 0:
        return torch.empty_like(scan, dtype=torch.int64)
    best = scan.cummax(axis).values
    before, after = best.narrow(axis, 0, best.shape[axis] - 1), best.narrow(axis, 1, best.shape[axis] - 1)
    first = torch.zeros_like(scan.narrow(axis, 0, 1), dtype=torch.int64)
    places = torch.arange(1, scan.shape[axis], device=x.device).view(-1, *(1,) * (3 - axis))
    changes = torch.cat((first, torch.where((after != before) & ~before.isnan(), places, 0)), axis)
    winners = changes.cummax(axis).values
    return scan.shape[axis] - 1 - winners.flip(axis) if from_end else winners


def corner_pool_reference(x: Tensor, direction: int) -> Tensor:
    """Every element's maximum, fetched from the element that is it; x is (N, C, H, W)."""
    return _pooled(x, direction).to(x.dtype).contiguous(memory_format=_native.storage_format(x))


def _pooled(x: Tensor, direction: int) -> Tensor:
    """The pool in the dtype that gradients are summed in."""
    if _autograd.is_exporting_to_onnx():
        return _by_doubling(x, direction)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return wide.gather(_axis(direction), _winners(wide, direction))


def corner_pool_pair_reference(vertical: Tensor, horizontal: Tensor, top_left: bool) -> Tensor:
    """The sum of the pools of two maps (N, C, H, W)."""
    down, along = _directions(top_left)
    y = _pooled(vertical, down) + _pooled(horizontal, along)
    return y.to(vertical.dtype).contiguous(memory_format=_native.storage_format(vertical))


def _backward_reference(grad: Tensor, x: Tensor, direction: int) -> Tensor:
    """Every element's sum of the gradients of the elements whose maximum it is; differentiable in grad."""
    wide = grad.float() if grad.dtype in (torch.float16, torch.bfloat16) else grad
    dx = torch.zeros_like(wide).scatter_add(_axis(direction), _winners(x, direction), wide)
    return dx.to(x.dtype).contiguous(memory_format=_native.storage_format(x))


def _pair_backward_reference(
    grad: Tensor, vertical: Tensor, horizontal: Tensor, top_left: bool
) -> tuple[Tensor, Tensor]:
    down, along = _directions(top_left)
    return _backward_reference(grad, vertical, down), _backward_reference(grad, horizontal, along)


def _by_doubling(x: Tensor, direction: int) -> Tensor:
    """The forward in log2(length) steps of standard operators, for export; x is (N, C, H, W).

    After the step of size s every element holds the maximum of 2s elements. A step beyond the last element takes that
    element, which every maximum contains anyway. A length that is only known when the model runs takes as many steps as
    its upper bound needs, 31 if it has none.
    """
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # imports SymPy

    axis, from_end = _axis(direction), direction in (_TOP, _LEFT)
    length = x.shape[axis]
    places = torch.arange(length, device=x.device)
    step = 1
    while step < 2**31 and not statically_known_true(length <= step):
        others = (places + step).clamp(max=length - 1) if from_end else (places - step).clamp(min=0)
        x = torch.maximum(x, x.index_select(axis, others))
        step *= 2
    return x


def _fake(x: Tensor, direction: int) -> Tensor:
    return torch.empty_like(x, memory_format=_native.storage_format(x))


def _fake_backward(grad: Tensor, x: Tensor, direction: int) -> Tensor:
    return _fake(x, direction)


def _fake_pair(vertical: Tensor, horizontal: Tensor, top_left: bool) -> Tensor:
    return torch.empty_like(vertical, memory_format=_native.storage_format(vertical))


def _fake_pair_backward(grad: Tensor, vertical: Tensor, horizontal: Tensor, top_left: bool) -> tuple[Tensor, Tensor]:
    return _fake(vertical, _TOP), _fake(horizontal, _LEFT)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *maps, ctx.option = inputs
    ctx.save_for_backward(*maps)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = ctx.saved_tensors
    return _backward_op(grad, x, ctx.option) if ctx.needs_input_grad[0] else None, None


def _backward_pair(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    vertical, horizontal = ctx.saved_tensors
    if ctx.needs_input_grad[0] and ctx.needs_input_grad[1]:
        return *_pair_backward_op(grad, vertical, horizontal, ctx.option), None
    down, along = _directions(ctx.option)
    return (
        _backward_op(grad, vertical, down) if ctx.needs_input_grad[0] else None,
        _backward_op(grad, horizontal, along) if ctx.needs_input_grad[1] else None,
        None,
    )


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, x, ctx.option = inputs
    ctx.save_for_backward(x)


def _double_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    """Which element wins does not change with x, so that only the gradient's own gradient is not 0."""
    (x,) = ctx.saved_tensors
    return _fetched(v, x, ctx.option) if ctx.needs_input_grad[0] else None, None, None


def _fetched(v: Tensor, x: Tensor, direction: int) -> Tensor:
    """Every element's v at the element that is its maximum."""
    return v.gather(_axis(direction), _winners(x, direction))


def _setup_pair_double(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, vertical, horizontal, ctx.option = inputs
    ctx.save_for_backward(vertical, horizontal)


def _pair_double_backward(ctx: Any, v_vertical: Tensor, v_horizontal: Tensor) -> tuple[Tensor | None, ...]:
    if not ctx.needs_input_grad[0]:
        return None, None, None, None
    vertical, horizontal = ctx.saved_tensors
    down, along = _directions(ctx.option)
    return _fetched(v_vertical, vertical, down) + _fetched(v_horizontal, horizontal, along), None, None, None


_op = _native.register(
    "corner_pool(Tensor x, int direction) -> Tensor",
    reference=corner_pool_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_autograd.folded,
)
_backward_op = _native.register(
    "_corner_pool_backward(Tensor grad, Tensor x, int direction) -> Tensor",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_autograd.folded,
)
_pair_backward_op = _native.register(
    "_corner_pool_pair_backward(Tensor grad, Tensor vertical, Tensor horizontal, bool top_left) -> (Tensor, Tensor)",
    reference=_pair_backward_reference,
    fake=_fake_pair_backward,
    backward=_pair_double_backward,
    setup_context=_setup_pair_double,
    batching=_autograd.folded,
)
_pair_op = _native.register(
    "corner_pool_pair(Tensor vertical, Tensor horizontal, bool top_left) -> Tensor",
    reference=corner_pool_pair_reference,
    fake=_fake_pair,
    backward=_backward_pair,
    setup_context=_setup_context,
    batching=_autograd.folded,
)
