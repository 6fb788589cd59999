"""`blend` on one megapixel of colour: Poisson against OpenCV's seamlessClone, and the Gaussian-Poisson pyramid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Item,
    Quantity,
    Setting,
    Target,
    at_least,
    at_most,
    copying,
    installed,
    on_reference,
)
from pydlx.benchmarks.pictures import irregular_mask, natural_picture
from pydlx.blending import blend

SEAMLESS_CLONE = "cv2.seamlessClone"
SINGLE_SOLVE = "single solve"

_CANVAS = 1024
# OpenCV's time depends on the factors of twice this less two, which are kind to it: 2000 = 2^4 5^3.
_OBJECT = 1001


class Composition(NamedTuple):
    """What to blend: uint8 pictures (1024, 1024, 3) and a mask (1024, 1024) of 0 and 255, half of it set."""

    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray


def composition() -> Composition:
    """Two pictures and a mask whose box is all but the whole canvas."""
    source, target = (
        natural_picture((3, _CANVAS, _CANVAS), seed).permute(1, 2, 0).contiguous().byte().numpy() for seed in (1, 2)
    )
    mask = np.zeros((_CANVAS, _CANVAS), np.uint8)
    margin = (_CANVAS - _OBJECT) // 2
    mask[margin : margin + _OBJECT, margin : margin + _OBJECT] = 255 * irregular_mask(_OBJECT, seed=3).numpy()
    return Composition(source, target, mask)


def cases(setting: Setting) -> Iterator[Item]:
    """Poisson and the pyramid; the residual shows that speed was not bought with an early stop."""
    on_cpu = setting.device.type == "cpu"

    def targets(*wanted: Target) -> tuple[Target, ...]:
        return wanted if on_cpu else ()

    yield Case("poisson 1 Mpixel", lambda: poisson_candidates(setting), targets(at_least(3, SEAMLESS_CLONE)))
    yield Quantity("poisson 1 Mpixel, relative residual", "", 1e-6, lambda: _residual(setting))
    yield Case(
        "gaussian-poisson pyramid 1 Mpixel",
        lambda: pyramid_candidates(setting),
        targets(at_most(8, SINGLE_SOLVE, or_seconds=0.15)),
        floors=(COPY, SINGLE_SOLVE),
    )


def poisson_candidates(setting: Setting) -> dict[str, Candidate | None]:
    """Exact Poisson blending, and OpenCV's. The reference is left out: under such a mask it takes minutes."""
    pictures = composition()
    source, target, mask = pictures
    images = on_device(pictures, setting)
    cv2 = installed("cv2")
    if cv2:
        cv2.setNumThreads(setting.threads)
    rows, columns = np.nonzero(mask)
    centre = (int(columns.min() + columns.max()) // 2, int(rows.min() + rows.max()) // 2)

    def run() -> object:
        return blend(*images)

    def run_seamless_clone():
        # OpenCV inverts the mask it is given inside the object's rectangle, so it gets one of its own.
        return cv2.seamlessClone(source, target, mask.copy(), centre, cv2.NORMAL_CLONE)

    return {
        NATIVE: run,
        SEAMLESS_CLONE: cv2 and run_seamless_clone,
        COPY: copying(torch.from_numpy(target).to(setting.device)),
    }


def pyramid_candidates(setting: Setting) -> dict[str, Candidate | None]:
    """All levels with everything around them, and the one solve of the finest level alone."""
    pictures = composition()
    target = torch.from_numpy(pictures.target).to(setting.device)
    images = on_device(pictures, setting)
    colour = target.permute(2, 0, 1).float().contiguous()
    rhs = torch.zeros_like(colour)

    def run() -> object:
        return blend(*images, method="gaussian-poisson")

    return {
        NATIVE: run,
        REFERENCE: on_reference(run),
        SINGLE_SOLVE: lambda: ops.solve_gaussian_poisson(rhs, colour),
        COPY: copying(target),
    }


def _residual(setting: Setting) -> float:
    residual = blend(*on_device(composition(), setting), return_report=True)[1].relative_residual
    return math.nan if residual is None else residual


def on_device(pictures: Composition, setting: Setting) -> tuple[Any, Any, Any]:
    """Source, target and mask as `blend` takes them: NumPy arrays for the CPU, channels-first tensors for a GPU."""
    if setting.device.type == "cpu":
        return pictures
    source, target = (torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in pictures[:2])
    return source.to(setting.device), target.to(setting.device), torch.from_numpy(pictures.mask).to(setting.device)
