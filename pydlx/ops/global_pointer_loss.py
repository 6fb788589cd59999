"""The zlpr loss of GlobalPointer's span scores, without a table of all spans (arXiv 2208.03054, section 2).

Rotary position embedding (arXiv 2104.09864) rotates the vectors of the token at position p pair by pair,

    theta_i = 10000^(-2 i / d),  i = 0 .. d / 2 - 1
    (x_2i, x_2i+1)  ->  (x_2i cos p theta_i - x_2i+1 sin p theta_i,  x_2i+1 cos p theta_i + x_2i sin p theta_i)

The span of type c from token m to token n, both inclusive, has the score

    s_c(m, n) = scale q_c,m . k_c,n                                  GlobalPointer: a head for each type
    s_c(m, n) = scale q_m . k_n + start_bias_c,m + end_bias_c,n      Efficient GlobalPointer: one head for all types

For each item and type, the loss over its spans is that of :func:`pydlx.ops.zlpr_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import (
    check_bool,
    check_device,
    check_flag,
    check_floating,
    check_integers,
    check_not_nan,
    check_number,
    check_one_of,
)
from pydlx.ops.zlpr_loss import REDUCTIONS, reduced, zlpr_loss_reference

_NAME = "global_pointer_loss"


def global_pointer_loss(
    query: Tensor,
    key: Tensor,
    spans: Tensor,
    mask: Tensor | None = None,
    *,
    start_bias: Tensor | None = None,
    end_bias: Tensor | None = None,
    rotary: bool = True,
    triangle: bool = True,
    scale: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The zlpr loss of GlobalPointer's scores of all spans (arXiv 2208.03054, section 2).

    The span of type c from token m to token n, both inclusive, has the score ``scale q_c,m . k_c,n``, or with one head
    for all types ``scale q_m . k_n + start_bias_c,m + end_bias_c,n``. With rotary, query and key are first rotated by
    their positions. With the gold spans G of an item and type and all its other spans N, the loss is
    ``log(1 + sum_G exp(-s)) + log(1 + sum_N exp(s))``, that of :func:`pydlx.ops.zlpr_loss`.

    Scores are computed tile by tile, once more in the backward pass, and never stored: memory grows with L, not with
    L x L. Higher derivatives use the reference, which stores all scores. On CUDA the call does not wait for the device.

    Args:
        query: (B, H, L, d), vectors of tokens as the first of a span; float64, float32, float16 or bfloat16. H is the
            number of types C, or 1 if all types share the products and differ in their biases.
        key: (B, H, L, d), vectors of tokens as the last of a span.
        spans: (N, 4), integers: the gold spans as (item, type, start, end), the end inclusive. Duplicates count once;
            spans that start or end at a masked token are ignored; pass ``torch.tensor([])`` for none. They may stay on
            the CPU when query is on a GPU.
        mask: (B, L), bool: True at tokens, False in padding, which is never read. None means that all are tokens.
        start_bias: (B, C, L), added to the scores of all spans that start at a token; required with end_bias.
        end_bias: (B, C, L), the same for spans that end at a token.
        rotary: Whether to rotate query and key by their positions, 0 to L - 1; d must be even then.
        triangle: Whether only spans with start <= end have a score; otherwise every pair of tokens has.
        scale: Factor of the products; 1 / sqrt(d) by default.
        reduction: ``"mean"`` or ``"sum"`` over items and types; ``"none"`` for (B, C).

    Returns:
        A scalar, or (B, C); float64 for float64 tensors, else float32, because the sums may overflow half precision.
        An item that is all padding has loss 0; the mean over no items is NaN. NaN in a token reaches the losses of its
        item and head. A span with score -inf, for instance from a bias, is left out of the loss, gold or not.

    Raises:
        TypeError: If a tensor is of the wrong type.
        ValueError: If a shape, a device or an option does not fit; or, for spans on the CPU, if one lies outside of
            the items, types and tokens, or with triangle ends before it starts. Where their values cannot be read
            (on a GPU, under ``torch.compile``), such spans are ignored.
    """
    check_one_of(_NAME, "reduction", reduction, REDUCTIONS)
    _check_options(query, key, rotary, triangle, scale)
    _check_biases(query, start_bias, end_bias)
    _check_mask(query, mask)
    types = query.shape[1] if start_bias is None else start_bias.shape[1]
    _check_spans(query, types, spans, triangle)
    tensors = [x for x in (query, key, start_bias, end_bias) if x is not None]
    dtype = query.dtype
    for x in tensors[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    cells = gold_indices(spans, query.shape[0], types, query.shape[2]).to(query.device, non_blocking=True)
    run = _op if _native.use_native(query, _NAME) else global_pointer_loss_reference
    parts = run(
        query.to(dtype),
        key.to(dtype),
        cells,
        mask,
        None if start_bias is None else start_bias.to(wide),
        None if end_bias is None else end_bias.to(wide),
        rotary,
        triangle,
        scale,
    )
    return reduced(parts.sum(-1), reduction)


def _check_options(query: Tensor, key: Tensor, rotary: bool, triangle: bool, scale: float | None) -> None:
    check_floating(_NAME, "query", query)
    if query.dim() != 4 or query.shape[3] == 0:
        raise ValueError(f"{_NAME}: query must have shape (B, H, L, d) with d at least 1, got {tuple(query.shape)}")
    check_floating(_NAME, "key", key)
    if key.shape != query.shape:
        wanted = f"the shape of query, {tuple(query.shape)}"
        raise ValueError(f"{_NAME}: key must have {wanted}, got {tuple(key.shape)}")
    check_device(_NAME, "key", key, "query", query)
    check_flag(_NAME, "rotary", rotary)
    check_flag(_NAME, "triangle", triangle)
    if rotary and query.shape[3] % 2:
        raise ValueError(f"{_NAME}: rotary must be False for vectors of odd size, got True for {query.shape[3]}")
    if scale is not None:
        check_number(_NAME, "scale", scale)
        check_not_nan(_NAME, "scale", scale)


def _check_biases(query: Tensor, start_bias: Tensor | None, end_bias: Tensor | None) -> None:
    batch, heads, length, _ = query.shape
    for argument, bias in (("start_bias", start_bias), ("end_bias", end_bias)):
        if bias is None:
            continue
        check_floating(_NAME, argument, bias)
        if bias.dim() != 3 or (bias.shape[0], bias.shape[2]) != (batch, length) or heads not in (1, bias.shape[1]):
            wanted = f"({batch}, {'types' if heads == 1 else heads}, {length})"
            raise ValueError(f"{_NAME}: {argument} must have shape {wanted}, got {tuple(bias.shape)}")
        check_device(_NAME, argument, bias, "query", query)
    shapes = [None if bias is None else tuple(bias.shape) for bias in (start_bias, end_bias)]
    if shapes[0] != shapes[1]:
        wanted = "given in one shape, or neither"
        raise ValueError(f"{_NAME}: start_bias and end_bias must be {wanted}, got {shapes[0]} and {shapes[1]}")


def _check_mask(query: Tensor, mask: Tensor | None) -> None:
    if mask is None:
        return
    check_bool(_NAME, "mask", mask)
    if mask.shape != (query.shape[0], query.shape[2]):
        wanted = f"({query.shape[0]}, {query.shape[2]})"
        raise ValueError(f"{_NAME}: mask must have shape {wanted}, got {tuple(mask.shape)}")
    check_device(_NAME, "mask", mask, "query", query)


def _check_spans(query: Tensor, types: int, spans: Tensor, triangle: bool) -> None:
    if isinstance(spans, Tensor) and spans.shape in ((0,), (0, 4)):
        return  # no gold spans; the dtype of torch.tensor([]) does not matter
    check_integers(_NAME, "spans", spans)
    if spans.dim() != 2 or spans.shape[1] != 4:
        wanted = "(N, 4): item, type, start, end"
        raise ValueError(f"{_NAME}: spans must have shape {wanted}, got {tuple(spans.shape)}")
    if not spans.is_cpu:
        check_device(_NAME, "spans", spans, "query", query)
    if not _autograd.has_values(spans):
        return
    spans = spans.to(torch.int64)
    batch, length = query.shape[0], query.shape[2]
    wrong = ((spans < 0) | (spans >= spans.new_tensor([batch, types, length, length]))).any(1)
    if wrong.any():
        row = int(wrong.int().argmax())
        wanted = f"lie within {batch} items, {types} types and {length} tokens"
        raise ValueError(f"{_NAME}: spans must {wanted}, got {_span_text(spans[row])} in row {row}")
    wrong = spans[:, 3] < spans[:, 2]
    if triangle and wrong.any():
        row = int(wrong.int().argmax())
        raise ValueError(f"{_NAME}: spans must not end before they start, got {_span_text(spans[row])} in row {row}")


def _span_text(span: Tensor) -> str:
    item, kind, start, end = span.tolist()
    return f"item {item}, type {kind}, start {start}, end {end}"


def gold_indices(spans: Tensor, batch: int, types: int, length: int) -> Tensor:
    """(2, N): each span's flat index in a table (B, C, start, end), and in (B, C, end, start), each row sorted.

    The index of a span outside of the table is -1.
    """
    item, kind, start, end = spans.to(torch.int64).view(-1, 4).unbind(1)
    limits = ((item, batch), (kind, types), (start, length), (end, length))
    inside = torch.stack([(value >= 0) & (value < limit) for value, limit in limits]).all(0)
    first = (item * types + kind) * length
    numbers = torch.stack([(first + start) * length + end, (first + end) * length + start])
    return torch.where(inside, numbers, -1).sort(1).values


def global_pointer_scores(
    query: Tensor,
    key: Tensor,
    start_bias: Tensor | None,
    end_bias: Tensor | None,
    rotary: bool,
    scale: float | None,
) -> Tensor:
    """The scores of all spans, (B, C, L, L), in the arguments' dtype, unmasked. Arguments are not checked."""
    size = query.shape[-1]
    if rotary:
        query, key = turned(query), turned(key)
    # Scale the query, not the product, which might overflow half precision.
    scores = query * (size**-0.5 if scale is None else scale) @ key.mT
    if start_bias is not None and end_bias is not None:
        scores = scores + start_bias.unsqueeze(-1) + end_bias.unsqueeze(-2)
    return scores


def turned(x: Tensor) -> Tensor:
    """Rotary position embedding: rotate vectors (..., L, d) by their positions, with angles in float64."""
    length, size = x.shape[-2:]
    pairs = torch.arange(0, size, 2, dtype=torch.float64, device=x.device)
    angles = torch.arange(length, dtype=torch.float64, device=x.device).unsqueeze(1) * 10000 ** (-pairs / size)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], -1).flatten(-2)


