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
        self._reductions: dict[str, str] = {}
        self._alone = False  # computing on states that are joined already, or are not to be

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compute" in vars(cls):
            cls.compute = _over_all_processes(cls.compute)  # type: ignore[assignment, method-assign]

    def add_state(self, name: str, default: State, dist_reduce_fx: str) -> None:
        """Declares a state.

        Args:
            name: the attribute that holds it.
            default: its value after ``reset``: a tensor, or an empty list that ``update`` appends tensors to.
            dist_reduce_fx: ``"sum"`` for tensors that add up over processes, ``"cat"`` for lists that are joined.
        """
        if dist_reduce_fx != ("cat" if isinstance(default, list) else "sum"):
            raise ValueError(
                f'add_state: dist_reduce_fx must be "sum" for tensors, "cat" for lists, got {dist_reduce_fx!r}'
            )
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
        """Takes a batch in, and returns the value of that batch alone, of this process alone."""
        before = self._states()
        self.reset()
        try:
            self.update(*args, **kwargs)
            batch = self._states()
            value = self._computed_alone()
        except BaseException:
            self._set(before)
            raise
        # Lists and tensors both add up.
        self._set({name: state + batch[name] for name, state in before.items()})  # type: ignore[operator]
        return value

    def _computed_alone(self) -> Any:
        self._alone, before = True, self._alone
        try:
            return self.compute()
        finally:
            self._alone = before

    def _states(self) -> dict[str, State]:
        return {name: getattr(self, name) for name in self._defaults}

    def _set(self, states: dict[str, State]) -> None:
        for name, state in states.items():
            setattr(self, name, state)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], *args: Any, **kwargs: Any) -> Metric:
        """Moves the states to another device. Their dtypes stay, also in a model that is made half precision."""
        super()._apply(fn, *args, **kwargs)

        def moved(state: torch.Tensor) -> torch.Tensor:
            return state.to(fn(state.new_empty(0)).device)

        for name, state in self._states().items():
            setattr(self, name, [moved(part) for part in state] if isinstance(state, list) else moved(state))
        return self


def _over_all_processes(compute: Callable[[Metric], Any]) -> Callable[[Metric], Any]:
    """`compute` on the joined states, after which this process has its own again."""

    @functools.wraps(compute)
    def computed(metric: Metric) -> Any:
        single = not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1
        if single or metric._alone:
            return compute(metric)
        own = metric._states()
        metric._set({name: _joined(state) for name, state in own.items()})
        metric._alone = True  # a compute that calls the one it overrides does not join again
        try:
            return compute(metric)
        finally:
            metric._alone = False
            metric._set(own)

    return computed


def _joined(state: State) -> State:
    if isinstance(state, torch.Tensor):
        total = state.clone()
        distributed.all_reduce(total)
        return total
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, [tensor.cpu() for tensor in state])
    device = state[0].device if state else None
    return [tensor.to(device) for part in parts for tensor in part]
