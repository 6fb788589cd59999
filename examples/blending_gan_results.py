"""Blends composites whose true picture is known by every method, and writes a table and a grid of pictures.

    python examples/blending_gan_results.py --photographs held_out --masks object_masks --out results

Of each photograph, a part under a random mask is put under another light and pasted back; the photograph is the truth.
scikit-image's own photographs are added. Whatever network is given has to have seen none of them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pydlx.blending import blend, evaluate_blend
from pydlx.data import Photographs, RandomRegions, random_light
from pydlx.figures import new_figure, save_figure
from pydlx.files import replacing
from pydlx.ops import ssim

METHODS = ("copy-paste", "poisson", "modified-poisson", "gaussian-poisson", "gp-gan")
SCIKIT_IMAGE = ("astronaut", "chelsea", "coffee", "rocket")


class Case(NamedTuple):
    """One composite."""

    name: str
    source: np.ndarray  # (H, W, 3) uint8, the truth under another light
    truth: np.ndarray
    mask: np.ndarray  # (H, W) in [0, 1]


def cases(photographs: str | None, masks: str, seed: int) -> Iterator[Case]:
    """The same ones for a seed."""
    from skimage import data

    regions = RandomRegions("masks", masks)
    pictures = []
    if photographs is not None:
        found = Photographs(photographs)
        pictures = [(path.stem, picture) for path, picture in zip(found.paths, found, strict=True)]
    pictures += [(name, getattr(data, name)()) for name in SCIKIT_IMAGE]
    for number, (name, truth) in enumerate(pictures):
        torch.manual_seed(1000 * seed + number)
        mask = regions(truth.shape[:2])[0].numpy().round()
        light = random_light()(torch.from_numpy(truth).movedim(2, 0) / 255)
        yield Case(name, (255 * light.movedim(0, 2)).round().byte().numpy(), truth, mask)


def scores(case: Case, picture: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM of what was pasted, and the figures that need no truth."""
    inside = case.mask > 0
    error = (picture.astype(float) - case.truth.astype(float))[inside]
    planes = (torch.from_numpy(image).movedim(2, 0)[None].float() for image in (picture, case.truth))
    similar = ssim(*planes, 255.0, convention="skimage", reduction="map")[0].movedim(0, 2).numpy()
    return {
        "foreground PSNR": 10 * math.log10(255**2 / max(np.mean(error**2), 1e-3)),
        "foreground SSIM": float(similar[inside[3:-3, 3:-3]].mean()),  # its windows, 7x7, lie within the picture
        **evaluate_blend(picture, case.source, case.truth, case.mask),
    }


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Means over the composites, in Markdown."""
    names = list(next(iter(rows.values()))[0])
    lines = ["| method | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for method, found in rows.items():
        means = [np.mean([one[name] for one in found]) for name in names]
        lines.append(f"| {method} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return "\n".join(lines)


def draw(found: list[tuple[Case, dict[str, np.ndarray]]], path: Path) -> None:
    """A row for each composite: the truth, and what each method makes of it; squares from the middle."""
    names = ["truth", *found[0][1]]
    figure = new_figure(2 * len(names), 2 * len(found) + 0.3)
    rows = figure.subplots(len(found), len(names), squeeze=False)
    for row, (case, pictures) in zip(rows, found, strict=True):
        for axes, picture in zip(row, [case.truth, *pictures.values()], strict=True):
            side = min(picture.shape[:2])
            top, left = ((length - side) // 2 for length in picture.shape[:2])
            axes.imshow(picture[top : top + side, left : left + side])
            axes.set_axis_off()
    for axes, name in zip(rows[0], names, strict=True):
        axes.set_title(name, fontsize=10)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.96, 0.02, 0.02)
    save_figure(figure, path)


def shown(masks: str, methods: list[str], options: dict[str, dict[str, Any]]) -> list[Any]:
    """scikit-image's photographs, each with the largest of ten masks, by every method."""
    found = []
    for number in range(len(SCIKIT_IMAGE)):
        case = max((list(cases(None, masks, seed))[number] for seed in range(10)), key=lambda one: one.mask.sum())
        found.append((case, {m: blend(case.source, case.truth, case.mask, method=m, **options[m]) for m in methods}))
    return found


def main() -> None:
    """Runs all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", required=True)
    parser.add_argument("--masks", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", help="the network of gp-gan; by default the one of the package")
    parser.add_argument("--seeds", type=int, default=1, help="composites of each photograph")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    args = parser.parse_args()
    methods = args.methods.split(",")
    options: dict[str, dict[str, Any]] = {method: {} for method in methods}
    if args.checkpoint is not None:
        options["gp-gan"] = {"network": args.checkpoint}
    found: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for case in cases(args.photographs, args.masks, seed):
            for method in methods:
                picture = blend(case.source, case.truth, case.mask, method=method, **options[method])
                found[method].append(scores(case, picture))
    print(table(found))
    args.out.mkdir(parents=True, exist_ok=True)
    with replacing(args.out / "scores.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    draw(shown(args.masks, methods, options), args.out / "pictures.png")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
