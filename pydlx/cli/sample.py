"""``pydlx sample``: pictures that a generative model draws."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydlx.cli.inputs import check_checkpoint
from pydlx.cli.options import add_checkpoint, add_device, count, device_of, new_command, whole
from pydlx.cli.outputs import check_folder, say
from pydlx.cli.progress import counting, doing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_EXAMPLE = """\
example:
  pydlx sample --checkpoint runs/lapgan/best.ckpt --count 20 --out samples
  pydlx sample --checkpoint runs/lapgan/best.ckpt --count 20 --out samples --class 2 --seed 7

Writes grid.png, in which every column is a picture from coarse to fine, and the pictures as 000.png, 001.png, ...
"""

_AT_ONCE = 64


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command ``sample`` to the command line."""
    parser = new_command(
        subparsers,
        "sample",
        "draw pictures with a generative model",
        "Draw pictures with a trained LAPGAN, or with a Blending GAN that makes them of noise.",
        _EXAMPLE,
    )
    add_checkpoint(parser)
    parser.add_argument("--count", type=count, default=10, metavar="N", help="how many pictures to draw (default: 10)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where to write the pictures and their grid"
    )
    parser.add_argument(
        "--class", dest="label", type=int, metavar="K", help="number of their class (default: all classes in turn)"
    )
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="the same seed draws the same pictures (default: 0)"
    )
    parser.add_argument(
        "--columns", type=count, default=10, metavar="N", help="how many pictures a row of the grid has (default: 10)"
    )
    add_device(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Draws and writes the pictures."""
    check_checkpoint(args.checkpoint)
    check_folder(args.out, "--out")
    with doing(f"drawing {args.count} pictures"):
        chain = _drawn(args)
    _write(chain, args.out, args.columns)
    say(f"{args.count} pictures of {chain[-1].shape[-2]} x {chain[-1].shape[-1]} pixels, written to {args.out}")
    return 0


def _drawn(args: argparse.Namespace) -> list[Tensor]:
    import torch

    from pydlx.models import load_model

    model: Any = load_model(args.checkpoint)
    labels = _labels(model, args.count, args.label)
    generator = torch.Generator().manual_seed(args.seed)  # the CPU's, so that all devices draw the same
    with torch.no_grad():
        return _chain(model.to(device_of(args.device)), args.count, labels, generator)


def _write(chain: list[Tensor], folder: Path, columns: int) -> None:
    from pydlx.files import write_image
    from pydlx.visualize import chain_grid

    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "grid.png", chain_grid(chain, columns, scale=max(1, 64 // chain[-1].shape[-1])))
    finest = (chain[-1] * 255).round().byte().movedim(1, 3).contiguous().numpy()
    digits = max(3, len(str(len(finest) - 1)))
    for number in counting(range(len(finest)), "writing"):
        write_image(folder / f"{number:0{digits}}.png", finest[number])


def _labels(model: Any, number: int, label: int | None) -> Tensor | None:
    """The pictures' classes, or None of a model without."""
    import torch

    from pydlx.models.gan import LAPGAN, BlendingGAN

    if isinstance(model, BlendingGAN) and model.noise is None:
        raise ValueError("blending_gan makes pictures of noise only if it was built with noise=100 or so")
    if not isinstance(model, (LAPGAN, BlendingGAN)):
        raise ValueError(f"--checkpoint must hold a model that makes pictures, got {model.model_name}")
    classes = model.num_classes if isinstance(model, LAPGAN) else None
    if classes is None:
        if label is not None:
            raise ValueError(f"--class must not be given, as {model.model_name} was built without classes, got {label}")
        return None
    if label is None:
        return torch.arange(number) % classes
    if not 0 <= label < classes:
        raise ValueError(f"--class must be from 0 to {classes - 1}, got {label}")
    return torch.full((number,), label)


def _chain(model: Any, number: int, labels: Tensor | None, generator: torch.Generator) -> list[Tensor]:
    """Pictures from coarse to fine, each (number, C, S, S) in [0, 1]; a Blending GAN makes the finest alone."""
    import torch

    from pydlx.models.gan import LAPGAN

    parts = []
    for start in range(0, number, _AT_ONCE):
        n = min(_AT_ONCE, number - start)
        if isinstance(model, LAPGAN):
            parts.append(model.sample(n, None if labels is None else labels[start : start + n], generator))
        else:
            noise = torch.randn(n, model.noise, generator=generator).to(next(model.parameters()))
            parts.append([(model(noise) + 1) / 2])
    return [torch.cat(level).cpu() for level in zip(*parts, strict=True)]
