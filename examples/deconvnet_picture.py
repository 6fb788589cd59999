"""Show what the feature maps of a small network respond to, after Zeiler and Fergus (arXiv 1311.2901).

    python examples/deconvnet_picture.py [FOLDER]

Trains a network of three convolutions, for about a minute, to tell from which photograph of the scikit-image package a
patch was cut, then looks for the parts of the photographs that excite its feature maps most. Writes one picture to
FOLDER (demo_output): for each layer a few maps, to the left the projections of the nine strongest activations back to
pixels, to the right the parts of the photographs they come from.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx.data import write_image
from pydlx.nn import layer_geometry
from pydlx.visualize import Deconvnet, grid, top_activations

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
NAMES = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "grass.png"),
    *("gravel.png", "hubble_deep_field.jpg", "ihc.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
PATCH = 48


def photographs() -> list[Tensor]:
    """(3, H, W) from 0 to 1 each, no side longer than 600."""
    pictures = []
    for name in NAMES:
        image = Image.open(PHOTOGRAPHS / name).convert("RGB")
        image.thumbnail((600, 600), Image.Resampling.LANCZOS)
        pictures.append(torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255)
    return pictures


def gabor_filters(size: int = 7) -> Tensor:
    """(24, 3, size, size): eight directions, each as an edge and a line of light, and as an edge between two colours.

    To begin with smooth filters spares the small network the training that large ones need to find such.
    """
    rows, columns = torch.meshgrid(*2 * [torch.linspace(-1, 1, size)], indexing="ij")
    envelope = torch.exp(-2 * (rows**2 + columns**2))
    light, red_green, blue_yellow = torch.tensor([[1.0, 1, 1], [1, -1, 0], [-0.5, -0.5, 1]])
    filters = []
    for n in range(8):
        angle = torch.tensor(n * torch.pi / 8)
        wave = 3 * (columns * angle.cos() + rows * angle.sin())
        colour = red_green if n % 2 else blue_yellow
        for phase, weights in ((wave.sin(), light), (wave.cos() - 0.4, light), (wave.sin(), colour)):
            filters.append(weights[:, None, None] * envelope * phase)
    bank = torch.stack(filters)
    return 0.2 * bank / bank.square().mean((1, 2, 3), keepdim=True).sqrt()


def small_network(classes: int) -> nn.Sequential:
    """Three convolutions with overlapping pooling between them, and a head."""
    first = nn.Conv2d(3, 24, 7, padding=3)
    with torch.no_grad():
        first.weight.copy_(gabor_filters())
    return nn.Sequential(
        *(first, nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(24, 48, 5, padding=2), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)),
    )


def random_patches(pictures: list[Tensor], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Patches with their photograph's number; mirrored and tinted at random, so that colour alone tells little."""
    labels = torch.randint(len(pictures), (count,), generator=generator)
    patches = []
    for label in labels.tolist():
        _, height, width = pictures[label].shape
        top, left = (int(torch.randint(size - PATCH, (), generator=generator)) for size in (height, width))
        patch = pictures[label][:, top : top + PATCH, left : left + PATCH]
        patches.append(patch.flip(2) if torch.rand((), generator=generator) < 0.5 else patch)
    tint = 0.6 + 0.8 * torch.rand(count, 3, 1, 1, generator=generator)
    return torch.stack(patches) * tint - 0.5, labels


def train(network: nn.Module, pictures: list[Tensor], seconds: float) -> float:
    """Trains for so long; returns the share of the last patches that were told right."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    start, right = time.perf_counter(), 0.0
    while (spent := time.perf_counter() - start) < seconds:
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - spent / seconds)
        patches, labels = random_patches(pictures, 48, generator)
        scores = network(patches)
        optimiser.zero_grad()
        F.cross_entropy(scores, labels).backward()
        optimiser.step()
        right = 0.95 * right + 0.05 * float((scores.argmax(1) == labels).float().mean())
    return right


def tiles(pictures: list[Tensor], size: int = 64) -> Tensor:
    """All photographs cut into squares that do not overlap, so that no detail is found twice."""
    squares = []
    for picture in pictures:
        cut = picture.unfold(1, size, size).unfold(2, size, size)
        squares.append(cut.permute(1, 2, 0, 3, 4).flatten(0, 1))
    return torch.cat(squares) - 0.5


def selective_maps(network: nn.Module, images: Tensor, layer: str, count: int) -> list[int]:
    """The maps whose strongest activations stand out most from their usual ones."""
    chain = nn.Sequential(*(module for _, module in Deconvnet(network).chain(images).up_to(layer)))
    with torch.no_grad():
        peaks = torch.cat([chain(batch).flatten(2).amax(2) for batch in images.split(64)])
    contrast = peaks.topk(9, 0).values[-1] / (peaks.mean(0) + 1e-6)
    return sorted(contrast.topk(count).indices.tolist())


def captioned(text: str, picture: np.ndarray) -> np.ndarray:
    """The picture under a line of text."""
    strip = Image.new("RGB", (picture.shape[1], 30), "white")
    ImageDraw.Draw(strip).text((10, 8), text, fill="black", font_size=16)
    return np.concatenate([np.asarray(strip), picture])


def layer_picture(network: nn.Module, images: Tensor, layer: str, maps: int, columns: int, tile: int) -> np.ndarray:
    """What excites a few maps of a layer."""
    found = top_activations(network, images.split(64), layer, selective_maps(network, images, layer, maps))
    field = layer_geometry(network, images.shape[2:])
    pixels = next(row.receptive_field[0] for row in field if row.name == layer)
    text = f"layer {layer}: each activation sees {pixels} by {pixels} pixels"
    return captioned(text, grid(found, columns, tile=tile, mean=0.5))


def main() -> None:
    """Train, look, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo_output"))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to train (60)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    pictures = photographs()
    network = small_network(len(pictures))
    right = train(network, pictures, args.seconds)
    print(f"trained: {right:.0%} of the patches told right, 1 in {len(pictures)} by chance")
    network.eval()
    print(layer_geometry(network, (64, 64)))
    wanted = (("2", 12, 6, 35), ("6", 12, 6, 34), ("10", 8, 4, 58))
    sheets = [layer_picture(network, tiles(pictures), *layer) for layer in wanted]
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    path = args.folder / "deconvnet.png"
    write_image(path, np.concatenate(padded))
    print(path.resolve())


if __name__ == "__main__":
    main()
