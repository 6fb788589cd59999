"""The best answer spans of a text, from each token's score as the start and as the end of an answer.

With start scores s and end scores e, the span from token i to token j, both inclusive, has score s_i + e_j. It is
valid if

    i <= j < i + max_length,  the mask is True at i and j,  and s_i + e_j > -inf (so not NaN).

Spans are sorted by descending score, ties by the smaller i, then the smaller j; 16-bit scores are added and compared in
float32. The order is fully defined, so that every backend gives the same spans.

DrQA (Chen et al., arXiv 1704.00051) takes the maximum of an L x L table; the kernels never build the table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import check_bool, check_device, check_floating, whole, whole_or_none
from pydlx.ops.ranking import best

_NAME = "decode_spans"


def decode_spans(
    start: Tensor, end: Tensor, max_length: int | None = 15, *, mask: Tensor | None = None, top_k: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the best spans of every row: i <= j < i + max_length with the highest start_i + end_j.

    Ties go to the smaller i, then the smaller j. Spans with score -inf or NaN are not valid.
    On CUDA the call does not wait for the device. Under ``torch.onnx.export`` it becomes a table of L x max_length.

    Args:
        start: (B, L), score of each token as the start of an answer, usually log-probabilities. float64, float32,
            float16 or bfloat16.
        end: (B, L), score of each token as the end.
        max_length: Most tokens of a span; None for no limit.
        mask: (B, L), bool: True at tokens where an answer may start or end. None allows all.
        top_k: Spans per row.

    Returns:
        start_index and end_index (B, top_k), int64, both inclusive, and score (B, top_k), sorted by descending score.
        Where fewer spans are valid, indices are -1 and scores -inf. The score is float64 if an input is, else float32,
        and differentiable in start and end.

    Raises:
        TypeError: If start or end is not floating-point, or the mask not bool.
        ValueError: If a shape or a number does not fit.
    """
    _check(start, end, mask)
    length = start.shape[1]
    max_length = whole_or_none(_NAME, "max_length", max_length, 1)
    limit = length if max_length is None else max_length
    top_k = whole(_NAME, "top_k", top_k, 1)
    dtype = torch.promote_types(start.dtype, end.dtype)
    start, end = start.to(dtype), end.to(dtype)
    native = _native.use_native(start, _NAME) and not _autograd.is_exporting_to_onnx()
    run: Callable[..., tuple[Tensor, Tensor]] = _op if native else decode_spans_reference
    first, last = run(start.detach(), end.detach(), mask, max(1, limit), top_k)
    return first, last, _scores(start, end, first, last)


def _check(start: Tensor, end: Tensor, mask: Tensor | None) -> None:
    check_floating(_NAME, "start", start)
    if start.dim() != 2:
        raise ValueError(f"{_NAME}: start must have shape (B, L), got {tuple(start.shape)}")
    check_floating(_NAME, "end", end)
    if mask is not None:
        check_bool(_NAME, "mask", mask)
    for argument, tensor in (("end", end), ("mask", mask)):
        if tensor is None:
            continue
        if tensor.shape != start.shape:
            raise ValueError(
                f"{_NAME}: {argument} must have the shape of start, {tuple(start.shape)}, got {tuple(tensor.shape)}"
            )
        check_device(_NAME, argument, tensor, "start", start)


def decode_spans_reference(
    start: Tensor, end: Tensor, mask: Tensor | None, max_length: int, top_k: int
) -> tuple[Tensor, Tensor]:
    """The definition: first and last tokens, (B, top_k) each, from scores of one dtype."""
    length = start.shape[1]
    if start.numel() == 0:
        return _no_spans(start, top_k), _no_spans(start, top_k)
    start, end = _wide(start), _wide(end)
    if mask is not None:
        start, end = torch.where(mask, start, -torch.inf), torch.where(mask, end, -torch.inf)
    width = torch.sym_min(max_length, length)
    ends = torch.arange(length, device=start.device).unsqueeze(1) + torch.arange(width, device=start.device)
    scores = start.unsqueeze(2) + end[:, ends.clamp(max=length - 1)]
    scores = torch.where((ends < length) & (scores > -torch.inf), scores, -torch.inf)
    scores = F.pad(scores.flatten(1), (0, top_k), value=-torch.inf)  # there may be fewer than top_k spans
    scores, place = best(scores, top_k)
    first = place // width
    found = scores > -torch.inf
    return torch.where(found, first, -1), torch.where(found, first + (place - first * width), -1)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scores(start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Scores of the spans found, (B, top_k), differentiable in start and end."""
    if start.shape[1] == 0:
        start, end = (F.pad(x, (0, 1)) for x in (start, end))  # gather needs at least one element
    total = _wide(start.gather(1, first.clamp(min=0))) + _wide(end.gather(1, last.clamp(min=0)))
    return torch.where(first >= 0, total, -torch.inf)


def _no_spans(start: Tensor, top_k: int) -> Tensor:
    return start.new_full((start.shape[0], top_k), -1, dtype=torch.int64)


def _fake(start: Tensor, end: Tensor, mask: Tensor | None, max_length: int, top_k: int) -> tuple[Tensor, Tensor]:
    shape = (start.shape[0], top_k)
    return start.new_empty(shape, dtype=torch.int64), start.new_empty(shape, dtype=torch.int64)


_op = _native.register(
    "decode_spans(Tensor start, Tensor end, Tensor? mask, SymInt max_length, SymInt top_k) -> (Tensor, Tensor)",
    reference=decode_spans_reference,
    fake=_fake,
    batching=_autograd.folded,
)
