"""SoftPool against the eager formula, and against max pooling, whose time is the goal.

On a GPU also against ``torch.compile`` of the formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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

EAGER = "eager"
COMPILED = "compiled"
MAX_POOL = "max_pool"

Pool = Callable[[Tensor], Tensor]
Targets = dict[str, tuple[Target, ...]]

_TWO_BY_TWO: Targets = {
    "forward": (at_least(6, EAGER), at_most(0.4, MAX_POOL), at_most(2.5, COPY)),
    "forward+backward": (at_least(6, EAGER), at_most(0.5, MAX_POOL)),
}
_THREE_BY_THREE: Targets = {
    "forward": (at_most(1, MAX_POOL),),
    "forward+backward": (at_most(1.2, MAX_POOL),),
}
_CUBES: Targets = {
    "forward": (at_least(5, EAGER),),
    "forward+backward": (at_least(5, EAGER), at_most(0.7, MAX_POOL)),
}


@dataclass(frozen=True)
class _Row:
    kernel: int
    shape: tuple[int, ...]
    targets: Targets = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    @property
    def label(self) -> str:
        extras = [str(self.dtype).removeprefix("torch.")] if self.dtype != torch.float32 else []
        extras += ["channels-last"] if self.channels_last else []
        return " ".join([f"k{self.kernel} s2", shape_text(self.shape), *extras])


_ROWS = (
    _Row(2, (16, 64, 112, 112), _TWO_BY_TWO),
    _Row(2, (8, 64, 56, 56), _TWO_BY_TWO),
    _Row(3, (8, 64, 112, 112), _THREE_BY_THREE),
    _Row(2, (8, 64, 112, 112), dtype=torch.bfloat16),
    _Row(2, (8, 64, 112, 112), channels_last=True),
    _Row(2, (2, 32, 32, 56, 56), _CUBES),
)

_GPU_ROWS = (
    _Row(2, (64, 64, 112, 112)),
    _Row(2, (64, 64, 112, 112), dtype=torch.bfloat16),
    _Row(2, (64, 64, 112, 112), channels_last=True),
    _Row(2, (64, 64, 113, 113)),
    _Row(3, (64, 64, 112, 112)),
    _Row(3, (64, 64, 112, 112), dtype=torch.bfloat16),
    _Row(3, (256, 512, 7, 7)),
    _Row(2, (8, 32, 32, 56, 56)),
)


def cases(setting: Setting) -> Iterator[Case]:
    """SoftPool with stride 2, forward, and forward with the exact gradient."""
    for row in _GPU_ROWS if setting.device.type == "cuda" else _ROWS:
        for direction in ("forward", "forward+backward"):
            targets = row.targets.get(direction, ()) if setting.device.type == "cpu" else ()
            yield Case(f"{row.label} {direction}", _build(row, direction, setting), targets)


def _build(row: _Row, direction: str, setting: Setting) -> Callable[[], dict[str, Candidate | None]]:
    def build() -> dict[str, Candidate | None]:
        x = torch.randn(row.shape, generator=torch.Generator().manual_seed(0)).to(setting.device, row.dtype)
        if row.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        passes = forward if direction == "forward" else forward_and_backward
        candidates: dict[str, Candidate | None] = {
            name: passes(pool, x) for name, pool in pools(row.kernel, x.dim() - 2).items()
        }
        if formula := compiled(partial(window_soft_pool, kernel=row.kernel), setting):
            candidates[COMPILED] = passes(formula, x)
        candidates[REFERENCE] = on_reference(passes(pools(row.kernel, x.dim() - 2)[NATIVE], x))
        candidates[COPY] = copying(x)
        return candidates

    return build


def pools(kernel: int, spatial: int) -> dict[str, Pool]:
    """SoftPool, its eager formula and max pooling with stride 2; in three dimensions for a kernel of 2."""
    if spatial == 3:
        return {
            NATIVE: lambda x: ops.soft_pool3d(x, kernel, 2),
            EAGER: lambda x: eager_soft_pool3d(x, kernel),
            MAX_POOL: lambda x: F.max_pool3d(x, kernel, 2),
        }
    return {
        NATIVE: lambda x: ops.soft_pool2d(x, kernel, 2),
        EAGER: lambda x: eager_soft_pool2d(x, kernel, 2),
        MAX_POOL: lambda x: F.max_pool2d(x, kernel, 2),
    }


def eager_soft_pool2d(x: Tensor, kernel: int, stride: int) -> Tensor:
    """The formula in stock PyTorch, stable and differentiable; the fastest of several forms tried.

    x is (N, C, H, W); the windows must fit, without padding.
    """
    batch, channels, height, width = x.shape
    windows = F.unfold(x, kernel, stride=stride).view(batch, channels, kernel * kernel, -1)
    pooled = (windows.softmax(2) * windows).sum(2)
    return pooled.view(batch, channels, (height - kernel) // stride + 1, (width - kernel) // stride + 1)


def window_soft_pool(x: Tensor, kernel: int) -> Tensor:
    """The formula with stride 2 over views of the windows, in any dimensions; ``torch.compile`` fuses it."""
    windows = x
    for axis in range(2, x.dim()):
        windows = windows.unfold(axis, kernel, 2)
    elements = tuple(range(2 - x.dim(), 0))
    weights = (windows - windows.amax(elements, keepdim=True)).exp()
    return (weights * windows).sum(elements) / weights.sum(elements)


def eager_soft_pool3d(x: Tensor, size: int) -> Tensor:
    """The same for cubes that tile a volume (N, C, D, H, W), nearly three times as fast as ``Tensor.unfold``."""
    batch, channels, *volume = x.shape
    cubes = x.view(batch, channels, *(part for length in volume for part in (length // size, size)))
    windows = cubes.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(2, 4)
    return (windows.softmax(2) * windows).sum(2)
