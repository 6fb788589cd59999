"""Composites with ground truth, for training and evaluating blending networks.

A region of a source photograph is pasted into a target photograph of the same scene. The source is another exposure of
the scene (webcam pictures, as in Transient Attributes), or the target itself with changed colours. In both cases the
target is the result of a perfect blend. All random numbers come from torch's default generator.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import (
    check_floating,
    check_not_negative,
    check_number,
    check_one_of,
    check_path,
    check_type,
    whole,
    whole_pair,
)
from pydlx.data.annotations import warn_of
from pydlx.data.pairs import PICTURES
from pydlx.files import read_image, read_rgb

REGIONS = ("masks", "rectangles", "centre")

# Weights of red, green and blue in luma (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


class Composite(NamedTuple):
    """A composite and its ground truth."""

    pasted: Tensor  # (3, H, W) in [0, 1]: mask * source + (1 - mask) * target
    target: Tensor  # (3, H, W) in [0, 1]: the ground truth
    mask: Tensor  # (1, H, W) in [0, 1]: 1 at pasted pixels


class Light(NamedTuple):
    """A change of light of a photograph: y = gain * x^gamma, followed by a change of saturation."""

    gains: tuple[float, float, float]  # of red, green and blue
    gamma: float
    saturation: float  # 0 for grey, 1 for no change

    def __call__(self, image: Tensor) -> Tensor:
        """Apply the change to a photograph (..., 3, H, W) in [0, 1]; the result is clipped to [0, 1].

        Raises:
            TypeError: If image is no floating-point tensor.
            ValueError: If image has another shape.
        """
        check_floating("Light", "image", image)
        if image.dim() < 3 or image.shape[-3] != 3:
            raise ValueError(f"Light: image must have shape (..., 3, H, W), got {tuple(image.shape)}")
        lit = image.clamp(0, 1) ** self.gamma * image.new_tensor(self.gains)[:, None, None]
        grey = (lit * lit.new_tensor(_LUMA)[:, None, None]).sum(-3, keepdim=True)
        return torch.lerp(grey, lit, self.saturation).clamp(0, 1)


def random_light(strength: float = 1.0) -> Light:
    """Draw a random change of light: exposure, gamma, colour temperature, tint and saturation.

    At strength 1, the exposure changes by up to one stop, gamma is in [1/1.4, 1.4], red and blue change in opposite
    directions by factors up to 1.25, green by a factor up to 1.1, and saturation by a factor up to 1.5. At strength s,
    the largest factors are the s-th powers of these.

    Raises:
        ValueError: If strength is negative.
    """
    check_not_negative("random_light", "strength", strength)
    exposure, gamma, warmth, tint, saturation = (strength * (2 * torch.rand(5) - 1)).tolist()
    brightness = 2.0**exposure
    gains = (brightness * 1.25**warmth, brightness * 1.1**tint, brightness * 1.25**-warmth)
    return Light(gains, 1.4**gamma, 1.5**saturation)


class RandomRegions:
    """Draws the region to paste: an object mask at random size and place, a random rectangle, or the centre.

    Args:
        kind: ``"masks"``; ``"rectangles"``, with sides of 1/5 to 3/4 of the picture's; or ``"centre"``, the central
            rectangle with half of the picture's sides, as in GP-GAN's training.
        masks: Folder of mask pictures, required for ``"masks"``; positive pixels are the object. Its longer side is
            scaled to 1/3 to 9/10 of the picture's shorter side.

    Raises:
        FileNotFoundError: If the folder is missing or holds no mask.
        ValueError: If there is no such kind, or `masks` is missing for ``"masks"`` or given for another kind.
    """

    def __init__(self, kind: str = "masks", masks: str | os.PathLike[str] | None = None) -> None:
        check_one_of("RandomRegions", "kind", kind, REGIONS)
        if (masks is not None) != (kind == "masks"):
            raise ValueError(
                f"RandomRegions: masks must be a folder with kind='masks' alone, got {masks!r} with {kind!r}"
            )
        self.kind = kind
        self.shapes = [] if masks is None else _read_shapes(masks)

    def __call__(self, size: tuple[int, int]) -> Tensor:
        """Draw a region of a picture of size (height, width): a mask (1, H, W) in [0, 1], with soft edges."""
        height, width = whole_pair("RandomRegions", "size", size, "(height, width)", 4)
        if self.kind == "masks":
            shape = self._shape(min(height, width))
        elif self.kind == "rectangles":
            sides = [max(1, round(side * float(torch.empty(()).uniform_(0.2, 0.75)))) for side in (height, width)]
            shape = torch.ones(sides)
        else:
            shape = torch.ones(height // 2, width // 2)
        h, w = shape.shape
        if self.kind == "centre":
            top, left = (height - h) // 2, (width - w) // 2
        else:
            top, left = int(torch.randint(height - h + 1, ())), int(torch.randint(width - w + 1, ()))
        return F.pad(shape, (left, width - w - left, top, height - h - top))[None]

    def _shape(self, side: int) -> Tensor:
        """Draw one of the masks, flipped and scaled at random, for a picture whose shorter side is `side`."""
        shape = self.shapes[int(torch.randint(len(self.shapes), ()))].float()
        if torch.rand(()) < 0.5:
            shape = shape.flip(1)
        longer = side * float(torch.empty(()).uniform_(1 / 3, 0.9))
        # At least two columns: torch 2.13 resamples to one column wrongly (findings/interpolate-to-one-column.sh).
        size = [max(2, round(length * longer / max(shape.shape))) for length in shape.shape]
        return F.interpolate(shape[None, None], size=size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)


class RandomComposites:
    """Makes a `Composite` of a source and a target photograph of one scene.

    The same random square is cropped from both, resized, and flipped with probability 1/2.

    Args:
        regions: Draws the region to paste.
        size: Side of the square result in pixels.
        zoom: Largest zoom: the crop's side is the picture's shorter side divided by a random number from 1 to `zoom`.
        light: Strength of a random change of light of the source, see `random_light`; use 0 if source and target are
            different exposures.
        scene_light: Strength of a random change of light of source and target together, which augments few photographs.

    Raises:
        ValueError: If a number is out of range.
        TypeError: If regions is no RandomRegions.
    """

    def __init__(
        self, regions: RandomRegions, size: int = 64, *, zoom: float = 1.0, light: float = 1.0, scene_light: float = 0.0
    ) -> None:
        check_type("RandomComposites", "regions", regions, RandomRegions, "a RandomRegions")
        self.regions, self.size = regions, whole("RandomComposites", "size", size, 4)
        check_number("RandomComposites", "zoom", zoom)
        if not zoom >= 1:
            raise ValueError(f"RandomComposites: zoom must be at least 1, got {zoom}")
        check_not_negative("RandomComposites", "light", light)
        check_not_negative("RandomComposites", "scene_light", scene_light)
        self.zoom, self.light, self.scene_light = zoom, light, scene_light

    def __call__(self, scene: tuple[np.ndarray, np.ndarray]) -> Composite:
        """Compose a source and a target, both (H, W, 3) uint8.

        Raises:
            ValueError: If their sizes differ.
        """
        source, target = scene
        if source.shape != target.shape:
            raise ValueError(
                f"RandomComposites: source must have the target's size {target.shape[:2]}, got {source.shape[:2]}"
            )
        pictures = self._window([target] if source is target else [target, source])
        if self.scene_light:
            pictures = random_light(self.scene_light)(pictures)
        new, old = pictures[0], pictures[-1]
        if self.light:
            old = random_light(self.light)(old)
        mask = self.regions((self.size, self.size))
        return Composite(torch.lerp(new, old, mask), new, mask)

    def _window(self, pictures: list[np.ndarray]) -> Tensor:
        """Crop the same random square from all pictures; returns (N, 3, size, size) in [0, 1]."""
        height, width = pictures[0].shape[:2]
        side = max(1, round(min(height, width) / float(torch.empty(()).uniform_(1.0, self.zoom))))
        top, left = int(torch.randint(height - side + 1, ())), int(torch.randint(width - side + 1, ()))
        pixels = np.stack([picture[top : top + side, left : left + side] for picture in pictures])
        squares = torch.from_numpy(pixels).movedim(3, 1).float() / 255
        squares = F.interpolate(squares, size=(self.size, self.size), mode="bilinear", antialias=True)
        return squares.flip(3) if torch.rand(()) < 0.5 else squares


class ScenePairs(Sequence[tuple[np.ndarray, np.ndarray]]):
    """Random pairs of photographs of the same scene, with one folder per scene, such as Transient Attributes' webcams.

    Args:
        folder: Holds a folder for every scene, each with at least two pictures of one size. Folders with fewer are
            skipped with a warning.
        pairs: Number of pairs (source, target) to draw once and for all (150,000 in GP-GAN).
        seed: Seed of all pairs. The authors' code seeds only one of its two generators.
        part: ``"train"``, ``"val"`` for the first 5 % of the sorted folders (at least one), or ``"all"``.

    Raises:
        FileNotFoundError: If there is no such folder, or no scene with two pictures in this part.
        ValueError: If an argument is out of range; on access, if two pictures of a scene differ in size.
        OSError: On access, if a file is no picture.
    """

    def __init__(self, folder: str | os.PathLike[str], pairs: int, *, seed: int = 0, part: str = "all") -> None:
        check_path("ScenePairs", "folder", folder)
        pairs, seed = whole("ScenePairs", "pairs", pairs, 1), whole("ScenePairs", "seed", seed)
        check_one_of("ScenePairs", "part", part, ("train", "val", "all"))
        self.scenes = _part_of(_scenes(Path(folder)), part)
        if not self.scenes:
            raise FileNotFoundError(f"ScenePairs: '{folder}' has no folder with two pictures for part={part!r}")
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(self.scenes), (pairs,), generator=generator).tolist()
        self.pairs = [(scene, *_two_of(len(self.scenes[scene]), generator)) for scene in chosen]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        scene, source, target = self.pairs[index]
        paths = self.scenes[scene]
        pictures = read_rgb(paths[source]), read_rgb(paths[target])
        if pictures[0].shape != pictures[1].shape:
            raise ValueError(
                f"ScenePairs: '{paths[source]}' must have the size of '{paths[target]}', {pictures[1].shape[:2]}, "
                f"got {pictures[0].shape[:2]}"
            )
        return pictures


def _two_of(count: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(count, generator=generator)[:2].tolist()


def _scenes(folder: Path) -> list[list[Path]]:
    """Return the pictures of every scene with at least two."""
    if not folder.is_dir():
        raise FileNotFoundError(f"ScenePairs: no such folder: '{folder}'")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    pictures = [
        sorted(p for p in one.iterdir() if p.suffix.lower() in PICTURES and p.name[0] != ".") for one in folders
    ]
    too_few = [one.name for one, found in zip(folders, pictures, strict=True) if len(found) < 2]
    warn_of(len(too_few), "scenes have fewer than two pictures and are left out", too_few, "folders")
    return [found for found in pictures if len(found) >= 2]


def _part_of(scenes: list[list[Path]], part: str) -> list[list[Path]]:
    held_out = max(1, round(0.05 * len(scenes)))
    return {"all": scenes, "val": scenes[:held_out], "train": scenes[held_out:]}[part]


def _object(mask: np.ndarray) -> np.ndarray:
    """Return where a mask (H, W) or (H, W, C) is positive: in alpha if alpha is not constant, else in any colour."""
    if mask.ndim == 2:
        return mask > 0
    if mask.shape[2] in (2, 4):
        alpha = mask[..., -1]
        if alpha.min() != alpha.max():
            return alpha > 0
        mask = mask[..., :-1]
    return np.asarray((mask > 0).any(2))


def _read_shapes(folder: str | os.PathLike[str]) -> list[Tensor]:
    """Read the masks of a folder, each cropped to its object, as bool (h, w)."""
    check_path("RandomRegions", "masks", folder)
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"RandomRegions: no such folder: '{folder}'")
    shapes, empty = [], []
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() not in PICTURES or path.name.startswith("."):
            continue
        inside = _object(read_image(path, to_srgb=False))
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            empty.append(path.name)
            continue
        box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shapes.append(torch.from_numpy(box.copy()))
    warn_of(len(empty), "masks are empty and are left out", empty, "files")
    if not shapes:
        raise FileNotFoundError(f"RandomRegions: '{folder}' holds no masks")
    return shapes
