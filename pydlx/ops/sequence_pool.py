"""Pooling over time: one vector, or k vectors, from each sequence of a batch of sequences of different lengths.

With n the number of valid steps of a sequence and x_t their values, separately for every channel:

    max     y = max_t x_t
    mean    y = 1/n sum_t x_t
    soft    y = sum_t w_t x_t,  w = softmax_t(x)        (SoftPool, arXiv 2101.00440; dy/dx_t = w_t (1 + x_t - y))
    k-max   the k largest x_t, in order of time         (Kalchbrenner et al., arXiv 1404.2188, section 3.3)

Padding is never read: its values do not affect any output, and its gradient is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import check_bool, check_device, check_floating, check_integers, check_one_of, whole
from pydlx.ops.soft_pool import softmax_average

_NAME = "sequence_pool"
MODES = ("max", "mean", "soft", "k-max")  # numbered alike in csrc/sequence_pool/sequence_pool.h
_MAX, _MEAN, _SOFT, _K_MAX = range(4)


def sequence_pool(
    x: Tensor, mode: str = "max", *, lengths: Tensor | None = None, mask: Tensor | None = None, k: int | None = None
) -> Tensor:
    """Pool every sequence over its valid steps.

    On CUDA the call does not wait for the device. Lengths on the CPU are copied to it at each call, so in a CUDA graph
    they must already be on the GPU.

    Args:
        x: (B, T, C), padded; or (total, C), packed: the concatenated sequences, without padding. float64, float32,
            float16 or bfloat16 (16-bit dtypes accumulate in float32). Any strides; if channels are adjacent, as in a
            transposed (T, B, C), x is not copied.
        mode: ``"max"``; ``"mean"``; ``"soft"``, the mean weighted by ``softmax_t(x)`` (arXiv 2101.00440); or
            ``"k-max"``, the k largest in order of time (arXiv 1404.2188).
        lengths: (B,), integers: the first ``lengths[b]`` steps of a padded sequence are valid; packed sequences need
            their lengths, which sum to total. They may stay on the CPU when x is on a GPU.
        mask: (B, T), bool, for padded x in place of lengths: True where a step is valid, in any pattern.
        k: How many values ``"k-max"`` keeps; for the other modes None.

    Returns:
        (B, C), or (B, k, C) for ``"k-max"``. Of equal values the first in time is taken and gets the gradient. NaN
        counts as larger than any number. A sequence shorter than k keeps all its values, followed by zeros.
        ``"soft"``: a sequence holding NaN gives NaN, one holding +inf gives +inf, one of only -inf gives -inf.

    Raises:
        TypeError: If x is not floating-point, lengths not integer or mask not bool.
        ValueError: If a shape or an option does not fit; or, for lengths or a mask on the CPU, if a sequence is empty
            or lengths do not fit x. Where values cannot be read (on a GPU without waiting, under ``torch.compile`` and
            ``torch.export``), lengths are clamped instead, and an empty sequence gives 0 and no gradient, as in
            ``torch.nn.EmbeddingBag``.
    """
    check_mode(_NAME, mode, k)
    _check_x(x, lengths, mask)
    ends = None
    if lengths is not None:
        _check_lengths(x, lengths)
        # Testing this is faster than a to() that changes nothing.
        in_place = lengths.dtype == torch.int64 and lengths.is_cpu and x.is_cpu
        ends = lengths if in_place else lengths.to(x.device, torch.int64, non_blocking=True)
        if x.dim() == 2:
            ends = ends.clamp(min=0).cumsum(0)
    elif mask is not None:
        _check_mask(x, mask)
    run = _op if _native.use_native(x, _NAME) else sequence_pool_reference
    y, _ = run(x, ends, mask, MODES.index(mode), 1 if k is None else whole(_NAME, "k", k))
    return y


def check_mode(name: str, mode: str, k: int | None) -> None:
    """Require one of the modes, and k if and only if the mode is k-max."""
    if type(mode) is not str or mode not in MODES:
        check_one_of(name, "mode", mode, MODES)
    if (k is None) == (mode == "k-max"):
        raise ValueError(f"{name}: k must be given for mode 'k-max' and for no other, got {k} for mode {mode!r}")
    if k is not None:
        whole(name, "k", k, least=1)


def _check_x(x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> None:
    check_floating(_NAME, "x", x)
    if x.dim() not in (2, 3):
        raise ValueError(f"{_NAME}: x must have shape (B, T, C) or, packed, (total, C), got {tuple(x.shape)}")
    if lengths is not None and mask is not None:
        raise ValueError(f"{_NAME}: lengths or mask must be given, got both")
    if x.dim() == 2 and lengths is None:
        raise ValueError(f"{_NAME}: lengths must be given for packed x of shape {tuple(x.shape)}, got none")
    if x.dim() == 3 and x.shape[1] == 0:
        raise ValueError(f"{_NAME}: x must have at least one step, got shape {tuple(x.shape)}")


def _check_lengths(x: Tensor, lengths: Tensor) -> None:
    check_integers(_NAME, "lengths", lengths)
    if not lengths.is_cpu:
        check_device(_NAME, "lengths", lengths, "x", x)
    if lengths.dim() != 1 or (x.dim() == 3 and lengths.shape[0] != x.shape[0]):
        wanted = f"({x.shape[0]},)" if x.dim() == 3 else "(B,)"
        raise ValueError(f"{_NAME}: lengths must have shape {wanted}, got {tuple(lengths.shape)}")
    if not _autograd.has_values(lengths):
        return
    values, longest = lengths.tolist(), x.shape[-2]
    if values and not 1 <= min(values) <= max(values) <= longest:
        bad = next(b for b, length in enumerate(values) if not 1 <= length <= longest)
        raise ValueError(f"{_NAME}: lengths must be 1 to {longest}, got {values[bad]} for sequence {bad}")
    if x.dim() == 2 and sum(values) != longest:
        raise ValueError(f"{_NAME}: lengths must sum to the {longest} rows of x, got {sum(values)}")


def _check_mask(x: Tensor, mask: Tensor) -> None:
    check_bool(_NAME, "mask", mask)
    if mask.shape != x.shape[:2]:
        raise ValueError(f"{_NAME}: mask must have shape {tuple(x.shape[:2])}, got {tuple(mask.shape)}")
    check_device(_NAME, "mask", mask, "x", x)
    if _autograd.has_values(mask) and not (filled := mask.any(1)).all():
        bad = int(filled.int().argmin())
        raise ValueError(f"{_NAME}: mask must set at least one step of every sequence, got none for sequence {bad}")


def sequence_pool_reference(
    x: Tensor, ends: Tensor | None, mask: Tensor | None, mode: int, k: int
) -> tuple[Tensor, Tensor]:
    """The definition.

    Args:
        x: (B, T, C), or packed (R, C).
        ends: (B,): the lengths for padded x; for packed x the row after each sequence's last one.
        mask: (B, T), for padded x without ends.
        mode: Number in MODES.
        k: For k-max.

    Returns:
        y, (B, C) or (B, k, C); and for max and k-max, in y's shape, the row of x (counted over batch and time) of
        each value, or -1 for missing ones; for the other modes an empty tensor.
    """
    rows, count = _valid_rows_first(x, ends, mask)
    steps = torch.arange(rows.shape[1], device=x.device)
    valid = (steps < count).unsqueeze(-1)
    values = x.flatten(0, -2)[rows]
    values = values.float() if x.dtype in (torch.float16, torch.bfloat16) else values
    if mode in (_MEAN, _SOFT):
        if mode == _MEAN:
            y = torch.where(valid, values, 0).sum(1) / count.clamp(min=1)
        else:
            y = torch.where(count > 0, softmax_average(torch.where(valid, values, -torch.inf), 1), 0)
        return y.to(x.dtype), rows.new_empty(0)
    values = torch.where(valid, values, -torch.inf)
    if mode == _MAX:
        places = values.detach().max(1, keepdim=True).indices
    else:
        places = _largest(values.detach(), k)
    missing = rows.shape[1]  # sorts after all steps
    places = torch.where(places < count.unsqueeze(-1), places, missing).sort(1).values
    places = F.pad(places, (0, 0, 0, k - places.shape[1]), value=missing)
    found = places < missing
    places = places.clamp(max=missing - 1)
    y = torch.where(found, values.gather(1, places), 0).to(x.dtype)
    index = torch.where(found, rows.unsqueeze(-1).expand(values.shape).gather(1, places), -1)
    return (y.squeeze(1), index.squeeze(1)) if mode == _MAX else (y, index)


def _largest(values: Tensor, k: int) -> Tensor:
    """The steps of the k largest values, ties by the first in time; (B, k, C), or all steps if there are fewer."""
    if _autograd.is_exporting_to_onnx():  # ONNX has no stable sort, but its TopK puts the first of equal values first
        return values.topk(min(k, values.shape[1]), 1).indices
    return values.sort(dim=1, descending=True, stable=True).indices[:, :k]


def _valid_rows_first(x: Tensor, ends: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows of x for every sequence, (B, T), the valid ones first and in order of time; and their number, (B, 1)."""
    if x.dim() == 2:
        assert ends is not None
        ends = ends.clamp(0, x.shape[0])
        first = torch.cat([ends.new_zeros(1), ends])[:-1]
        count = (ends - first).clamp(min=0).unsqueeze(1)
        # If values cannot be read, one sequence may have all the rows.
        unknown = torch.compiler.is_compiling() or _autograd.is_batched(ends)
        longest = x.shape[0] if unknown or not len(ends) else int(count.max())
        rows = first.unsqueeze(1) + torch.arange(max(1, longest), device=x.device)
        return rows.clamp(max=x.shape[0] - 1), count
    batch, steps = x.shape[:2]
    rows = torch.arange(batch * steps, device=x.device).view(batch, steps)
    if mask is not None:
        places = torch.where(mask, mask.cumsum(1) - 1, steps)
        return rows.new_zeros(batch, steps + 1).scatter(1, places, rows)[:, :steps], mask.sum(1, keepdim=True)
    count = rows.new_full((batch,), steps) if ends is None else ends.clamp(0, steps)
    return rows, count.unsqueeze(1)


