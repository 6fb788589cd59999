"""Trilinear attention against the concatenation that defines it, and against its decomposition in stock PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

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

CONCATENATED = "concatenation"
DECOMPOSED = "decomposed"

_SIZES = (16, 400, 50, 128)  # examples, passage, question, size of the vectors
Attention = tuple[Tensor, Tensor, Tensor]


def cases(setting: Setting) -> Iterator[Case]:
    """Forward, and with the gradients of all three results, with and without padding."""
    targets = (at_least(4, CONCATENATED),) if setting.device.type == "cpu" else ()
    for kind in ("padded", "full"):
        for direction in ("forward", "forward+backward"):
            label = f"{shape_text(_SIZES)} {kind} {direction}"
            yield Case(label, partial(_build, kind, direction, setting), targets)


def _build(kind: str, direction: str, setting: Setting) -> dict[str, Candidate | None]:
    texts, masks = inputs(_SIZES, kind)
    texts = [x.to(setting.device) for x in texts]
    ways = attentions(*(None if mask is None else mask.to(setting.device) for mask in masks))
    run = partial if direction == "forward" else with_gradients
    found: dict[str, Candidate | None] = {name: run(way, *texts) for name, way in ways.items()}
    copy = torch.empty_like(texts[0])
    return {**found, REFERENCE: on_reference(found[NATIVE]), COPY: lambda: copy.copy_(texts[0])}


def inputs(sizes: tuple[int, int, int, int], kind: str) -> tuple[list[Tensor], list[Tensor | None]]:
    """Context, question and weight; and the masks, or None unless "padded"."""
    batch, n, m, size = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, n, size), (batch, m, size), (3 * size,))
    context, question, weight = (torch.randn(shape, generator=generator) for shape in shapes)
    masks: list[Tensor | None] = [None, None]
    if kind == "padded":
        lengths = (torch.randint(1 + length // 2, 1 + length, (batch, 1), generator=generator) for length in (n, m))
        masks = [torch.arange(length) < ends for length, ends in zip((n, m), lengths, strict=True)]
    return [context, question, weight / size], masks


def with_gradients(way: Callable[..., Attention], *texts: Tensor) -> Candidate:
    """The attention and the gradients of both texts and the weight."""
    points = [x.detach().requires_grad_() for x in texts]
    with torch.no_grad():
        above = [torch.ones_like(y) for y in way(*texts)]
    return lambda: torch.autograd.grad(way(*points), points, above)


def attentions(
    context_mask: Tensor | None, question_mask: Tensor | None
) -> dict[str, Callable[[Tensor, Tensor, Tensor], Attention]]:
    """Ways to compute the similarities and both softmaxes."""

    def native(context: Tensor, question: Tensor, weight: Tensor) -> Attention:
        return ops.trilinear_attention(
            context, question, weight, context_mask=context_mask, question_mask=question_mask
        )

    def softmaxes(similarity: Tensor) -> Attention:
        over_question = over_context = similarity
        if question_mask is not None and context_mask is not None:
            over_question = similarity.masked_fill(~question_mask.unsqueeze(1), -torch.inf)
            over_context = similarity.masked_fill(~context_mask.unsqueeze(2), -torch.inf)
        return similarity, over_question.softmax(2), over_context.softmax(1)

    def concatenated(context: Tensor, question: Tensor, weight: Tensor) -> Attention:
        n, m = context.shape[1], question.shape[1]
        c, q = context.unsqueeze(2).expand(-1, -1, m, -1), question.unsqueeze(1).expand(-1, n, -1, -1)
        return softmaxes(torch.cat([c, q, c * q], -1) @ weight)

    def decomposed(context: Tensor, question: Tensor, weight: Tensor) -> Attention:
        on_context, on_question, on_product = weight.view(3, -1)
        linear = (context @ on_context).unsqueeze(2) + (question @ on_question).unsqueeze(1)
        return softmaxes(linear + (context * on_product) @ question.mT)

    return {NATIVE: native, CONCATENATED: concatenated, DECOMPOSED: decomposed}
