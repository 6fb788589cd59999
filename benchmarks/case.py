"""What can be measured: races between several ways to compute the same thing, and single quantities."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch

import pydlx

NATIVE = "native"
REFERENCE = "reference"
COPY = "copy"

Candidate = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What a user may choose about a run.

    Attributes:
        device: where the tensors live.
        threads: CPU threads of every candidate, peers included.
        full: also measure what takes minutes.
    """

    device: torch.device
    threads: int
    full: bool = False


@dataclass(frozen=True)
class Target:
    """Asks that the native op take at most `limit` times as long as another candidate, or `seconds` if that is more."""

    text: str
    against: str
    limit: float
    seconds: float = 0.0


def at_most(times: float, against: str, or_seconds: float = 0.0) -> Target:
    """The native op is to take at most `times` the time of another candidate, or `or_seconds` if that is more."""
    bound = f"{times:g} × {against}"
    return Target(f"≤ max({or_seconds:g} s, {bound})" if or_seconds else f"≤ {bound}", against, times, or_seconds)


def at_least(times: float, against: str) -> Target:
    """The native op is to be at least `times` as fast as another candidate."""
    return Target(f"≥ {times:g} × as fast as {against}", against, 1 / times)


@dataclass(frozen=True)
class Case:
    """A race.

    Attributes:
        label: what is computed, on which sizes.
        build: makes the inputs and returns the candidates by name, ``"native"`` among them; None for a peer that is not
            installed. Called right before the race, so that only one case's inputs are in memory.
        targets: what is asked of the native op, on this machine's kind of device.
        floors: the candidates that are not competitors but yardsticks; of them the table shows how many one call costs.
    """

    label: str
    build: Callable[[], dict[str, Candidate | None]]
    targets: tuple[Target, ...] = ()
    floors: tuple[str, ...] = (COPY,)


@dataclass(frozen=True)
class Quantity:
    """A number that is not a race, such as an error, asked to be at most `limit`."""

    label: str
    unit: str
    limit: float
    measure: Callable[[], float]


Item = Case | Quantity


def on_reference(candidate: Candidate) -> Candidate:
    """The same call on the PyTorch references."""

    def run() -> object:
        with pydlx.backend("reference"):
            return candidate()

    return run


def forward(operation: Callable[..., torch.Tensor], *maps: torch.Tensor) -> Candidate:
    """The bare operation, nothing recorded."""
    return lambda: operation(*maps)


def forward_and_backward(operation: Callable[..., torch.Tensor], *maps: torch.Tensor) -> Candidate:
    """The operation and the gradients of all inputs, from a gradient that is in memory already."""
    points = [x.detach().requires_grad_() for x in maps]
    grad = torch.ones_like(operation(*maps))
    return lambda: torch.autograd.grad(operation(*points), points, grad)


def compiled(operation: Callable[..., torch.Tensor], setting: Setting) -> Callable[..., torch.Tensor] | None:
    """The operation through ``torch.compile`` on a GPU, where that is what people would use; None on the CPU."""
    if setting.device.type != "cuda":
        return None
    torch.compiler.reset()  # what earlier cases compiled must not make these shapes dynamic
    return torch.compile(operation, dynamic=False)


def copying(x: torch.Tensor) -> Candidate:
    """Copies x to memory that is there already: the least that any op pays which reads and writes as much."""
    destination = torch.empty_like(x)
    return lambda: destination.copy_(x)


def installed(module: str) -> ModuleType | None:
    """A peer's module, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def shape_text(shape: tuple[int, ...]) -> str:
    """``16×64×112×112``."""
    return "×".join(str(size) for size in shape)
