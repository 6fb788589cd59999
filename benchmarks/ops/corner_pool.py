"""Corner pooling against ``torch.cummax`` and against doubling steps of ``torch.maximum``, on a GPU also compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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
    at_most,
    compiled,
    copying,
    forward,
    forward_and_backward,
    on_reference,
    shape_text,
)

CUMMAX = "cummax"
DOUBLING = "doubling"
COMPILED = "compiled doubling"
FLOAT32 = "float32"

_PAIR, _SINGLE = (4, 128, 128, 128), (8, 256, 128, 128)
_DIRECTIONS = ("top", "bottom", "left", "right")

Pool = Callable[..., Tensor]
Targets = dict[str, tuple[Target, ...]]

_PAIR_TARGETS: Targets = {
    "forward": (at_least(20, CUMMAX), at_most(2.5, COPY)),
    "forward+backward": (at_least(15, CUMMAX),),
}
_SINGLE_TARGETS: Targets = {"forward": (at_least(15, CUMMAX), at_least(4, DOUBLING))}
_HALF_TARGETS: Targets = {"forward": (at_most(1, FLOAT32),), "forward+backward": (at_most(1, FLOAT32),)}


@dataclass(frozen=True)
class _Row:
    pool: str
    shape: tuple[int, ...]
    targets: Targets = field(default_factory=dict)
    passes: tuple[str, ...] = ("forward", "forward+backward")
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    @property
    def label(self) -> str:
        extras = [str(self.dtype).removeprefix("torch.")] if self.dtype != torch.float32 else []
        extras += ["channels-last"] if self.channels_last else []
        return " ".join([self.pool, shape_text(self.shape), *extras])


_ROWS = (
    _Row("top_left", _PAIR, _PAIR_TARGETS),
    *(_Row(direction, _SINGLE, _SINGLE_TARGETS, ("forward",)) for direction in _DIRECTIONS),
    _Row("top", _PAIR, passes=("forward+backward",)),
    _Row("left", _PAIR, passes=("forward+backward",)),
    _Row("top_left", _PAIR, _HALF_TARGETS, dtype=torch.bfloat16),
    *(_Row(direction, _SINGLE, _HALF_TARGETS, ("forward",), torch.bfloat16) for direction in _DIRECTIONS),
    _Row("top_left", _PAIR, channels_last=True),
)


def cases(setting: Setting) -> Iterator[Case]:
    """Pairs and single directions; forward, and forward with the gradients of all inputs."""
    for row in _ROWS:
        for passes in row.passes:
            targets = row.targets.get(passes, ()) if setting.device.type == "cpu" else ()
            yield Case(f"{row.label} {passes}", _build(row, passes, setting), targets)


def _build(row: _Row, passes: str, setting: Setting) -> Callable[[], dict[str, Candidate | None]]:
    def build() -> dict[str, Candidate | None]:
        generator = torch.Generator().manual_seed(0)
        count = 2 if row.pool == "top_left" else 1
        maps = [torch.randn(row.shape, generator=generator).to(setting.device, row.dtype) for _ in range(count)]
        if row.channels_last:
            maps = [x.contiguous(memory_format=torch.channels_last) for x in maps]
        run = forward if passes == "forward" else forward_and_backward
        ways = pools(row.pool)
        if row.dtype != torch.float32:
            native = ways[NATIVE]
            halves = {NATIVE: run(native, *maps), FLOAT32: run(native, *(x.float() for x in maps))}
            return {**halves, COPY: copying(maps[0])}
        candidates: dict[str, Candidate | None] = {name: run(pool, *maps) for name, pool in ways.items()}
        if steps := compiled(ways[DOUBLING], setting):
            candidates[COMPILED] = run(steps, *maps)
        if row.shape == _PAIR:
            candidates[REFERENCE] = on_reference(run(ways[NATIVE], *maps))
        candidates[COPY] = copying(maps[0])
        return candidates

    return build


def pools(name: str) -> dict[str, Pool]:
    """A pair's or a single direction's pool, and what stock PyTorch offers for it."""
    if name == "top_left":
        return {
            NATIVE: ops.top_left_pool,
            CUMMAX: lambda top, left: cummax_pool(top, "top") + cummax_pool(left, "left"),
            DOUBLING: lambda top, left: doubling_pool(top, "top") + doubling_pool(left, "left"),
        }
    return {
        NATIVE: lambda x: ops.corner_pool(x, name),
        CUMMAX: lambda x: cummax_pool(x, name),
        DOUBLING: lambda x: doubling_pool(x, name),
    }


def cummax_pool(x: Tensor, direction: str) -> Tensor:
    """The usual form in stock PyTorch: flip, ``torch.cummax``, flip back."""
    axis = -2 if direction in ("top", "bottom") else -1
    if direction in ("bottom", "right"):
        return x.cummax(axis).values
    return x.flip(axis).cummax(axis).values.flip(axis)


def doubling_pool(x: Tensor, direction: str) -> Tensor:
    """log2(length) steps, each the maximum with the cells that are 1, 2, 4, .. further on."""
    axis = -2 if direction in ("top", "bottom") else -1
    length, step = x.shape[axis], 1
    while step < length:
        early, late = x.narrow(axis, 0, length - step), x.narrow(axis, step, length - step)
        larger = torch.maximum(early, late)
        if direction in ("top", "left"):
            x = torch.cat((larger, x.narrow(axis, length - step, step)), axis)
        else:
            x = torch.cat((x.narrow(axis, 0, step), larger), axis)
        step *= 2
    return x
