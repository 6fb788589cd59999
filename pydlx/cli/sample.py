"""``pydlx sample``: pictures that a generative model draws."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pydlx.cli.device import add_device, device_of
from pydlx.cli.progress import counting, doing
from pydlx.files import write_image
from pydlx.models import load_model
from pydlx.models.gan import LAPGAN, BlendingGAN
from pydlx.visualize import chain_grid

_EXAMPLE = """\
example:
  pydlx sample runs/lapgan/best.ckpt --count 20 --out samples
  pydlx sample runs/lapgan/best.ckpt --count 20 --out samples --class 2 --seed 7

Writes grid.png, in which every column is a picture from coarse to fine, and the pictures as 000.png, 001.png, ...
"""

_AT_ONCE = 64


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``sample`` to the command line."""
    parser = subparsers.add_parser(
        "sample",
        help="draw pictures with a generative model",
        description="Draw pictures with a trained LAPGAN, or with a Blending GAN that makes them of noise.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of pydlx train, or of pydlx.models.save_model")
    parser.add_argument("--count", type=int, default=10, help="how many pictures (default 10)")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is written")
    parser.add_argument(
        "--class", dest="label", type=int, metavar="K", help="number of their class; by default all classes in turn"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    parser.add_argument("--columns", type=int, default=10, help="pictures side by side in the grid (default 10)")
    add_device(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Draws and writes the pictures."""
    for name in ("count", "columns"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be positive, got {getattr(args, name)}")
    model: Any = load_model(args.checkpoint)
    labels = _labels(model, args.count, args.label)
    generator = torch.Generator().manual_seed(args.seed)  # the CPU's, so that all devices draw the same
    with doing(f"drawing {args.count} pictures"):
        chain = _chain(model.to(device_of(args)), args.count, labels, generator)
    args.out.mkdir(parents=True, exist_ok=True)
    write_image(args.out / "grid.png", chain_grid(chain, args.columns, scale=max(1, 64 // chain[-1].shape[-1])))
    finest = (chain[-1] * 255).round().byte().movedim(1, 3).numpy()
    digits = max(3, len(str(args.count - 1)))
    for number in counting(range(args.count), "writing"):
        write_image(args.out / f"{number:0{digits}}.png", np.ascontiguousarray(finest[number]))
    print(f"{args.count} pictures of {finest.shape[1]} x {finest.shape[2]} pixels, written to {args.out}")
    return 0


def _labels(model: Any, count: int, label: int | None) -> Tensor | None:
    """The pictures' classes, or None of a model without."""
    if isinstance(model, BlendingGAN) and model.noise is None:
        raise ValueError("blending_gan makes pictures of noise only if it was built with noise=100 or so")
    if not isinstance(model, (LAPGAN, BlendingGAN)):
        raise ValueError(f"{model.model_name} makes no pictures")
    classes = model.num_classes if isinstance(model, LAPGAN) else None
    if classes is None:
        if label is not None:
            raise ValueError(f"--class must not be given, as {model.model_name} was built without classes, got {label}")
        return None
    if label is None:
        return torch.arange(count) % classes
    if not 0 <= label < classes:
        raise ValueError(f"--class must be from 0 to {classes - 1}, got {label}")
    return torch.full((count,), label)


@torch.no_grad()
def _chain(model: Any, count: int, labels: Tensor | None, generator: torch.Generator) -> list[Tensor]:
    """Pictures from coarse to fine, each (count, C, S, S) in [0, 1]; a Blending GAN makes the finest alone."""
    parts = []
    for start in range(0, count, _AT_ONCE):
        n = min(_AT_ONCE, count - start)
        if isinstance(model, LAPGAN):
            parts.append(model.sample(n, None if labels is None else labels[start : start + n], generator))
        else:
            noise = torch.randn(n, model.noise, generator=generator).to(next(model.parameters()))
            parts.append([(model(noise) + 1) / 2])
    return [torch.cat(level).cpu() for level in zip(*parts, strict=True)]