def counted_spans(batch: int, length: int, mask: Tensor | None, triangle: bool, device: torch.device) -> Tensor:
    """Which spans have a score: bool, (B or 1, 1, L, L)."""
    counted = torch.ones(1, 1, length, length, dtype=torch.bool, device=device)
    if triangle:
        counted = counted.triu()
    if mask is not None:
        counted = counted & mask.view(batch, 1, length, 1) & mask.view(batch, 1, 1, length)
    return counted


def global_pointer_loss_reference(
    query: Tensor,
    key: Tensor,
    cells: Tensor,
    mask: Tensor | None,
    start_bias: Tensor | None,
    end_bias: Tensor | None,
    rotary: bool,
    triangle: bool,
    scale: float | None,
) -> Tensor:
    """The definition; returns both logarithms separately.

    Args:
        query: (B, H, L, d).
        key: (B, H, L, d).
        cells: (2, N), int64: the gold spans' indices from `gold_indices`; the reference uses the first row.
        mask: (B, L).
        start_bias: (B, C, L), in the accumulation dtype.
        end_bias: (B, C, L), likewise.
        rotary: As in the public function.
        triangle: Likewise.
        scale: Likewise.

    Returns:
        (B, C, 2): the logarithms of the sums over the gold spans and over the others, in the accumulation dtype.
    """
    batch, _, length, _ = query.shape
    query, key = (_tokens_of(x, mask, -1).to(torch.promote_types(x.dtype, torch.float32)) for x in (query, key))
    start_bias, end_bias = (x if x is None else _tokens_of(x, mask, 1) for x in (start_bias, end_bias))
    scores = global_pointer_scores(query, key, start_bias, end_bias, rotary, scale)
    counted = counted_spans(batch, length, mask, triangle, scores.device)
    total = scores.numel()
    gold = torch.zeros(total + 1, dtype=torch.bool, device=scores.device)
    gold = gold.scatter(0, torch.where(cells[0] < 0, total, cells[0]), True)[:total]
    rows = (batch * scores.shape[1], length * length)
    parts = zlpr_loss_reference(scores.reshape(rows), gold.view(rows), counted.expand(scores.shape).reshape(rows))
    return parts.view(batch, scores.shape[1], 2)


