"""The chain of modules that a network runs an image through, found by watching it run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Chain:
    """Modules of which each takes the output of the one before, the first the image.

    Attributes:
        layers: Names, as in ``named_modules``, and modules; a module's second run is ``name:2``.
        end: Why the chain goes no further than this; None if it ends with the network.
    """

    layers: tuple[tuple[str, nn.Module], ...]
    end: str | None

    def up_to(self, layer: str) -> tuple[tuple[str, nn.Module], ...]:
        """The part from the image to a layer.

        Raises:
            ValueError: If the layer is not on the chain.
        """
        names = [name for name, _ in self.layers]
        if layer in names:
            return self.layers[: names.index(layer) + 1]
        reason = f" ({self.end})" if self.end else ""
        raise ValueError(f"deconvnet: layer must be one of {', '.join(names) or 'none'}, got {layer!r}{reason}")


@dataclass(frozen=True)
class _Run:
    """One call of a module; the version of a tensor counts the changes made to it in place."""

    name: str
    module: nn.Module
    input: Tensor | None
    input_version: int
    output: Tensor | None
    output_version: int


def module_chain(model: nn.Module, image: Tensor) -> Chain:
    """Run `model` on an image in evaluation mode and follow the image through its innermost modules.

    The chain ends where a module takes something else than the very output of the one before: a sum, a reshaped tensor,
    the result of a function that is no module. The model is left as it was.

    Args:
        model: The network.
        image: (1, C, H, W).
    """
    with torch.inference_mode(False), torch.no_grad():  # inference tensors count no changes
        image = image.clone()
        version = image._version
        runs = _watch(model, image)
    names: Counter[str] = Counter()
    layers: list[tuple[str, nn.Module]] = []
    previous, current = "the image", image
    for run in runs:
        if run.input is not current or run.input_version != version:
            return Chain(tuple(layers), f"{run.name!r} does not take the output of {previous!r} as it is")
        if run.output is None:
            return Chain(tuple(layers), f"{run.name!r} does not return one tensor")
        names[run.name] += 1
        layers.append((run.name if names[run.name] == 1 else f"{run.name}:{names[run.name]}", run.module))
        previous, current, version = run.name, run.output, run.output_version
    return Chain(tuple(layers), None)


def _watch(model: nn.Module, image: Tensor) -> list[_Run]:
    """The calls of all modules without children, in order."""
    runs: list[_Run] = []
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}

    def before(module: nn.Module, inputs: tuple[object, ...]) -> None:
        only = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
        runs.append(_Run(names[module], module, only, -1 if only is None else only._version, None, -1))

    def after(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, Tensor):
            runs[-1] = replace(runs[-1], output=output, output_version=output._version)

    with evaluating(model):
        leaves = [module for module in names if not any(module.children())]
        hooks = [
            hook
            for leaf in leaves
            for hook in (leaf.register_forward_pre_hook(before), leaf.register_forward_hook(after))
        ]
        try:
            model(image)
        finally:
            for hook in hooks:
                hook.remove()
    return runs


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
