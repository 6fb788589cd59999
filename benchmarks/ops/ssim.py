"""Structural similarity against pytorch-msssim and scikit-image, all by the convention of the 2004 paper.

On a GPU against fused-ssim and ``torch.compile`` of the reference instead of scikit-image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

import pydlx
from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    Target,
    at_least,
    at_most,
    compiled,
    copying,
    forward,
    forward_and_backward,
    installed,
    on_reference,
    shape_text,
)

MSSSIM = "pytorch-msssim"
SKIMAGE = "scikit-image"
FUSED = "fused-ssim"
FAST = "Fast-SSIM"
FLOATS = "as float32"
COMPILED = "compiled"

_LARGE = (1, 3, 1080, 1920)
_SMALL = (1, 3, 256, 256)
_BATCH = (16, 3, 1080, 1920)
_TARGETS: dict[str, tuple[Target, ...]] = {
    "forward": (at_least(6, SKIMAGE), at_least(15, MSSSIM)),
    "forward+backward": (at_least(15, MSSSIM),),
}


def cases(setting: Setting) -> Iterator[Case]:
    """Mean SSIM of the 2004 paper, forward, and with the gradients of both images; the uniform window on bytes."""
    for shape in (_LARGE, _SMALL, _BATCH) if setting.device.type == "cuda" else (_LARGE, _SMALL):
        for direction in ("forward", "forward+backward"):
            targets = _TARGETS[direction] if shape == _LARGE and setting.device.type == "cpu" else ()
            yield Case(f"{shape_text(shape)} {direction}", partial(_candidates, shape, direction, setting), targets)
    yield Case(
        f"{shape_text(_LARGE)} uint8, uniform window",
        partial(_of_bytes, setting),
        (at_most(1.3, FLOATS), at_most(1.3, FAST)) if setting.device.type == "cpu" else (),
    )


def _candidates(shape: tuple[int, ...], direction: str, setting: Setting) -> dict[str, Candidate | None]:
    images = [image.to(setting.device) for image in pictures(shape)]
    passes = forward if direction == "forward" else forward_and_backward
    found: dict[str, Candidate | None] = {
        name: None if score is None else passes(score, *images) for name, score in scores().items()
    }
    if setting.device.type == "cuda":
        found |= _gpu_peers(passes, images, setting)
    elif direction == "forward":
        found[SKIMAGE] = skimage_score(*images)
    native = found[NATIVE]
    assert native is not None
    return {**found, REFERENCE: on_reference(native), COPY: copying(images[0])}


def _of_bytes(setting: Setting) -> dict[str, Candidate | None]:
    """Images as files hold them: arrays (H, W, 3) of bytes for the peer, contiguous planes for the op."""
    x, y = ((255 * image).to(torch.uint8).to(setting.device) for image in pictures(_LARGE))
    wide_x, wide_y = x.float(), y.float()
    peer = installed("fast_ssim")
    arrays = [image[0].permute(1, 2, 0).cpu().contiguous().numpy() for image in (x, y)]
    return {
        NATIVE: lambda: ops.ssim(x, y, convention="skimage"),
        FLOATS: lambda: ops.ssim(wide_x, wide_y, 255, convention="skimage"),
        FAST: peer and (lambda: peer.ssim(*arrays, data_range=255)),
        COPY: copying(x),
    }


def _gpu_peers(passes: Callable[..., Candidate], images: list[Tensor], setting: Setting) -> dict[str, Candidate | None]:
    """fused-ssim, whose gradient is of the first image only, and the reference's formula compiled."""
    fused = installed("fused_ssim")

    def formula(x: Tensor, y: Tensor) -> Tensor:
        with pydlx.backend("reference"):
            return ops.ssim(x, y, 1.0)

    reference = compiled(formula, setting)
    return {
        FUSED: fused and passes(lambda x: fused.fused_ssim(x, images[1], padding="valid"), images[0]),
        COMPILED: reference and passes(reference, *images),
    }


def pictures(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """An image with values from 0 to 1, and a noisy copy."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator)
    return x, (x + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)


def scores() -> dict[str, Callable[[Tensor, Tensor], Tensor] | None]:
    """The op, and the peer that computes the same in torch."""
    peer = installed("pytorch_msssim")
    return {
        NATIVE: lambda x, y: ops.ssim(x, y, 1.0),
        MSSSIM: None if peer is None else lambda x, y: peer.ssim(x, y, data_range=1.0),
    }


def skimage_score(x: Tensor, y: Tensor) -> Candidate | None:
    """scikit-image's, on one image of a batch of one."""
    peer = installed("skimage.metrics")
    if peer is None:
        return None
    a, b = x[0].cpu().numpy(), y[0].cpu().numpy()
    options = {"gaussian_weights": True, "use_sample_covariance": False, "channel_axis": 0}
    return lambda: peer.structural_similarity(a, b, data_range=1.0, **options)
