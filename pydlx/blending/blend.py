"""`blend`: one call for every method."""

from __future__ import annotations

import time
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_one_of
from pydlx.blending.images import ROUNDINGS, Image, as_planes, quantise
from pydlx.blending.methods import check_options, find_method
from pydlx.blending.scene import build_scene
from pydlx.blending.solution import BlendReport, Solution

ImageT = TypeVar("ImageT", np.ndarray, Tensor)


@overload
def blend(
    source: Image,
    target: ImageT,
    mask: Image,
    offset: tuple[int, int] = ...,
    method: str = ...,
    *,
    return_report: Literal[False] = ...,
    **options: Any,
) -> ImageT: ...


@overload
def blend(
    source: Image,
    target: ImageT,
    mask: Image,
    offset: tuple[int, int] = ...,
    method: str = ...,
    *,
    return_report: Literal[True],
    **options: Any,
) -> tuple[ImageT, BlendReport]: ...


def blend(
    source: Image,
    target: ImageT,
    mask: Image,
    offset: tuple[int, int] = (0, 0),
    method: str = "poisson",
    *,
    rounding: str = "nearest",
    clip: bool = False,
    threshold: float | None = None,
    alpha: bool = True,
    return_report: bool = False,
    **options: Any,
) -> ImageT | tuple[ImageT, BlendReport]:
    """Blends the part of `source` under `mask` into `target`.

    ====================  =============================================================  ==========================
    method                result                                                         its own options
    ====================  =============================================================  ==========================
    ``copy-paste``        the source's pixels                                            none
    ``poisson``           the source's gradients, exactly, meeting the target's colours  ``tolerance``
    ``mixed``             on each edge the stronger gradient of source and target        ``tolerance``
    ``average``           the mean of both gradients                                     ``tolerance``
    ``monochrome``        the gradients of the source as grey                            ``tolerance``
    ``modified-poisson``  Poisson on the whole canvas with a faint pull to a colour      ``beta``, ``colour``
                          image (Tanaka et al. 2012)
    ``gaussian-poisson``  gradients of both, smoothed colours of a colour image, from    ``beta``, ``sigma``,
                          coarse to fine (GP-GAN, arXiv 1703.07195)                      ``formulation``, ``taps``,
                                                                                         ``pyramid``, ``levels``,
                                                                                         ``colour``
    ``gp-gan``            the same with the colours that a network gives the composite   ``beta``, ``sigma``,
                          at 64×64 pixels (the whole of GP-GAN)                          ``formulation``, ``taps``,
                                                                                         ``network``,
                                                                                         ``official_pyramid``,
                                                                                         ``iterations``, ``seed``
    ====================  =============================================================  ==========================

    The first five change only pixels under the mask; the last three solve for the whole picture, see
    `pydlx.blending.dirichlet`, `pydlx.blending.gaussian` and `pydlx.blending.gp_gan` for the options.

    Args:
        source: NumPy (h, w), (h, w, C) or batch (N, h, w, C); or torch (h, w), (C, h, w) or (N, C, h, w). uint8,
            uint16 or floating. One image serves a whole batch of targets; grey serves colour.
        target: likewise, of any size (H, W). Its kind, dtype and device are those of the result.
        mask: weights of the source's height and width: bool, 0/1, 0–255, 0–65535 or floats in [0, 1], hard or soft,
            with 1 to 4 channels; one for all images or one for each. See `pydlx.blending.masks`.
        offset: row and column of the target where the source's top-left pixel lands; may be negative. What falls
            outside the target is clipped.
        method: one of the above.
        rounding: ``"nearest"`` or ``"truncate"``, for integer images. They are clipped to their range.
        clip: clip the blended pixels of floating images to [0, 1]. Without it they keep any range.
        threshold: makes the mask hard: 1 where its weight exceeds this value in [0, 1), 0 elsewhere.
        alpha: take the last of 2 or 4 channels as alpha: the source's multiplies the mask, the target's is kept. Where
            the source's alpha is 0 its colours are not read, as if the source ended there. False treats all channels
            alike.
        return_report: also return a `BlendReport`.
        **options: the method's own options.

    Returns:
        The picture, of the target's kind, dtype, shape and device; with ``return_report=True`` a pair of it and the
        report. Floating torch images are differentiable with respect to source, target and floating masks. The
        gradient of a mask takes the set of its positive pixels as given; `threshold` leaves it without one.

    Raises:
        ValueError: sizes, channels or batches that do not fit; an empty mask, or one that misses the target; for the
            first five methods but copy-paste a mask that covers the whole target; NaN or infinite pixels that the
            method reads (the first five read none away from the mask and its neighbours); tensors on
            two devices; unknown methods or settings.
        TypeError: dtypes that are not images or do not go together; unknown options.
        OSError: a network's checkpoint is missing, cut short, or no checkpoint.
    """
    started = time.perf_counter()
    compute = find_method(method)
    check_options(method, options)
    check_one_of("blend", "rounding", rounding, ROUNDINGS)
    check_flag("blend", "clip", clip)
    check_flag("blend", "return_report", return_report)
    scene = build_scene(source, target, mask, offset, threshold=threshold, alpha=alpha, clip=clip)
    solution = compute(scene, return_report, **options)
    values = quantise(solution.values, scene.target.dtype, rounding, clip)
    picture = _paint(target, values, solution)
    if not return_report:
        return picture
    report = BlendReport(
        method,
        scene.canvas.size,
        solution.unknowns,
        solution.relative_residual,
        solution.levels,
        time.perf_counter() - started,
    )
    return picture, report


def _where(inside: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """``torch.where``, which torch 2.10 lacks for uint16."""
    if values.dtype != torch.uint16:
        return torch.where(inside, values, others)
    return torch.where(inside, values.view(torch.int16), others.view(torch.int16)).view(torch.uint16)


def _paint(target: ImageT, values: Tensor, solution: Solution) -> ImageT:
    """A copy of `target` with the solved pixels in place; an alpha channel beyond those of `values` stays."""
    picture = target.clone() if isinstance(target, Tensor) else np.array(target, order="C")
    planes = as_planes("target", picture)
    region = solution.box.of(planes[:, : values.shape[1]])
    if solution.inside is not None:
        values = _where(solution.inside, values, region)
    for channel in range(values.shape[1]):  # one by one: torch is slow to interleave planes
        region[:, channel] = values[:, channel]
    return picture