def _tokens_of(x: Tensor, mask: Tensor | None, dim: int) -> Tensor:
    """Zero the padding of vectors (B, H, L, d) with `dim` -1, or of numbers (B, C, L) with `dim` 1."""
    if mask is None:
        return x
    return torch.where(mask.unsqueeze(1).unsqueeze(-1) if dim < 0 else mask.unsqueeze(dim), x, 0)


def _backward_reference(
    grad: Tensor,
    parts: Tensor,
    query: Tensor,
    key: Tensor,
    cells: Tensor,
    mask: Tensor | None,
    start_bias: Tensor | None,
    end_bias: Tensor | None,
    rotary: bool,
    triangle: bool,
    scale: float | None,
) -> tuple[Tensor, ...]:
    """The gradients of query, key and both biases (empty if there are none); differentiable in those and grad.

    `parts`, the forward's output, is there for the kernels; the reference does not use it.
    """

    def loss(query: Tensor, key: Tensor, *biases: Tensor) -> Tensor:
        start, end = biases or (None, None)
        return global_pointer_loss_reference(query, key, cells, mask, start, end, rotary, triangle, scale)

    points = [x for x in (query, key, start_bias, end_bias) if x is not None]
    found = _autograd.pull_back(loss, tuple(points), grad)
    return (*found, *(parts.new_empty(0) for _ in range(4 - len(found))))


