"""Items of a benchmark: comparisons of several ways to compute the same thing ("races"), and single quantities."""

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
    """The user's choices for a run.

    Attributes:
        device: Device of the tensors.
        threads: CPU threads of every candidate, including peers.
        full: Whether to measure also what takes minutes.
    """

    device: torch.device
    threads: int
    full: bool = False


@dataclass(frozen=True)
class Target:
    """Requires the native op to take at most `limit` times another candidate's time, or `seconds` if that is more."""

    text: str
    against: str
    limit: float
    seconds: float = 0.0


def at_most(times: float, against: str, or_seconds: float = 0.0) -> Target:
    """Require at most `times` the time of another candidate, or `or_seconds` if that is more."""
    bound = f"{times:g} × {against}"
    return Target(f"≤ max({or_seconds:g} s, {bound})" if or_seconds else f"≤ {bound}", against, times, or_seconds)


def at_least(times: float, against: str) -> Target:
    """Require that the native op is at least `times` as fast as another candidate."""
    return Target(f"≥ {times:g} × as fast as {against}", against, 1 / times)


@dataclass(frozen=True)
class Case:
    """A comparison of candidates that compute the same thing.

    Attributes:
        label: What is computed, and on which sizes.
        build: Makes the inputs and returns the candidates by name, including ``"native"``; None for a peer that is not
            installed. Called right before the measurement, so that only one case's inputs are in memory.
        targets: Requirements for the native op on this kind of device.
        floors: Names of candidates that are not competitors but lower bounds; the table shows the native op's time as a
            multiple of theirs.
    """

    label: str
    build: Callable[[], dict[str, Candidate | None]]
    targets: tuple[Target, ...] = ()
    floors: tuple[str, ...] = (COPY,)


@dataclass(frozen=True)
class Quantity:
    """A single number, such as an error, which must be at most `limit`."""

    label: str
    unit: str
    limit: float
    measure: Callable[[], float]


Item = Case | Quantity


def on_reference(candidate: Candidate) -> Candidate:
    """The same call with the PyTorch references."""

    def run() -> object:
        with pydlx.backend("reference"):
            return candidate()

    return run


def forward(operation: Callable[..., torch.Tensor], *maps: torch.Tensor) -> Candidate:
    """The operation, without gradients."""
    return lambda: operation(*maps)


def forward_and_backward(operation: Callable[..., torch.Tensor], *maps: torch.Tensor) -> Candidate:
    """The operation and the gradients of all inputs, for an output gradient that was made beforehand."""
    points = [x.detach().requires_grad_() for x in maps]
    grad = torch.ones_like(operation(*maps))
    return lambda: torch.autograd.grad(operation(*points), points, grad)


def compiled(operation: Callable[..., torch.Tensor], setting: Setting) -> Callable[..., torch.Tensor] | None:
    """The operation under ``torch.compile`` on a GPU, where users would compile it; None on the CPU."""
    if setting.device.type != "cuda":
        return None
    torch.compiler.reset()  # otherwise shapes of earlier cases would make these dynamic
    return torch.compile(operation, dynamic=False)


def copying(x: torch.Tensor) -> Candidate:
    """Copy x to allocated memory: a lower bound for any op that reads and writes as much."""
    destination = torch.empty_like(x)
    return lambda: destination.copy_(x)


def installed(module: str) -> ModuleType | None:
    """A peer's module, or None if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def shape_text(shape: tuple[int, ...]) -> str:
    """The sizes as text, such as ``16×64×112×112``."""
    return "×".join(str(size) for size in shape)