def _backward_reference(
    grad: Tensor,
    x: Tensor | None,
    index: Tensor | None,
    ends: Tensor | None,
    mask: Tensor | None,
    shape: Sequence[int],
) -> Tensor:
    """The gradient with respect to x, in this shape; differentiable in grad and x.

    The mode is given by what was saved: the index for max and k-max, x for soft, neither for mean.
    """
    if index is not None:
        taken = torch.where(index >= 0, grad, 0).flatten(0, -2)
        zeros = grad.new_zeros(shape).flatten(0, -2)
        return zeros.scatter_add(0, index.flatten(0, -2).clamp(min=0), taken).reshape(shape)
    mode, point = (_MEAN, grad.new_zeros(shape)) if x is None else (_SOFT, x)
    return _autograd.pull_back(lambda x: sequence_pool_reference(x, ends, mask, mode, 1)[0], (point,), grad)[0]


def _fake(x: Tensor, ends: Tensor | None, mask: Tensor | None, mode: int, k: int) -> tuple[Tensor, Tensor]:
    batch = x.shape[0] if ends is None else ends.shape[0]
    shape = (batch, k, x.shape[-1]) if mode == _K_MAX else (batch, x.shape[-1])
    return x.new_empty(shape), x.new_empty(shape if mode in (_MAX, _K_MAX) else 0, dtype=torch.int64)