def _fake(query: Tensor, key: Tensor, cells: Tensor, mask: Tensor | None, start_bias: Tensor | None, *_: Any) -> Tensor:
    types = query.shape[1] if start_bias is None else start_bias.shape[1]
    return query.new_empty(query.shape[0], types, 2, dtype=torch.promote_types(query.dtype, torch.float32))


def _fake_backward(
    grad: Tensor,
    parts: Tensor,
    query: Tensor,
    key: Tensor,
    cells: Tensor,
    mask: Tensor | None,
    start_bias: Tensor | None,
    end_bias: Tensor | None,
    *_: Any,
) -> tuple[Tensor, ...]:
    biases = (parts.new_empty(0 if x is None else x.shape) for x in (start_bias, end_bias))
    return query.new_empty(query.shape), key.new_empty(key.shape), *biases


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.rotary, ctx.triangle, ctx.scale = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    dquery, dkey, dstart, dend = _backward_op(grad, *tensors, ctx.rotary, ctx.triangle, ctx.scale)
    biases = (None, None) if tensors[-1] is None else (dstart, dend)
    return dquery, dkey, None, None, *biases, None, None, None


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.rotary, ctx.triangle, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


def _double_backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference.

    `parts` depends on the other tensors; the reference's derivatives include that, so parts itself gets None.
    """
    grad, parts, query, key, cells, mask, *biases = ctx.saved_tensors
    biases = [x for x in biases if x is not None]

    def gradients(grad: Tensor, query: Tensor, key: Tensor, *biases: Tensor) -> tuple[Tensor, ...]:
        start, end = biases or (None, None)
        options = (ctx.rotary, ctx.triangle, ctx.scale)
        found = _backward_reference(grad, parts, query, key, cells, mask, start, end, *options)
        return found[: 2 + len(biases)]

    points = (grad, query, key, *biases)
    d_grad, d_query, d_key, *d_biases = _autograd.pull_back(gradients, points, v[: 2 + len(biases)])
    return d_grad, None, d_query, d_key, None, None, *(d_biases or (None, None)), None, None, None


def _batching(op: Any, size: int, dims: Sequence[int | None], inputs: Sequence[Any]) -> Any:
    """Flatten the batch dimension into the items, and shift the gold spans' indices accordingly."""
    at = next(i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.dtype == torch.int64)
    *tensors, rotary, triangle, scale = _autograd.with_batch_in_front(size, dims, inputs)
    cells, query, bias = tensors[at], tensors[at - 2], tensors[at + 2]
    types = query.shape[2] if bias is None else bias.shape[2]
    table = query.shape[1] * types * query.shape[3] ** 2
    first = torch.arange(size, device=cells.device).view(size, 1, 1) * table
    moved = torch.where(cells < 0, -1, cells + first).movedim(0, 1).flatten(1)
    merged = [x if x is None else x.flatten(0, 1) for x in tensors]
    merged[at] = moved.sort(1).values
    found = op(*merged, rotary, triangle, scale)
    return torch.utils._pytree.tree_map(
        lambda y: y.unflatten(0, (size, y.shape[0] // size)) if y.dim() > 1 else y.expand(size, *y.shape), found
    )


_INPUTS = "Tensor query, Tensor key, Tensor cells, Tensor? mask, Tensor? start_bias, Tensor? end_bias"
_OPTIONS = "bool rotary, bool triangle, float? scale"

_op = _native.register(
    f"global_pointer_loss({_INPUTS}, {_OPTIONS}) -> Tensor",
    reference=global_pointer_loss_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_batching,
)
_backward_op = _native.register(
    f"_global_pointer_loss_backward(Tensor grad, Tensor parts, {_INPUTS}, {_OPTIONS}) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_batching,
)
