"""Measures a trained LAPGAN with classes on held-out images, and draws samples of each class.

    python examples/lapgan_results.py runs/lapgan/best.ckpt crops/val --out lapgan

Prints the sliced Wasserstein distance between samples and real images at each level of the pyramid, for the trained
network, for the same network untrained, and between two halves of the real images; then the share of images whose mean
colour is nearest to that of their own class. Writes OUT_samples.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pydlx.data import PhotographFolders, write_image
from pydlx.metrics import sliced_wasserstein
from pydlx.models import create_model, load_model
from pydlx.training.generation import PreparedCrops
from pydlx.visualize import chain_grid


def main() -> None:
    """Prints the distances and shares, and writes the samples."""
    parser = argparse.ArgumentParser(description="Measure a trained LAPGAN with classes.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, help="folder of held-out pictures with a subfolder for each class")
    parser.add_argument("--count", type=int, default=500, help="pictures to compare (default 500)")
    parser.add_argument("--out", default="lapgan", help="prefix of the image's file name")
    args = parser.parse_args()
    trained: Any = load_model(args.checkpoint)
    torch.manual_seed(0)
    untrained: Any = create_model(trained.model_name, **trained.model_options).eval()
    untrained.mean.copy_(trained.mean)
    untrained.std.copy_(trained.std)
    data = PhotographFolders(args.pictures, check=False)
    real, labels = held_out(trained, data, args.count)
    chains = [model.sample(len(labels), labels, torch.Generator().manual_seed(0)) for model in (untrained, trained)]
    halves = [level[0::2] for level in real], [level[1::2] for level in real]
    print("| pixels | normalised by | untrained | trained | two halves of the real |")
    for normalise in ("each", "real"):
        for level, size in enumerate(trained.sizes):
            row = [distance(real[level], chain[level], normalise) for chain in chains]
            row.append(distance(halves[0][level], halves[1][level], normalise))
            print(f"| {size} | {normalise} | " + " | ".join(f"{value:.3f}" for value in row) + " |")
    means = torch.stack([real[-1][labels == label].mean((0, 2, 3)) for label in range(len(data.class_names))])
    for name, pictures in (("real", real[-1]), ("trained", chains[1][-1]), ("untrained", chains[0][-1])):
        found = torch.cdist(pictures.mean((2, 3)), means).argmin(1) == labels
        each = ", ".join(f"{n} {found[labels == c].float().mean():.2f}" for c, n in enumerate(data.class_names))
        print(f"nearest mean colour, {name}: {found.float().mean():.2f} ({each})")
    classes = torch.arange(len(data.class_names)).repeat_interleave(4)
    made = trained.sample(len(classes), classes, torch.Generator().manual_seed(1))
    write_image(f"{args.out}_samples.png", chain_grid(made, len(classes), scale=2))


def held_out(model: Any, data: PhotographFolders, count: int) -> tuple[list[Tensor], Tensor]:
    """Returns the pyramids of ``count`` evenly spaced images, as a batch for each level, and their labels."""
    change = PreparedCrops(model, augment=False)
    items = [data[number * len(data) // count] for number in range(count)]
    pyramid = model.pyramid(torch.stack([change(item)[0] for item in items]))
    return [model.pictures(level.image) for level in pyramid], torch.tensor([item.label for item in items])


def distance(real: Tensor, made: Tensor, normalise: str) -> float:
    """Returns the sliced Wasserstein distance, averaged over the bands of the Laplacian pyramid."""
    bands = sliced_wasserstein(real, made, smallest=8, patches=64, projections=64, normalise=normalise)
    return sum(bands.values()) / len(bands)


if __name__ == "__main__":
    main()