def _fake_backward(
    grad: Tensor,
    x: Tensor | None,
    index: Tensor | None,
    ends: Tensor | None,
    mask: Tensor | None,
    shape: Sequence[int],
) -> Tensor:
    return grad.new_empty(shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ends, mask, mode, _ = inputs
    index = output[1]
    ctx.mark_non_differentiable(index)
    ctx.shape = x.shape
    if mode in (_MAX, _K_MAX):
        ctx.save_for_backward(None, index, None, None)
    else:
        ctx.save_for_backward(x if mode == _SOFT else None, None, ends, mask)


def _backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    dx = _backward_op(grad, *ctx.saved_tensors, ctx.shape) if ctx.needs_input_grad[0] else None
    return dx, None, None, None, None


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.shape = inputs
    ctx.save_for_backward(*tensors)


def _double_backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference: v . d(backward) / d(grad, x)."""
    grad, x, index, ends, mask = ctx.saved_tensors

    def gradient(grad: Tensor, x: Tensor | None = None) -> Tensor:
        return _backward_reference(grad, x, index, ends, mask, ctx.shape)

    d_grad, *d_x = _autograd.pull_back(gradient, (grad,) if x is None else (grad, x), v)
    return d_grad, d_x[0] if d_x else None, None, None, None, None


def _batching(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Batch entries with the same valid steps become additional channels."""
    x, ends, mask, mode, k = inputs
    if dims[0] is None or any(dim is not None for dim in dims[1:]):
        return _autograd.one_by_one(op, size, dims, inputs)
    y, index = op(_as_channels(x, dims[0], size), ends, mask, mode, k)
    index = _as_entries(index, size) if mode in (_MAX, _K_MAX) else index.expand(size, 0)
    return _as_entries(y, size), index


def _batching_backward(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Tensor:
    """The same for the gradient."""
    grad, x, index, ends, mask, shape = inputs
    if dims[3] is not None or dims[4] is not None:
        return _autograd.one_by_one(op, size, dims, inputs)
    maps = (None if t is None else _as_channels(t, dim, size) for t, dim in zip((grad, x, index), dims, strict=False))
    return _as_entries(op(*maps, ends, mask, (*shape[:-1], size * shape[-1])), size)


def _as_channels(x: Tensor, dim: int | None, size: int) -> Tensor:
    """Move the batch dimension of (..., C) into the channels: (..., entries * C)."""
    x = x.unsqueeze(-2).expand(*x.shape[:-1], size, x.shape[-1]) if dim is None else x.movedim(dim, -2)
    return x.flatten(-2)


def _as_entries(x: Tensor, size: int) -> Tensor:
    return x.unflatten(-1, (size, x.shape[-1] // size)).movedim(-2, 0)


_op = _native.register(
    "sequence_pool(Tensor x, Tensor? ends, Tensor? mask, int mode, SymInt k) -> (Tensor, Tensor)",
    reference=sequence_pool_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_batching,
)
_backward_op = _native.register(
    "_sequence_pool_backward(Tensor grad, Tensor? x, Tensor? index, Tensor? ends, Tensor? mask, SymInt[] shape) "
    "-> Tensor",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_batching_backward,
)
