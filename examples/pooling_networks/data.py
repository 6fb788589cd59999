"""Real images with a class for every pixel, and crops of them.

The images are CamVid's street scenes (11 classes; CC BY-NC, so not part of this package) if ``camvid/`` exists under
$PYDLX_SHARED_DATA or ../shared/data of the repository. Otherwise they are scikit-image's photographs, where a pixel's
class is the photograph it comes from; the left halves are for training, the right halves for testing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import torch
from PIL import Image
from torch import Tensor

SIZE = (180, 240)
PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
NAMES = (
    *("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png"),
    *("hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "rocket.jpg"),
)
CLASSES = 11


class Scenes(NamedTuple):
    """Images (S, 3, H, W) and the class of each pixel (S, H, W), 11 for none; both uint8."""

    images: Tensor
    labels: Tensor


def camvid_folder() -> Path | None:
    """Returns CamVid's folder, or None if there is none."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("PYDLX_SHARED_DATA") or beside) / "camvid"
    return folder if folder.is_dir() else None


def scenes(split: str) -> Scenes:
    """Returns the scenes of a split, ``train`` or ``test``."""
    folder = camvid_folder()
    return photographs(split) if folder is None else camvid(folder / split)


def camvid(folder: Path) -> Scenes:
    """Reads one split of CamVid."""
    images, labels = (
        [np.array(Image.open(path).convert(mode)) for path in sorted((folder / kind).iterdir())]
        for kind, mode in (("images", "RGB"), ("labels", "L"))
    )
    return Scenes(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.stack(labels))
    )


def photographs(split: str) -> Scenes:
    """Reads one half of each of scikit-image's photographs."""
    height, width = SIZE
    pictures = [Image.open(PHOTOGRAPHS / name).convert("RGB").resize((2 * width, height)) for name in NAMES]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    half = images[..., :width] if split == "train" else images[..., width:]
    return Scenes(half.contiguous(), torch.arange(len(NAMES), dtype=torch.uint8)[:, None, None].expand(-1, *SIZE))


class Crops:
    """Draws square crops of scenes, each labelled with the class of its central pixel; classes are equally frequent.

    Args:
        scenes: What to cut from.
        largest: Side of the largest crop that will be drawn.
        test_batches: Number of batches of 110 crops in a test.
    """

    def __init__(self, scenes: Scenes, largest: int, test_batches: int = 20) -> None:
        self.scenes = scenes
        self.test_batches = test_batches
        margin = largest // 2
        inner = scenes.labels[:, margin : SIZE[0] - margin, margin : SIZE[1] - margin]
        self.centres = [(inner == label).nonzero() + torch.tensor([0, margin, margin]) for label in range(CLASSES)]

    def draw(self, count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns crops (count, 3, size, size) in [-2, 2], mirrored at random, and their classes (count,)."""
        labels = torch.randint(CLASSES, (count,), generator=generator)
        crops = []
        for label in labels.tolist():
            centres = self.centres[label]
            scene, row, column = centres[torch.randint(len(centres), (), generator=generator)].tolist()
            top, left = row - size // 2, column - size // 2
            crop = self.scenes.images[scene, :, top : top + size, left : left + size]
            crops.append(crop.flip(2) if torch.rand((), generator=generator) < 0.5 else crop)
        return torch.stack(crops).float() / 63.75 - 2, labels

    @torch.no_grad()
    def accuracy(self, scores: Callable[[Tensor], Tensor], size: int) -> float:
        """Returns the accuracy in percent on crops that are the same for every call."""
        generator = torch.Generator().manual_seed(size)
        right = 0
        for _ in range(self.test_batches):
            crops, labels = self.draw(110, size, generator)
            right += int((scores(crops).argmax(1) == labels).sum())
        return 100 * right / (110 * self.test_batches)
