"""A network while it runs: the outputs of its layers, by name."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn

_SHOWN = 20  # names of layers that an error lists


class _ReachedError(Exception):
    """Ends a run at the layer that was asked for; what follows need not fit the image."""


def layer_names(model: nn.Module, images: Tensor) -> list[str]:
    """The names of the layers that return feature maps, in the order in which they return.

    Args:
        model: The network.
        images: (N, C, H, W).

    Returns:
        Names as in ``named_modules``. A layer's second run is ``name:2``; a network without a name has its class's.
    """
    names: list[str] = []

    def note(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() in (2, 4):
            names.append(name)

    with evaluating(model), _telling(model, note):
        model(images)
    return names


def layer_output(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The output of a layer, (N, K, H, W); that of a layer that returns vectors (N, K) is (N, K, 1, 1).

    The network is run in evaluation mode, no further than the layer, and left as it was.

    Raises:
        ValueError: If the network has no such layer, or it returns something else.
    """
    names: list[str] = []
    found: list[Any] = []

    def stop_at_layer(name: str, output: Any) -> None:
        names.append(name)
        if name == layer:
            found.append(output)
            raise _ReachedError

    with evaluating(model), _telling(model, stop_at_layer), suppress(_ReachedError):
        model(images)
    if not found:
        raise ValueError(f"deconvnet: layer must be one of {_listed(names, layer)}, got {layer!r}")
    (output,) = found
    if not isinstance(output, Tensor) or output.dim() not in (2, 4):
        shape = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"deconvnet: layer must return one tensor (N, K, H, W) or (N, K), got {layer!r} with {shape}")
    return output if output.dim() == 4 else output[:, :, None, None]


def _listed(names: list[str], wanted: str) -> str:
    """All names, or of many those that are most like the one that was wanted."""
    if len(names) <= _SHOWN:
        return ", ".join(names) or "none"
    like = difflib.get_close_matches(wanted, names, 5, 0) if isinstance(wanted, str) else names[-5:]
    return f"{len(names)} names, such as {', '.join(like)}"


@contextmanager
def _telling(model: nn.Module, tell: Callable[[str, Any], None]) -> Iterator[None]:
    """Calls ``tell(name, output)`` whenever a module of the network returns."""
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}
    runs: Counter[str] = Counter()

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        name = names[module]
        runs[name] += 1
        tell(name if runs[name] == 1 else f"{name}:{runs[name]}", output)

    hooks = [module.register_forward_hook(after) for module in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts every module into evaluation mode, and back into its own afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
