"""Cuts small crops that show mostly one class out of CamVid's images, as labelled training data for LAPGAN.

    python examples/lapgan_crops.py camvid crops --classes sky building road tree car

Moves a square window over CamVid's training and validation images, and writes the crops of which one of the classes
covers more than --share of the pixels to crops/train/CLASS and crops/val/CLASS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pydlx.data import camvid, write_image
from pydlx.data.segmentation import CAMVID_CLASSES


def main() -> None:
    """Writes the crops and prints how many there are of each class."""
    parser = argparse.ArgumentParser(description="Cut labelled crops out of CamVid.")
    parser.add_argument("camvid", type=Path, help="folder of CamVid")
    parser.add_argument("out", type=Path, help="folder for the crops")
    parser.add_argument("--classes", nargs="+", choices=CAMVID_CLASSES, required=True)
    parser.add_argument("--size", type=int, default=32, help="side of a crop (default 32)")
    parser.add_argument("--stride", type=int, default=24, help="pixels from one crop to the next (default 24)")
    parser.add_argument("--share", type=float, default=0.6, help="least share of its class in a crop (default 0.6)")
    args = parser.parse_args()
    for split in ("train", "val"):
        counts = dict.fromkeys(args.classes, 0)
        for item in camvid(args.camvid, split):
            for name, row, column in covered(item.labels, args):
                path = args.out / split / name / f"{Path(item.name).name}_{row}_{column}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, item.image[row : row + args.size, column : column + args.size])
                counts[name] += 1
        print(split, ", ".join(f"{name} {count}" for name, count in counts.items()))


def covered(labels: np.ndarray, args: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Returns class, top row and left column of each crop that is mostly of one of the classes."""
    found = []
    for row in range(0, labels.shape[0] - args.size + 1, args.stride):
        for column in range(0, labels.shape[1] - args.size + 1, args.stride):
            crop = labels[row : row + args.size, column : column + args.size]
            label = int(np.bincount(crop.ravel(), minlength=256).argmax())
            name = CAMVID_CLASSES[label] if label < len(CAMVID_CLASSES) else None
            if name in args.classes and (crop == label).mean() > args.share:
                found.append((name, row, column))
    return found


if __name__ == "__main__":
    main()
