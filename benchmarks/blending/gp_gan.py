"""`blend` by gp-gan on one megapixel, network included, with the paper's network and with a small one.

With ``--full`` against the authors' program in NumPy, written from the definitions with the libraries that it uses, so
that the numbers stand beside each other in one run. It takes seconds for each picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import pydlx
from pydlx.benchmarks.blending.blend import Composition, composition, on_device
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    Candidate,
    Case,
    Item,
    Setting,
    Target,
    at_least,
    at_most,
    copying,
    installed,
)
from pydlx.blending import blend

PROGRAM = "authors' program"
WITHOUT = "gaussian-poisson"

_NETWORKS: dict[str, dict[str, int]] = {"of the paper": {}, "small": {"width": 16, "bottleneck": 256}}


def cases(setting: Setting) -> Iterator[Item]:
    """One case for each network; the pyramid without one is the yardstick."""
    for name, options in _NETWORKS.items():
        beside = setting.full and not options
        targets: tuple[Target, ...] = (at_most(2, WITHOUT, or_seconds=0.25),)
        if beside:
            targets += (at_least(20, PROGRAM),)
        yield Case(
            f"1 Mpixel, network {name}",
            lambda options=options, beside=beside: candidates(setting, options, beside),
            targets if setting.device.type == "cpu" else (),
            floors=(COPY, WITHOUT),
        )


def candidates(setting: Setting, options: dict[str, int], beside: bool) -> dict[str, Candidate | None]:
    """All of it with random weights, and the program where it is asked for."""
    torch.manual_seed(0)
    network: Any = pydlx.create_model("blending_gan", critic=False, **options).to(setting.device).eval()
    pictures = composition()
    source, target, mask = on_device(pictures, setting)

    def run() -> object:
        return blend(source, target, mask, method="gp-gan", network=network)

    def run_without() -> object:
        return blend(source, target, mask, method="gaussian-poisson")

    found: dict[str, Candidate | None] = {
        NATIVE: run,
        WITHOUT: run_without,
        COPY: copying(torch.from_numpy(pictures.target).to(setting.device)),
    }
    if beside:
        there = installed("scipy.fft") and installed("skimage.transform")
        found[PROGRAM] = there and (lambda: program(pictures, network))
    return found


@torch.no_grad()
def program(pictures: Composition, network: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """The authors' program on pictures of more than 64 pixels, uint8 to uint8; float64 but for the network."""
    source, target = pictures.source / 255, pictures.target / 255
    mask = (pictures.mask > 0).astype(np.float64)
    count = int(np.ceil(np.log2(max(mask.shape) / 64)))
    sources, targets = (_program_pyramid(image, count) for image in (source, target))
    pasted = _program_resize(mask, sources[0].shape[:2], order=0)[..., None]
    pasted = sources[0] * pasted + targets[0] * (1 - pasted)
    made = network(torch.from_numpy(pasted.transpose(2, 0, 1) * 2 - 1)[None].float())[0]
    picture = ((made.double().numpy().transpose(1, 2, 0) + 1) / 2).clip(0, 1)
    for s, t in zip(sources, targets, strict=True):
        size = t.shape[:2]
        weight = _program_resize(mask, size, order=0)[..., None]
        picture = _program_solve(s, t, weight, _program_resize(picture, size, order=3))
    return (picture * 255).clip(0, 255).astype(np.uint8)


def _program_pyramid(image: np.ndarray, count: int) -> list[np.ndarray]:
    from skimage.filters import gaussian

    levels = [image]
    for level in range(count - 1, -1, -1):
        blurred = gaussian(levels[0], 1, channel_axis=-1)
        levels.insert(0, _program_resize(blurred, (64 * 2**level, 64 * 2**level), order=3))
    return levels


def _program_resize(image: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    from skimage.transform import resize

    return resize(image, size, order=order, mode="edge", preserve_range=True, anti_aliasing=False)


def _program_solve(source: np.ndarray, target: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """One level. The mixed gradients are those of the program, as edges' weights."""
    from scipy.fft import dctn, idctn

    divergence = np.zeros_like(target)
    for axis in (0, 1):
        edge = [slice(None)] * 3
        edge[axis] = slice(-1)
        rest = [slice(None)] * 3
        rest[axis] = slice(1, None)
        here, there = tuple(edge), tuple(rest)
        weight = (mask[here] + mask[there]) / 2
        guide = weight * np.diff(source, axis=axis) + (1 - weight) * np.diff(target, axis=axis)
        divergence[there] += guide
        divergence[here] -= guide
    cosines = [2 * np.cos(np.pi * np.arange(length) / length) for length in target.shape[:2]]
    laplace = 4 - cosines[0][:, None] - cosines[1]
    gauss = (0.786571 + 0.106451 * cosines[0])[:, None] * (0.786571 + 0.106451 * cosines[1])
    spectrum = dctn(divergence, axes=(0, 1), norm="ortho") + dctn(colour, axes=(0, 1), norm="ortho")
    return idctn(spectrum / (laplace + gauss)[..., None], axes=(0, 1), norm="ortho").clip(0, 1)
