"""`blend`: one call for every method."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Literal, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_one_of
from pydlx.blending.frames import batches, frames_of, is_frames
from pydlx.blending.images import ROUNDINGS, Image, as_planes, quantise
from pydlx.blending.methods import check_options, find_method
from pydlx.blending.pillow import as_arrays, from_pillow, is_pillow
from pydlx.blending.scene import Scene, build_scene
from pydlx.blending.solution import BlendReport, Solution

ImageT = TypeVar("ImageT")  # an array, a tensor, a picture of Pillow or a list of these: the result is the same


@overload
def blend(
    source: Image | Any,
    target: ImageT,
    mask: Image | Any,
    offset: tuple[int, int] | None = ...,
    method: str = ...,
    *,
    return_report: Literal[False] = ...,
    **options: Any,
) -> ImageT: ...


@overload
def blend(
    source: Image | Any,
    target: ImageT,
    mask: Image | Any,
    offset: tuple[int, int] | None = ...,
    method: str = ...,
    *,
    return_report: Literal[True],
    **options: Any,
) -> tuple[ImageT, BlendReport]: ...


def blend(
    source: Image | Any,
    target: ImageT,
    mask: Image | Any,
    offset: tuple[int, int] | None = None,
    method: str = "poisson",
    *,
    center: tuple[int, int] | None = None,
    rounding: str = "nearest",
    clip: bool = False,
    threshold: float | None = None,
    feather: int = 0,
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
    `pydlx.blending.poisson`, `pydlx.blending.gaussian_poisson` and `pydlx.blending.gp_gan` for the options.

    Args:
        source: NumPy (h, w), (h, w, C) or batch (N, h, w, C); torch (h, w), (C, h, w) or (N, C, h, w); or a Pillow
            image. uint8, uint16 or floating. One image serves a whole batch of targets. Grey serves colour; colours
            become grey for a grey target, with an `ImageWarning`.
        target: likewise, of any size (H, W). Its kind, dtype and device are those of the result; of Pillow images the
            mode, too, but for palettes, see `pydlx.blending.pillow`. Or a list of images of one size, the frames of a
            video: they are blended some at a time, with the mask prepared once for all of these.
        mask: weights of the source's height and width, or of the target's: bool, 0/1, 0–255, 0–65535 or floats in
            [0, 1], hard or soft, with 1 to 4 channels; one for all images or one for each. See `pydlx.blending.masks`.
            One of the target's size lies on the target and stays where it is whatever the offset; where no source
            lands it has no effect. Where source and target have one size, the mask goes with the source.
        offset: row and column of the target where the source's top-left pixel lands; may be negative. What falls
            outside the target is clipped. (0, 0) by default.
        method: one of the above.
        center: in place of `offset`, column x and row y of the target where the middle of the mask's bounding box
            lands, as in ``cv2.seamlessClone``; see `pydlx.blending.placement.offset_for_centre`.
        rounding: ``"nearest"`` or ``"truncate"``, for integer images. They are clipped to their range.
        clip: clip the blended pixels of floating images to [0, 1]. Without it they keep any range.
        threshold: makes the mask hard: 1 where its weight exceeds this value in [0, 1), 0 elsewhere.
        feather: makes the mask's edge soft over so many pixels, inwards: the weights rise from 1 / (feather + 1) at the
            outermost pixels to 1. Where the target ends there is no edge. copy-paste fades the colours over there, the
            other methods the source's gradients, from the target's own at the rim. After `threshold`.
        alpha: take the last of 2 or 4 channels as alpha: the source's multiplies the mask, the target's is kept. Where
            the source's alpha is 0 its colours are not read, as if the source ended there. False treats all channels
            alike.
        return_report: also return a `BlendReport`.
        **options: the method's own options.

    Returns:
        The picture, of the target's kind, dtype, shape and device; with ``return_report=True`` a pair of it and the
        report. Floating torch images are differentiable with respect to source, target and floating masks. The
        gradient of a mask takes the set of its positive pixels as given; `threshold` leaves it without one.

    Warns:
        ImageWarning: the source's colours were converted (colour profiles of Pillow images, grey targets), or the mask
            looks like a picture.

    Raises:
        ValueError: sizes, channels, modes or batches that do not fit; an empty mask, or one that misses the target; for
            the first five methods but copy-paste a mask that covers the whole target; NaN or infinite pixels that the
            method reads (the first five read none away from the mask and its neighbours); tensors on two devices;
            unknown methods or settings.
        TypeError: dtypes that are not images or do not go together; unknown options.
        OSError: a network's checkpoint is missing, cut short, or no checkpoint.
    """
    started = time.perf_counter()
    given_target: Any = target
    compute = find_method(method)
    check_options(method, options)
    check_one_of("blend", "rounding", rounding, ROUNDINGS)
    check_flag("blend", "clip", clip)
    check_flag("blend", "return_report", return_report)
    placing: dict[str, Any] = {"center": center, "threshold": threshold, "feather": feather, "alpha": alpha}
    if is_pillow(options.get("colour")):
        options["colour"] = from_pillow("colour", options["colour"]).pixels

    def run(source: Any, target: Any, mask: Any) -> tuple[Any, BlendReport]:
        scene = build_scene(source, target, mask, offset, clip=clip, **placing)
        solution = compute(scene, return_report, **options)
        values = quantise(solution.values, scene.target.dtype, rounding, clip)
        return _paint(target, values, solution), _report(method, scene, solution)

    if is_frames(given_target):
        made = [run(*batch) for batch in batches(source, given_target, mask)]
        picture: Any = frames_of([frame for frames, _ in made for frame in frames], given_target)
        report = _joined([report for _, report in made])
    else:
        *images, pillow = as_arrays(source, target, mask)
        picture, report = run(*images)
        if pillow is not None:
            picture = pillow.with_pixels(picture)
    return (picture, replace(report, seconds=time.perf_counter() - started)) if return_report else picture


def _report(method: str, scene: Scene, solution: Solution) -> BlendReport:
    return BlendReport(
        method, scene.canvas.size, solution.unknowns, solution.relative_residual, solution.levels, seconds=0.0
    )


def _joined(reports: list[BlendReport]) -> BlendReport:
    """One report for all batches of frames."""
    residuals = [report.relative_residual for report in reports if report.relative_residual is not None]
    unknowns = sum(report.unknowns for report in reports)
    return replace(reports[0], unknowns=unknowns, relative_residual=max(residuals, default=None))


def _where(inside: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """``torch.where``, which torch 2.10 lacks for uint16."""
    if values.dtype != torch.uint16:
        return torch.where(inside, values, others)
    return torch.where(inside, values.view(torch.int16), others.view(torch.int16)).view(torch.uint16)


def _paint(target: Image, values: Tensor, solution: Solution) -> Image:
    """A copy of `target` with the solved pixels in place; an alpha channel beyond those of `values` stays."""
    picture = target.clone() if isinstance(target, Tensor) else np.array(target, order="C")
    planes = as_planes("target", picture)
    region = solution.box.of(planes[:, : values.shape[1]])
    if solution.inside is not None:
        values = _where(solution.inside, values, region)
    for channel in range(values.shape[1]):  # one by one: torch is slow to interleave planes
        region[:, channel] = values[:, channel]
    return picture
