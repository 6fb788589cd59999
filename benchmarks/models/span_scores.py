"""RaSoR's scores of all spans, against concatenating the states of every pair: time and memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx.benchmarks.case import COPY, NATIVE, Candidate, Case, Item, Quantity, Setting, at_least, copying
from pydlx.benchmarks.memory import share
from pydlx.models.readers.pointers import SpanScoring

PAIRS = "pairs"

_SIZES = (16, 400, 200, 100, 30)  # passages, tokens, size of a state, hidden size, tokens of the longest span
_SMALL = (1, 20, 8, 8, 4)


def cases(setting: Setting) -> Iterator[Item]:
    """Yield cases of SQuAD's passage length at the paper's sizes and, on the CPU, their memory."""
    on_cpu = setting.device.type == "cpu"
    label = "16×400×200, hidden 100, spans to 30, forward+backward"
    yield Case(label, partial(_candidates, setting), (at_least(3, PAIRS),) if on_cpu else ())
    if on_cpu and sys.platform == "linux":
        measure = partial(share, __name__, (NATIVE, PAIRS), _SIZES, _SMALL, setting.threads)
        yield Quantity(f"{label}, memory beside {PAIRS}", "×", 1 / 4, measure)


def _candidates(setting: Setting) -> dict[str, Candidate | None]:
    copied = torch.randn(_SIZES[:3]).to(setting.device)
    return {**{name: candidate(name, _SIZES, setting.device) for name in (NATIVE, PAIRS)}, COPY: copying(copied)}


def candidate(name: str, sizes: tuple[int, ...], device: torch.device | str = "cpu") -> Candidate:
    """Return one way to compute the scores and the gradients of states and weights."""
    batch, length, size, hidden, max_length = sizes
    torch.manual_seed(0)
    part = SpanScoring(size, hidden, max_length).to(device)
    states = torch.randn(batch, length, size).to(device).requires_grad_()
    mask = torch.ones(batch, length, dtype=torch.bool, device=device)
    scores: Callable[..., Tensor] = part if name == NATIVE else partial(of_pairs, part)
    grad = torch.randn(batch, length, max_length).to(device)
    return lambda: torch.autograd.grad(scores(states, mask), [states, *part.parameters()], grad)


def of_pairs(part: SpanScoring, states: Tensor, mask: Tensor) -> Tensor:
    """Compute scores (B, n, w) by the paper's equation, from both states (B, n, w, 2 size) of every span."""
    length, width = states.shape[1], part.max_length
    first = torch.arange(length, device=states.device).unsqueeze(1)
    last = first + torch.arange(width, device=states.device)
    real = (last < length) & mask[:, last.clamp(max=length - 1)]
    pairs = torch.cat([states[:, first.expand_as(last)], states[:, last.clamp(max=length - 1)]], -1)
    weight = torch.cat([part.start.weight, part.end.weight], 1)
    scores = part.score(F.linear(pairs, weight, part.start.bias).relu()).squeeze(-1)
    return scores.masked_fill(~real, -torch.inf)
