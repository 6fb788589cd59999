"""Corner pooling: where is the top-left corner of the box around an object?

Oval cut-outs of scikit-image's photographs are pasted on real backgrounds. The corner of the box around an oval lies
outside the oval: a network must locate it from the oval's topmost point, to the right of the corner, and its leftmost
point, below the corner. Three networks with the same number of parameters predict a heat map of the corner: one with
3 by 3 convolutions, one with dilated convolutions, whose receptive field is large enough, and one with `TopLeftPool2d`,
which takes the maximum over all pixels to the right and all below.
"""

from __future__ import annotations

import numpy as np
import torch
from data import PHOTOGRAPHS, Crops
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from training import convolution, fit

from pydlx.nn import SoftPool2d, TopLeftPool2d

STEPS = 150
SIZE, BATCH, CHANNELS, CELL = 48, 32, 16, 2
SMALLEST, LARGEST = 16, 40
OBJECTS = {  # photograph: top, left, side
    "astronaut.png": (0, 120, 210),
    "chelsea.png": (10, 60, 270),
    "coffee.png": (50, 150, 300),
    "coins.png": (20, 20, 260),
}
VARIANTS = ("convolutions", "dilated convolutions", "TopLeftPool2d")
REACHES = tuple(range(1, 13))
COLUMNS = ("mean distance", "within 3 px", "ms per step")


class Network(nn.Module):
    """Maps images (N, 3, 48, 48) to heat maps (N, 24 * 24)."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        dilation = 4 if variant == "dilated convolutions" else 1
        self.stem = nn.Sequential(convolution(3, CHANNELS), SoftPool2d(CELL), convolution(CHANNELS, CHANNELS))
        self.top = convolution(CHANNELS, CHANNELS, dilation=dilation)
        self.left = convolution(CHANNELS, CHANNELS, dilation=dilation)
        self.pool = TopLeftPool2d() if variant == "TopLeftPool2d" else torch.add
        self.head = nn.Sequential(convolution(CHANNELS, CHANNELS, dilation=dilation), nn.Conv2d(CHANNELS, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the score of each pixel of the heat map, row by row."""
        features = self.stem(x)
        return self.head(self.pool(self.top(features), self.left(features))).flatten(1)


def cut_outs() -> list[Tensor]:
    """Returns the objects, (3, side, side) each."""
    found = []
    for name, (top, left, side) in OBJECTS.items():
        square = Image.open(PHOTOGRAPHS / name).convert("RGB").crop((left, top, left + side, top + side))
        found.append(torch.from_numpy(np.array(square)).permute(2, 0, 1) / 63.75 - 2)
    return found


def draw(count: int, backgrounds: Crops, objects: list[Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns images (count, 3, 48, 48) with an oval each, and the top-left corners (count, 2) as row and column."""
    pictures, _ = backgrounds.draw(count, SIZE, generator)
    corners = torch.empty(count, 2, dtype=torch.int64)
    for picture, corner in zip(pictures, corners, strict=True):
        sides = torch.randint(SMALLEST, LARGEST + 1, (2,), generator=generator)
        corner[:] = (torch.rand(2, generator=generator) * (SIZE - sides + 1)).long()
        choice = int(torch.randint(len(objects), (), generator=generator))
        (height, width), (top, left) = sides.tolist(), corner.tolist()
        cells = F.interpolate(objects[choice][None], (height, width), mode="bilinear", antialias=True)[0]
        rows = (torch.arange(height)[:, None] + 0.5) / height * 2 - 1
        columns = (torch.arange(width) + 0.5) / width * 2 - 1
        place = picture[:, top : top + height, left : left + width]
        place.copy_(torch.where(rows**2 + columns**2 < 1, cells, place))
    return pictures, corners


def run(variant: str, seed: int, steps: int, train: Crops, test: Crops) -> dict[str, float]:
    """Trains one network and measures the distances of its predictions to the true corners."""
    torch.manual_seed(seed)
    net, objects = Network(variant), cut_outs()

    def loss(generator: torch.Generator) -> Tensor:
        pictures, corners = draw(BATCH, train, objects, generator)
        rows, columns = (corners // CELL).unbind(1)
        return F.cross_entropy(net(pictures), rows * (SIZE // CELL) + columns)

    step = fit(net, loss, seed, steps)
    off = distances(net, test, objects)
    within = {f"within {reach} px": 100 * float((off <= reach).float().mean()) for reach in REACHES}
    return {"mean distance": float(off.mean()), **within, "ms per step": step}


@torch.no_grad()
def distances(net: nn.Module, test: Crops, objects: list[Tensor]) -> Tensor:
    """Returns the pixels between the heat map's maximum and the corner, for images that all networks are tested on."""
    generator = torch.Generator().manual_seed(0)
    off = []
    for _ in range(test.test_batches):
        pictures, corners = draw(110, test, objects, generator)
        best = net(pictures).argmax(1)
        found = torch.stack([best // (SIZE // CELL), best % (SIZE // CELL)], 1) * CELL + (CELL - 1) / 2
        off.append((found - corners).norm(dim=1))
    return torch.cat(off)
