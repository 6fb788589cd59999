"""What pydlx's metrics use of ``torchmetrics.Metric``, for where torchmetrics is not installed."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn

State = torch.Tensor | list[torch.Tensor]


class Metric(nn.Module):
    """Accumulates batches into states, and computes a value from the states of all processes.

    A subclass declares its states with :meth:`add_state` and defines ``update`` and ``compute``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._defaults: dict[str, State] = {}
        self._reductions: dict[str, str | None] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compute" in vars(cls):
            cls.compute = _over_all_processes(cls.compute)  # type: ignore[assignment, method-assign]

    def add_state(self, name: str, default: State, dist_reduce_fx: str | None = None) -> None:
        """Declares a state.

        Args:
            name: the attribute that holds it.
            default: its value after ``reset``: a tensor, or an empty list that ``update`` appends tensors to.
            dist_reduce_fx: ``"sum"`` for tensors that add up over processes, ``"cat"`` for lists that are joined.
        """
        self._defaults[name] = copy.deepcopy(default)
        self._reductions[name] = dist_reduce_fx
        setattr(self, name, copy.deepcopy(default))

    def reset(self) -> None:
        """Forgets every batch."""
        for name, default in self._defaults.items():
            now = getattr(self, name)
            device = now.device if isinstance(now, torch.Tensor) else None
            setattr(self, name, default.to(device, copy=True) if isinstance(default, torch.Tensor) else [])

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Takes a batch in."""
        raise NotImplementedError

    def compute(self) -> Any:
        """The value over every batch of every process."""
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes a batch in, and returns the value of that batch alone."""
        self.update(*args, **kwargs)
        everything = self._states()
        self.reset()
        self.update(*args, **kwargs)
        value = type(self).compute.__wrapped__(self)  # type: ignore[attr-defined]
        self._set(everything)
        return value

    def _states(self) -> dict[str, State]:
        return {name: getattr(self, name) for name in self._defaults}

    def _set(self, states: dict[str, State]) -> None:
        for name, state in states.items():
            setattr(self, name, state)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], *args: Any, **kwargs: Any) -> Metric:
        super()._apply(fn, *args, **kwargs)
        for name, state in self._states().items():
            setattr(self, name, [fn(part) for part in state] if isinstance(state, list) else fn(state))
        return self


def _over_all_processes(compute: Callable[[Metric], Any]) -> Callable[[Metric], Any]:
    """`compute` on the joined states, after which this process has its own again."""

    @functools.wraps(compute)
    def computed(metric: Metric) -> Any:
        if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
            return compute(metric)
        own = metric._states()
        metric._set({name: _joined(state, metric._reductions[name]) for name, state in own.items()})
        try:
            return compute(metric)
        finally:
            metric._set(own)

    return computed


def _joined(state: State, reduction: str | None) -> State:
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, state)
    if reduction == "sum":
        return torch.stack([part.to(state.device) for part in parts]).sum(0)  # type: ignore[union-attr]
    return [tensor for part in parts for tensor in part]
