"""Decoding of spans against the usual table of all sums, and against a sliding maximum in stock PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    at_least,
    on_reference,
    shape_text,
)

OUTER = "outer product"
POOLED = "max_pool"
WINDOW = 15


def cases(setting: Setting) -> Iterator[Case]:
    """The best span of passages of three lengths, and the best twenty."""
    targets = (at_least(10, OUTER),) if setting.device.type == "cpu" else ()
    for length, top_k in ((150, 1), (400, 1), (767, 1), (400, 20)):
        extra = f" top {top_k}" if top_k > 1 else ""
        label = f"{shape_text((32, length))} window {WINDOW}{extra}"
        yield Case(label, partial(_build, length, top_k, setting), targets if length == 400 else ())


def _build(length: int, top_k: int, setting: Setting) -> dict[str, Candidate | None]:
    start, end = (x.to(setting.device) for x in scores(length))
    native = partial(ops.decode_spans, start, end, WINDOW, top_k=top_k)
    found: dict[str, Candidate | None] = {NATIVE: native, OUTER: partial(outer_product, start, end, top_k)}
    if top_k == 1:
        found[POOLED] = partial(pooled, start, end)
    copies = torch.empty_like(start), torch.empty_like(end)
    return {**found, REFERENCE: on_reference(native), COPY: lambda: (copies[0].copy_(start), copies[1].copy_(end))}


def scores(length: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities, (32, length)."""
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 32, length, generator=generator).log_softmax(2)
    return start, end


def outer_product(start: Tensor, end: Tensor, top_k: int) -> tuple[Tensor, ...]:
    """The usual implementation: the best of all pairs in a band; ties are in any order."""
    length = start.shape[1]
    band = torch.ones(length, length, dtype=torch.bool, device=start.device).triu().tril(WINDOW - 1)
    table = (start.unsqueeze(2) + end.unsqueeze(1)).masked_fill(~band, -torch.inf).flatten(1)
    score, place = table.max(1, keepdim=True) if top_k == 1 else table.topk(top_k)
    return place // length, place % length, score


def pooled(start: Tensor, end: Tensor) -> tuple[Tensor, ...]:
    """The best end of each window by max pooling, then the best start."""
    padded = F.pad(end, (0, WINDOW - 1), value=-torch.inf)
    best, at = F.max_pool1d_with_indices(padded.unsqueeze(1), (WINDOW,), (1,))
    score, first = (start + best.squeeze(1)).max(1, keepdim=True)
    return first, at.squeeze(1).gather(1, first), score
