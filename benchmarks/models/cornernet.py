"""CornerNet's hourglass-104 with native corner pooling, against corner pooling by ``torch.cummax``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pydlx.benchmarks.case import NATIVE, Candidate, Case, Setting, at_least, forward_and_backward
from pydlx.benchmarks.ops.corner_pool import CUMMAX, cummax_pool
from pydlx.models import create_model
from pydlx.models.detection.cornernet import CornerModule
from pydlx.nn import BottomRightPool2d, TopLeftPool2d

# Size of the maps that each corner module pools, for an image of 511 pixels; 128 is half of the 256 channels.
_MAP = (128, 128, 128)
_POOLS = 2 * ("top_left", "bottom_right")


class CummaxPool2d(nn.Module):
    """A pair of corner pools, computed by flips and ``torch.cummax``."""

    def __init__(self, directions: tuple[str, str]) -> None:
        super().__init__()
        self.directions = directions

    def forward(self, vertical: Tensor, horizontal: Tensor) -> Tensor:
        """Return the sum of both running maxima."""
        first, second = self.directions
        return cummax_pool(vertical, first) + cummax_pool(horizontal, second)


_LAYERS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    NATIVE: {"top_left": TopLeftPool2d, "bottom_right": BottomRightPool2d},
    CUMMAX: {
        "top_left": partial(CummaxPool2d, ("top", "left")),
        "bottom_right": partial(CummaxPool2d, ("bottom", "right")),
    },
}


def cases(setting: Setting) -> Iterator[Case]:
    """Yield cases of forward and backward of the four pairs of pools and, in full runs, of the whole model."""
    targets = (at_least(15, CUMMAX),) if setting.device.type == "cpu" else ()
    for images in (1, 4):
        yield Case(f"hourglass-104, its 4 pools, {images}×511×511", partial(_pools, setting, images), targets)
    if setting.full:
        yield Case("hourglass-104, 1×511×511", partial(_model, setting))


def _pools(setting: Setting, images: int) -> dict[str, Candidate | None]:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(images, *_MAP, generator=generator).to(setting.device) for _ in range(2)]

    def all_of(layers: dict[str, Callable[[], nn.Module]]) -> Candidate:
        runs = [forward_and_backward(layers[name](), *maps) for name in _POOLS]
        return lambda: [run() for run in runs]

    return {name: all_of(layers) for name, layers in _LAYERS.items()}


def _model(setting: Setting) -> dict[str, Candidate | None]:
    torch.manual_seed(0)
    model: Any = create_model("cornernet_hourglass104").to(setting.device)
    image = torch.randn(1, 3, 511, 511).to(setting.device)
    modules = [module for module in model.modules() if isinstance(module, CornerModule)]

    def step(layers: dict[str, Callable[[], nn.Module]]) -> None:
        for name, module in zip(_POOLS, modules, strict=True):
            module.pool = layers[name]()
        model.zero_grad()
        sum(y.sum() for stack in model(image) for y in stack).backward()

    return {name: partial(step, layers) for name, layers in _LAYERS.items()}
