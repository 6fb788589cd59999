"""The zlpr loss against its usual form in stock PyTorch, and against a form without concatenation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    copying,
    forward,
    forward_and_backward,
    on_reference,
    shape_text,
)

CONCATENATED = "concatenation"
SELECTED = "selection"

_SPANS = (16, 9, 256, 256)  # items, types, first and last tokens
_LABELS = (4096, 1000)  # examples, labels


def cases(setting: Setting) -> Iterator[Case]:
    """Scores of spans, and examples of a classifier."""
    for shape in (_SPANS, _LABELS):
        for direction in ("forward", "forward+backward"):
            targets = (at_least(4, CONCATENATED),) if setting.device.type == "cpu" else ()
            yield Case(f"{shape_text(shape)} {direction}", partial(_build, shape, direction, setting), targets)


def _build(shape: tuple[int, ...], direction: str, setting: Setting) -> dict[str, Candidate | None]:
    scores, labels = (x.to(setting.device) for x in inputs(shape))
    run = forward if direction == "forward" else forward_and_backward
    found: dict[str, Candidate | None] = {
        name: run(loss, scores) for name, loss in losses(labels, len(shape) // 2).items()
    }
    return {**found, REFERENCE: on_reference(found[NATIVE]), COPY: copying(scores)}


def inputs(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Scores, most of them below 0, and few labels."""
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(shape, generator=generator) - 3, torch.rand(shape, generator=generator) < 0.003


def losses(labels: Tensor, dims: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways to compute the mean loss over the last `dims` dimensions; labels are given in the dtype that each takes."""
    flat = labels.flatten(-dims)
    numbers = flat.float()

    def native(scores: Tensor) -> Tensor:
        return ops.zlpr_loss(scores, labels, dim=tuple(range(-dims, 0)))

    def concatenated(scores: Tensor) -> Tensor:
        scores = (1 - 2 * numbers) * scores.flatten(-dims)
        zeros = torch.zeros_like(scores[..., :1])
        of_others = torch.cat([scores - numbers * 1e12, zeros], -1).logsumexp(-1)
        of_labels = torch.cat([scores - (1 - numbers) * 1e12, zeros], -1).logsumexp(-1)
        return (of_others + of_labels).mean()

    def selected(scores: Tensor) -> Tensor:
        scores = scores.flatten(-dims)
        of_others = F.softplus(scores.masked_fill(flat, -1e12).logsumexp(-1))
        of_labels = F.softplus((-scores).masked_fill(~flat, -1e12).logsumexp(-1))
        return (of_others + of_labels).mean()

    return {NATIVE: native, CONCATENATED: concatenated, SELECTED: selected}
