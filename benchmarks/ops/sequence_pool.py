"""Pooling over time against the formulas that first fill the padding, on a GPU also compiled."""

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
    Target,
    at_least,
    compiled,
    copying,
    forward,
    forward_and_backward,
    on_reference,
    shape_text,
)

EAGER = "eager"
COMPILED = "compiled"
K = 3

_SHAPE = (64, 400, 256)
_MODES = ("max", "mean", "soft", "k-max")
_LAYOUTS = ("lengths", "mask", "full", "packed")
_RAGGED = ("lengths", "mask")


def cases(setting: Setting) -> Iterator[Case]:
    """Every mode, forward and with the gradient, on lengths drawn from 1 to T; full and packed batches forward only.

    "mask" is the same batch, given by its mask.
    """
    for layout in _LAYOUTS:
        for mode in _MODES:
            for direction in ("forward", "forward+backward") if layout in _RAGGED else ("forward",):
                asked = layout in _RAGGED and setting.device.type == "cpu"
                targets: tuple[Target, ...] = (at_least(3, EAGER),) if asked else ()
                label = f"{mode} {shape_text(_SHAPE)} {layout} {direction}"
                yield Case(label, partial(_candidates, mode, layout, direction, setting), targets)


def _candidates(mode: str, layout: str, direction: str, setting: Setting) -> dict[str, Candidate | None]:
    x, lengths = sequences(_SHAPE)
    passes = forward if direction == "forward" else forward_and_backward
    if layout == "packed":
        x = torch.cat([row[:length] for row, length in zip(x, lengths.tolist(), strict=True)])
    x = x.to(setting.device)
    ways = pools(mode, layout, _SHAPE[1], lengths, setting.device)
    found = {name: passes(pool, x) for name, pool in ways.items()}
    # Compiled code differs little between layouts, and compiling takes seconds for each.
    if layout == "lengths" and (formula := compiled(ways[EAGER], setting)):
        found[COMPILED] = passes(formula, x)
    return {**found, REFERENCE: on_reference(found[NATIVE]), COPY: copying(x)}


def sequences(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A padded batch (B, T, C), and lengths from 1 to T."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randint(1, shape[1] + 1, (shape[0],), generator=generator)


def pools(
    mode: str, layout: str, steps: int, lengths: Tensor, device: torch.device
) -> dict[str, Callable[[Tensor], Tensor]]:
    """The op and, if x is padded, its formula in stock PyTorch, with a mask that was made beforehand."""
    k = K if mode == "k-max" else None
    valid = (torch.arange(steps) < lengths.unsqueeze(1)).to(device) if layout in _RAGGED else None
    given = {"lengths": lengths, "packed": lengths, "mask": valid, "full": None}[layout]
    option = {"mask" if layout == "mask" else "lengths": given}
    found: dict[str, Callable[[Tensor], Tensor]] = {NATIVE: lambda x: ops.sequence_pool(x, mode, k=k, **option)}
    if layout != "packed":
        padding = None if valid is None else ~valid.unsqueeze(-1)
        found[EAGER] = partial(eager_pool, mode, padding)
    return found


def eager_pool(mode: str, padding: Tensor | None, x: Tensor) -> Tensor:
    """x (B, T, C), padding (B, T, 1) or None. k-max needs at least K steps of T."""
    if mode == "mean":
        if padding is None:
            return x.mean(1)
        return x.masked_fill(padding, 0).sum(1) / (~padding).sum(1)
    filled = x if padding is None else x.masked_fill(padding, -torch.inf)
    if mode == "max":
        return filled.amax(1)
    if mode == "soft":
        cells = x if padding is None else x.masked_fill(padding, 0)
        return (filled.softmax(1) * cells).sum(1)
    largest = filled.topk(K, dim=1).indices.sort(1).values
    return filled.gather(1, largest)
