"""Blend real photographs and show what the compiled kernels buy.

    python examples/blend_photographs.py [FOLDER]

Puts the Hubble deep field into the night sky behind a rocket on its pad, and a cat into a cup of coffee; both pairs of
photographs come with the scikit-image package. Writes the pictures to FOLDER (demo_output), prints where they are, and
a table of native kernels against their PyTorch references.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw

import pydlx
from pydlx.blending import blend
from pydlx.ops import dctn, soft_pool2d, solve_gaussian_poisson, solve_poisson

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"


def photograph(name: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.asarray(Image.open(PHOTOGRAPHS / name).convert("RGB"))


def stars_behind_the_rocket() -> dict[str, np.ndarray]:
    """The sky takes the stars; `mixed` keeps whatever has the stronger gradient, so the towers stay in front.

    The mask has the target's size: it reaches the borders of the sky, fades out above the horizon and leaves out the
    rocket.
    """
    target = photograph("rocket.jpg")
    stars = photograph("hubble_deep_field.jpg")[440:867, 330:970]
    rows, columns = np.mgrid[: target.shape[0], : target.shape[1]]
    sky = np.clip((330 - rows) / 120, 0, 1)
    sky[(rows > 112) & (abs(columns - 321) < 26)] = 0
    pictures = {"source": stars, "target": target}
    for method in ("copy-paste", "poisson", "mixed"):
        pictures[method] = blend(stars, target, sky, method=method, feather=8)
    return pictures


def cat_in_the_coffee() -> dict[str, np.ndarray]:
    """`monochrome` takes the cat's light and shade and leaves the colour of the coffee."""
    cat = np.asarray(Image.fromarray(photograph("chelsea.png")[0:300, 20:400]).resize((150, 118)))
    rows, columns = np.mgrid[: cat.shape[0], : cat.shape[1]]
    oval = ((rows - 60) / 46) ** 2 + ((columns - 82) / 62) ** 2 < 1
    target = photograph("coffee.png")
    pictures = {"source": cat, "target": target}
    for method in ("copy-paste", "poisson", "monochrome"):
        pictures[method] = blend(cat, target, oval, (88, 208), method)
    return pictures


def contact_sheet(pictures: dict[str, np.ndarray], path: Path) -> None:
    """Side by side at one height, each with its name."""
    height, margin, caption = 300, 8, 24
    tiles = []
    for picture in pictures.values():
        image = Image.fromarray(picture)
        tiles.append(image.resize((round(image.width * height / image.height), height), Image.Resampling.LANCZOS))
    width = sum(tile.width + margin for tile in tiles) + margin
    sheet = Image.new("RGB", (width, height + caption + 2 * margin), "white")
    draw, x = ImageDraw.Draw(sheet), margin
    for name, tile in zip(pictures, tiles, strict=True):
        sheet.paste(tile, (x, margin + caption))
        draw.text((x + 2, margin), name, fill="black", font_size=16)
        x += tile.width + margin
    sheet.save(path)


def best_of(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Least time of a call, in milliseconds, over about `seconds` and at least three calls."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def speed_table() -> str:
    """Native kernels against references, float32."""
    x, picture = torch.rand(8, 64, 112, 112), torch.rand(3, 720, 1280)
    calls: dict[str, Callable[[], object]] = {
        "soft_pool2d 2x2, (8, 64, 112, 112)": lambda: soft_pool2d(x, 2),
        "soft_pool2d 3x3/2, (8, 64, 112, 112)": lambda: soft_pool2d(x, 3, 2),
        "dctn, (3, 720, 1280)": lambda: dctn(picture),
        "solve_poisson dirichlet, (3, 720, 1280)": lambda: solve_poisson(picture, "dirichlet"),
        "solve_gaussian_poisson, (3, 720, 1280)": lambda: solve_gaussian_poisson(picture, picture),
    }
    rows = [f"{'operator':42} {'native':>9} {'reference':>10} {'ratio':>6}"]
    for name, call in calls.items():
        native = best_of(call)
        with pydlx.backend("reference"):
            reference = best_of(call)
        rows.append(f"{name:42} {native:6.2f} ms {reference:7.1f} ms {reference / native:5.1f}x")
    return "\n".join(rows)


def main() -> None:
    """Make the pictures, then time the operators."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo_output"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in {"rocket": stars_behind_the_rocket, "coffee": cat_in_the_coffee}.items():
        start = time.perf_counter()
        pictures = make()
        sheet, result = folder / f"{name}_sheet.png", folder / f"{name}.png"
        contact_sheet(pictures, sheet)
        Image.fromarray(list(pictures.values())[-1]).save(result)
        print(f"{name}: {result.resolve()}")
        print(f"  steps side by side: {sheet.resolve()} ({time.perf_counter() - start:.1f} s)")
    print(f"\n{speed_table()}")


if __name__ == "__main__":
    main()
