"""The base class of the metrics: torchmetrics' own, and what all metrics of pydlx add to it."""

from __future__ import annotations

import functools
import inspect
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_path, described
from pydlx._optional import needed_for
from pydlx.figures import new_figure, save_figure

with needed_for("pydlx.metrics", extra="metrics"):
    from torchmetrics import Metric as TorchMetric


class Metric(TorchMetric):
    """A ``torchmetrics.Metric``, of which the following holds beside torchmetrics' own contract.

    Processes: ``compute``, ``sync`` and ``sync_context`` wait for the other processes, so all of them must call these.
    Every other method shows the states as they are: those of this process, or those of all inside of
    ``with metric.sync_context():``.

    Dtypes: counts are int64 and sums float64, whatever a model that holds the metric is converted to. Results are
    float64 where they are not counts; ``set_dtype`` chooses another dtype for them, and leaves the states.

    Compute groups: a ``MetricCollection`` shares states between metrics that keep the same of every batch, which it
    decides by the values after the first. Metrics whose ``update`` depends on their options have a state ``made_by``
    that differs with them, so that a first batch on which they happen to agree does not join them.
    """

    made_by: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._dtype = torch.float64
        self._decisive: tuple[str, ...] = ()  # the options on which it depends what `update` keeps

    def options(self) -> dict[str, Any]:
        """The arguments that the metric was made with, by name."""
        parameters = inspect.signature(type(self)).parameters.values()
        return {each.name: getattr(self, each.name) for each in parameters if each.kind is not each.VAR_KEYWORD}

    def extra_repr(self) -> str:
        """The options that are not at their defaults."""
        defaults = {name: each.default for name, each in inspect.signature(type(self)).parameters.items()}
        shown = {name: described(value) for name, value in self.options().items()}
        return ", ".join(f"{name}={value}" for name, value in shown.items() if value != described(defaults[name]))

    def merge_state(self, incoming_state: dict[str, Any] | TorchMetric) -> None:
        """Adds what another metric has taken in, on any device.

        Raises:
            ValueError: The other metric is of another class, or keeps something else of a batch by its options.
        """
        updates = 1
        if isinstance(incoming_state, Metric):
            if incoming_state._maker() != self._maker():
                raise ValueError(
                    f"{type(self).__name__}: incoming_state must be of a metric made like {self!r}, "
                    f"got {incoming_state!r}"
                )
            updates = incoming_state.update_count
        if isinstance(incoming_state, TorchMetric):
            incoming_state = incoming_state.metric_state
        if isinstance(incoming_state, dict):
            incoming_state = {name: _copied(state, self.device) for name, state in incoming_state.items()}
            if "made_by" in self._defaults:
                incoming_state.setdefault("made_by", self.made_by)
        super().merge_state(incoming_state)
        self._update_count += updates
        self._computed = None

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """Chooses the dtype of results that are not counts; states keep theirs."""
        self._dtype = torch.empty(0).type(dst_type).dtype
        self._computed = None
        return self

    def plot(self, val: Any = None, ax: Any = None, *, path: str | os.PathLike[str] | None = None) -> tuple[Any, Any]:
        """Draws a result, or a row of them over time.

        Args:
            val: A result of ``compute`` or ``forward``, or a list of them; by default that of the states as they are,
                without waiting for other processes.
            ax: matplotlib axes to draw into, instead of those of a new figure.
            path: Where to write the picture, as a whole or not at all; the suffix chooses the format.

        Returns:
            matplotlib's figure and axes.

        Raises:
            ImportError: If matplotlib is not installed.
            OSError: If the file cannot be written.
        """
        if path is not None:
            check_path(type(self).__name__, "path", path)
        shown = self._of_states() if val is None else val
        shown = [_means(each) for each in shown] if isinstance(shown, Sequence) else _means(shown)
        ax = new_figure(6.4, 4.8).add_subplot() if ax is None else ax
        self._plot(shown, ax)
        if path is not None:
            save_figure(ax.figure, path, bbox_inches="tight")
        return ax.figure, ax

    @contextmanager
    def sync_context(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Joins the states of all processes, and gives this process its own again, after an error too."""
        with super().sync_context(*args, **kwargs):
            try:
                yield
            except BaseException:
                if self._is_synced:
                    self.unsync()
                raise

    def _tell_apart(self, *options: str) -> None:
        """Adds the state `made_by`, from those options on which it depends what `update` keeps; they must be set."""
        self._decisive = options
        digest = zlib.crc32(repr(self._maker()).encode()).to_bytes(4, "big")
        # Numbers below 256, of which torchmetrics' comparison by `allclose` takes no two for equal.
        self.add_state("made_by", torch.tensor(list(digest)), dist_reduce_fx="max")

    def _maker(self) -> tuple[str, ...]:
        options = self.options()
        return type(self).__name__, *(f"{name}={options[name]!r}" for name in self._decisive)

    def _of_states(self) -> Any:
        """The result of the states as they are; `compute` of an instance is wrapped, and waits for other processes."""
        return self._converted(type(self).compute(self))

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(compute)
        def converted(*args: Any, **kwargs: Any) -> Any:
            return self._converted(compute(*args, **kwargs))

        return super()._wrap_compute(converted)

    def _converted(self, value: Any) -> Any:
        """A result's tensors on the metric's device, and of its dtype where they are no counts."""
        if isinstance(value, Mapping):
            return type(value)({name: self._converted(each) for name, each in value.items()})  # type: ignore[call-arg]
        if not isinstance(value, Tensor):
            return value
        return value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Metric:
        """Moves states and results to another device; by itself torchmetrics would convert them as well."""
        dtype = self._dtype
        super()._apply(lambda state: state.to(fn(state.new_empty(0)).device), exclude_state)
        self._dtype = dtype
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Takes a copy of the states, since torchmetrics takes them as they are, to be changed by the next update."""
        loaded = [name for name in self._defaults if prefix + name in state_dict]
        wanted = {name: getattr(self, name) for name in loaded}
        error_msgs = kwargs["error_msgs"] if "error_msgs" in kwargs else args[-1]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)
        for name, before in wanted.items():
            state = _copied(getattr(self, name), self.device)
            if isinstance(state, Tensor) and state.shape != before.shape:
                error_msgs.append(f"{prefix}{name} must have shape {tuple(before.shape)}, got {tuple(state.shape)}")
                state = before
            elif name == "made_by" and not torch.equal(state, before):
                error_msgs.append(f"{prefix}{name} must be that of a metric made like {self!r}")
                state = before
            setattr(self, name, state)
        if loaded:
            self._computed = None
            self._update_count = max(1, self._update_count)


def _copied(state: Any, device: torch.device) -> Any:
    return [each.to(device, copy=True) for each in state] if isinstance(state, list) else state.to(device, copy=True)


def _means(value: Any) -> Any:
    """A result without what is of one class only, which would be too much for one picture."""
    if not isinstance(value, Mapping):
        return value
    return {name: each for name, each in value.items() if "/" not in name}
