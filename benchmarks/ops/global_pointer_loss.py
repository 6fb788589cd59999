"""GlobalPointer's loss against stock PyTorch with a table of all scores: time and memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

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
    Item,
    Quantity,
    Setting,
    at_least,
    copying,
    on_reference,
    shape_text,
)
from pydlx.benchmarks.memory import memory, share
from pydlx.ops.global_pointer_loss import turned

DENSE = "dense"
INDEXED = "dense, gold by index"

Loss = Callable[..., Tensor]

_TYPES = 10
_SIZES = (8, _TYPES, 512, 64)  # items, heads, tokens, numbers of a vector
_SHARED = (8, 1, 512, 64)
_LONG = (8, _TYPES, 2048, 64)
_GOLD = 200
_SMALL = (1, 10, 20, 64)


class Inputs(NamedTuple):
    """Arguments of the op by name; with biases if one head is shared by all types."""

    query: Tensor
    key: Tensor
    spans: Tensor
    mask: Tensor
    start_bias: Tensor | None = None
    end_bias: Tensor | None = None


def cases(setting: Setting) -> Iterator[Item]:
    """Full and shared heads, forward and with gradients; on the CPU also the memory."""
    on_cpu = setting.device.type == "cpu"
    for sizes in (_SIZES, _SHARED):
        for direction in ("forward", "forward+backward"):
            targets = (at_least(4, DENSE), at_least(4, INDEXED)) if on_cpu and direction != "forward" else ()
            label = f"{shape_text(sizes)} {'' if sizes[1] == _TYPES else f'for {_TYPES} types '}{direction}"
            yield Case(label, partial(_candidates, sizes, direction, setting), targets)
    if on_cpu and sys.platform == "linux":
        label = f"{shape_text(_SIZES)} forward+backward, memory beside {DENSE}"
        yield Quantity(label, "×", 1 / 8, partial(share, __name__, (NATIVE, DENSE), _SIZES, _SMALL, setting.threads))
        label = f"{shape_text(_LONG)} forward+backward, memory of the process"
        yield Quantity(label, "GB", 1.0, partial(_gigabytes, setting.threads))


def _candidates(sizes: tuple[int, ...], direction: str, setting: Setting) -> dict[str, Candidate | None]:
    given = Inputs._make(None if x is None else x.to(setting.device) for x in inputs(sizes))
    with_gradients = direction != "forward"
    found: dict[str, Candidate | None] = {name: build(name, given, with_gradients) for name in losses()}
    return {**found, REFERENCE: on_reference(build(NATIVE, given, with_gradients)), COPY: copying(given.query)}


def inputs(sizes: tuple[int, ...]) -> Inputs:
    """Random vectors and spans, without padding, which is the most expensive case."""
    batch, heads, length, _ = sizes
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(sizes, generator=generator) for _ in range(2))
    ends = torch.randint(length, (_GOLD, 2), generator=generator).sort(1).values
    rows = (torch.randint(limit, (_GOLD, 1), generator=generator) for limit in (batch, _TYPES))
    mask = torch.ones(batch, length, dtype=torch.bool)
    shape = (2, batch, _TYPES, length)
    biases = torch.randn(shape, generator=generator).unbind() if heads == 1 else (None, None)
    return Inputs(query, key, torch.cat([*rows, ends], 1), mask, *biases)


def build(name: str, given: Inputs, with_gradients: bool) -> Candidate:
    """One way to compute the mean loss and all gradients."""
    if not with_gradients:
        return lambda: losses()[name](given)
    given = Inputs._make(x.requires_grad_() if x is not None and x.is_floating_point() else x for x in given)
    points = [x for x in given if x is not None and x.requires_grad]
    return lambda: torch.autograd.grad(losses()[name](given), points)


def candidate(name: str, sizes: tuple[int, ...]) -> Candidate:
    """A candidate for measuring memory: with gradients, on the CPU."""
    return build(name, inputs(sizes), True)


def _gigabytes(threads: int) -> float:
    return memory(__name__, NATIVE, _LONG, _SMALL, threads).most / 1e6


def losses() -> dict[str, Loss]:
    """Ways to compute the mean loss."""
    return {NATIVE: lambda given: ops.global_pointer_loss(**given._asdict()), DENSE: _dense, INDEXED: _indexed}


def _scores(given: Inputs) -> Tensor:
    scores = turned(given.query) @ turned(given.key).mT / given.query.shape[-1] ** 0.5
    if given.start_bias is not None and given.end_bias is not None:
        scores = scores + given.start_bias.unsqueeze(-1) + given.end_bias.unsqueeze(-2)
    return scores


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    length = mask.shape[1]
    triangle = torch.ones(length, length, dtype=torch.bool, device=mask.device).triu()
    return scores.masked_fill(~(mask[:, None, :, None] & mask[:, None, None, :] & triangle), -1e12)


def _dense(given: Inputs) -> Tensor:
    """The usual implementation, with a table of labels."""
    scores = _masked(_scores(given), given.mask)
    labels = torch.zeros_like(scores)
    labels[tuple(given.spans.unbind(1))] = 1
    scores, labels = scores.flatten(2), labels.flatten(2)
    scores = (1 - 2 * labels) * scores
    zeros = torch.zeros_like(scores[..., :1])
    of_others = torch.cat([scores - labels * 1e12, zeros], -1).logsumexp(-1)
    of_labels = torch.cat([scores - (1 - labels) * 1e12, zeros], -1).logsumexp(-1)
    return (of_others + of_labels).mean()


def _indexed(given: Inputs) -> Tensor:
    """An implementation with few passes over the table: gold scores are gathered by their indices."""
    scores = _scores(given)
    cells = tuple(given.spans.unique(dim=0).unbind(1))
    gold = scores[cells]
    others = _masked(scores, given.mask).index_put(cells, scores.new_tensor(-1e12))
    of_others = F.softplus(others.flatten(2).logsumexp(-1))
    number = cells[0] * scores.shape[1] + cells[1]
    of_gold = torch.zeros_like(of_others).flatten().index_add(0, number, torch.exp(-gold))
    return (of_others.flatten() + torch.log1p(of_gold)).mean()
