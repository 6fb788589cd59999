"""Structural similarity of images, SSIM and MS-SSIM, differentiable in both.

Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
Transactions on Image Processing 13(4), 2004. With local means m, variances v and the covariance of a window around
every pixel:

    S = (2 m1 m2 + C1) / (m1^2 + m2^2 + C1) * (2 v12 + C2) / (v1 + v2 + C2)

``C1 = (k1 data_range)^2``, ``C2 = (k2 data_range)^2``. Libraries differ in the window, its border and the covariance,
so that the same images score 0.30 or 0.29; a named convention says which number is meant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import _autograd, _native
from pydlx._checks import (
    check_device,
    check_not_negative,
    check_number,
    check_one_of,
    check_tensor,
    numbers,
    whole,
)

MAX_KERNEL_SIZE = 33
# Ranges whose fourth power, which the kernels meet, is far from the limits of float32, also for pixels well beyond the
# range. Images of others are brought to a range near 1.
_LEAST_RANGE, _MOST_RANGE = 2.0**-12, 2.0**18
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True)
class Convention:
    """What libraries disagree about.

    Attributes:
        kernel_size: window, along every axis.
        sigma: of the Gaussian window; 0 for a uniform one.
        padded: whether a window stands on every pixel, images being reflected at their borders, or only where it fits.
        sample_covariance: whether variances are divided by the window's pixels less one.
    """

    kernel_size: int
    sigma: float
    padded: bool = False
    sample_covariance: bool = False


CONVENTIONS = {
    "wang2004": Convention(11, 1.5),
    "skimage": Convention(7, 0.0, sample_covariance=True),
    "torchmetrics": Convention(11, 1.5, padded=True),
}


def ssim(
    x: Tensor,
    y: Tensor,
    data_range: float | None = None,
    *,
    convention: str = "wang2004",
    reduction: str = "mean",
    kernel_size: int | None = None,
    sigma: float | None = None,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Tensor:
    """Structural similarity (Wang et al. 2004); 1 for equal images, less for others.

    On CUDA the call does not wait for the device.

    Args:
        x: (N, C, H, W) or (N, C, D, H, W), of float64, float32, float16, bfloat16 or an integer dtype. Integers are
            converted first, but for uint8, which the kernels read as it is.
        y: the other images, of the same shape and dtype.
        data_range: largest value minus smallest. Needed for floating-point images; for integers of 8 and 16 bits it is
            what the dtype holds.
        convention: ``"wang2004"``: Gaussian window of 11 pixels, sigma 1.5, where it fits (the paper, pytorch-msssim,
            scikit-image with ``gaussian_weights`` and the population's covariance). ``"skimage"``: uniform window of
            7 pixels, where it fits, sample covariance (scikit-image's default). ``"torchmetrics"``: the Gaussian window
            on every pixel, images reflected at their borders (torchmetrics' default).
        reduction: ``"mean"``; ``"none"`` for one value per image; ``"map"`` for one per window and channel.
        kernel_size: another window, odd, at most 33. By default the convention's; 3.5 sigma to each side if that is
            given.
        sigma: another Gaussian; 0 for a uniform window.
        k1: Stabiliser of the luminance term.
        k2: Stabiliser of the contrast and structure term.

    Returns:
        A scalar; (N,); or (N, C, H', W') with H' = H for ``"torchmetrics"`` and H - kernel_size + 1 otherwise. float64
        for float64 images and integers of more than 16 bits, float32 for all others, half precision included.

    Raises:
        TypeError: If an image is not of real numbers.
        ValueError: If shapes differ, images are smaller than the window, an option is unknown or data_range is missing.
    """
    settings = _settings("ssim", x, y, data_range, convention, reduction, kernel_size, sigma, k1, k2)
    radius = settings.kernel_size // 2
    _check_size("ssim", x, radius + 1 if settings.padded else settings.kernel_size)
    x, y = settings.scaled(x), settings.scaled(y)
    return _reduced(_similarity(x, y, settings, luminance=True, as_map=reduction == "map"), reduction)


def ms_ssim(
    x: Tensor,
    y: Tensor,
    data_range: float | None = None,
    *,
    convention: str = "wang2004",
    reduction: str = "mean",
    kernel_size: int | None = None,
    sigma: float | None = None,
    k1: float = 0.01,
    k2: float = 0.03,
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
) -> Tensor:
    """Multi-scale structural similarity: the product of what halved images score at every scale, to powers of weights.

    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", Asilomar 2003. The
    coarsest scale counts its whole similarity, the others contrast and structure only; negative means count as 0.
    Images are halved by averages over 2 x 2 (2 x 2 x 2) pixels.

    On CUDA the call does not wait for the device.

    Args:
        x: (N, C, H, W) or (N, C, D, H, W); see :func:`ssim`.
        y: the other images.
        data_range: as in :func:`ssim`.
        convention: ``"wang2004"``: zeros before and behind an odd axis take part in its averages, and every channel has
            a product of its own (pytorch-msssim). ``"torchmetrics"``: the last pixel of an odd axis is dropped, one
            product per image over all channels, and only the coarsest scale sees reflected borders.
        reduction: ``"mean"``, or ``"none"`` for one value per image.
        kernel_size: as in :func:`ssim`.
        sigma: as in :func:`ssim`.
        k1: as in :func:`ssim`.
        k2: as in :func:`ssim`.
        weights: the powers, finest scale first.

    Returns:
        A scalar, or (N,).

    Raises:
        TypeError: If an image is not of real numbers.
        ValueError: As :func:`ssim`; images have to hold a window at every scale.
    """
    name = "ms_ssim"
    check_one_of(name, "convention", convention, ("wang2004", "torchmetrics"))
    check_one_of(name, "reduction", reduction, ("mean", "none"))
    powers = numbers(name, "weights", weights)
    if not powers:
        raise ValueError(f"{name}: weights must hold one number per scale, got none")
    settings = _settings(name, x, y, data_range, convention, reduction, kernel_size, sigma, k1, k2)
    halvings = 2 ** (len(powers) - 1)
    # Odd sizes are rounded up by the one convention, down by the other.
    _check_size(name, x, settings.kernel_size * halvings - (0 if settings.padded else halvings - 1))
    pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool3d
    x, y = settings.scaled(x), settings.scaled(y)
    product: Tensor | None = None
    for scale, weight in enumerate(powers):
        coarsest = scale == len(powers) - 1
        score = _similarity(x, y, settings, luminance=coarsest, as_map=False, padded=settings.padded and coarsest)
        factor = _power(score.mean(1, keepdim=True) if settings.padded else score, weight)
        product = factor if product is None else product * factor
        if not coarsest:
            zeros = [0 if settings.padded else size % 2 for size in x.shape[2:]]
            x, y = (pool(_at_least_float32(image).contiguous(), 2, padding=zeros) for image in (x, y))
    assert product is not None
    return _reduced(product, reduction)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _power(score: Tensor, weight: float) -> Tensor:
    """score^weight, and 0 with no gradient where that is negative or 0. NaN stays."""
    none = score <= 0
    return torch.where(none, 0, torch.where(none, 1, score) ** weight)


class _Settings(NamedTuple):
    """The convention with what the caller chose instead, the constants, and what both images are multiplied by."""

    kernel_size: int
    sigma: float
    padded: bool
    sample_covariance: bool
    c1: float
    c2: float
    factor: float

    def scaled(self, image: Tensor) -> Tensor:
        """The image in the unit of the constants, as floating-point numbers or as bytes, which kernels widen."""
        if self.factor == 1 and image.dtype == torch.uint8:
            return image
        image = _as_floating(image)
        if self.factor == 1:
            return image
        return (image.float() if image.element_size() < 4 else image) * self.factor


def _settings(
    name: str,
    x: Tensor,
    y: Tensor,
    data_range: float | None,
    convention: str,
    reduction: str,
    kernel_size: int | None,
    sigma: float | None,
    k1: float,
    k2: float,
) -> _Settings:
    check_images(name, x, y)
    if x.dim() not in (4, 5):
        raise ValueError(f"{name}: x must have shape (N, C, H, W) or (N, C, D, H, W), got {tuple(x.shape)}")
    check_options(name, convention, reduction, k1, k2)
    kernel_size, sigma = window_of(name, convention, kernel_size, sigma)
    chosen, span = CONVENTIONS[convention], range_of(name, x, data_range)
    factor = 1.0 if _LEAST_RANGE <= span <= _MOST_RANGE else _power_of_two_near(1 / span)
    c1, c2 = (k1 * span * factor) ** 2, (k2 * span * factor) ** 2
    return _Settings(kernel_size, float(sigma), chosen.padded, chosen.sample_covariance, c1, c2, factor)


def _power_of_two_near(value: float) -> float:
    """A power of 2, by which to multiply takes no digits; one that float32 holds."""
    return 2.0 ** min(126, max(-126, round(math.log2(value))))


def check_options(name: str, convention: str, reduction: str, k1: float, k2: float) -> None:
    """Require a known convention and reduction, and stabilisers that are not negative."""
    check_one_of(name, "convention", convention, CONVENTIONS)
    check_one_of(name, "reduction", reduction, ("mean", "none", "map"))
    check_not_negative(name, "k1", k1)
    check_not_negative(name, "k2", k2)


def window_of(name: str, convention: str, kernel_size: int | None, sigma: float | None) -> tuple[int, float]:
    """Size and sigma of the window: the convention's, where the caller chose none."""
    chosen = CONVENTIONS[convention]
    if sigma is not None:
        check_not_negative(name, "sigma", sigma)
    if kernel_size is None:
        kernel_size = chosen.kernel_size if not sigma else 2 * int(3.5 * sigma + 0.5) + 1
    kernel_size = whole(name, "kernel_size", kernel_size)
    if kernel_size % 2 == 0 or not 1 <= kernel_size <= MAX_KERNEL_SIZE:
        raise ValueError(f"{name}: kernel_size must be odd, from 1 to {MAX_KERNEL_SIZE}, got {kernel_size}")
    if chosen.sample_covariance and kernel_size == 1:
        raise ValueError(f"{name}: kernel_size must be at least 3 for the sample covariance, got 1")
    return kernel_size, chosen.sigma if sigma is None else sigma


def check_images(name: str, x: Tensor, y: Tensor) -> None:
    """Require two tensors of real numbers of one shape and dtype."""
    for argument, image in (("x", x), ("y", y)):
        check_tensor(name, argument, image)
        if not image.is_floating_point() and (image.dtype == torch.bool or image.is_complex()):
            raise TypeError(f"{name}: {argument} must hold integers or floating-point numbers, got {image.dtype}")
    if x.shape != y.shape:
        raise ValueError(f"{name}: y must have the shape of x, {tuple(x.shape)}, got {tuple(y.shape)}")
    if x.dtype != y.dtype:
        raise TypeError(f"{name}: y must have the dtype of x, {x.dtype}, got {y.dtype}")
    check_device(name, "y", y, "x", x)


def range_of(name: str, x: Tensor, data_range: float | None) -> float:
    """The given range, or what the dtype of x holds."""
    if data_range is None:
        if x.is_floating_point() or x.element_size() > 2:
            raise ValueError(f"{name}: data_range must be given for images of {x.dtype}, got None")
        limits = torch.iinfo(x.dtype)
        return float(limits.max - limits.min)
    check_data_range(name, data_range)
    return float(data_range)


def check_data_range(name: str, data_range: float) -> None:
    """Require a positive and finite number."""
    if type(data_range) is not float:
        check_number(name, "data_range", data_range)
    if not 0 < data_range < math.inf:
        raise ValueError(f"{name}: data_range must be positive and finite, got {data_range}")


def _check_size(name: str, x: Tensor, smallest: int) -> None:
    if min(x.shape[2:]) < smallest:
        raise ValueError(f"{name}: x must be at least {smallest} along each axis, got size {tuple(x.shape[2:])}")


def widest_dtype(x: Tensor) -> torch.dtype:
    """float64, or float32 where the device has no other."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def _as_floating(x: Tensor) -> Tensor:
    """Integers as floating-point numbers that hold them exactly."""
    if x.is_floating_point():
        return x
    return x.to(torch.float32 if x.element_size() <= 2 else torch.float64)


def _reduced(scores: Tensor, reduction: str) -> Tensor:
    """Of (N, C): the mean of all, or of each image; a map stays."""
    if reduction == "map":
        return scores
    return scores.mean() if reduction == "mean" else scores.mean(1)


def _similarity(
    x: Tensor, y: Tensor, settings: _Settings, *, luminance: bool, as_map: bool, padded: bool | None = None
) -> Tensor:
    """The map, or its mean over every plane (N, C)."""
    size, spatial = settings.kernel_size, x.dim() - 2
    if settings.padded if padded is None else padded:
        margins = [size // 2] * (2 * spatial)
        x, y = (F.pad(_as_floating(image), margins, mode="reflect") for image in (x, y))  # bytes cannot be reflected
    covariance = 1.0
    if settings.sample_covariance:
        elements = size**spatial
        covariance = elements / (elements - 1)
    run = _op if _native.use_native(x, "ssim") else ssim_reference
    return run(x, y, size, settings.sigma, covariance, settings.c1, settings.c2, luminance, as_map)


def window_taps(size: int, sigma: float) -> list[float]:
    """A Gaussian sampled at whole steps from the middle, of sum 1; uniform for sigma 0."""
    taps = [math.exp(-0.5 * ((k - size // 2) / sigma) ** 2) if sigma else 1.0 for k in range(size)]
    return [tap / sum(taps) for tap in taps]


def ssim_reference(
    x: Tensor,
    y: Tensor,
    window: int,
    sigma: float,
    covariance: float,
    c1: float,
    c2: float,
    luminance: bool,
    as_map: bool,
) -> Tensor:
    """The formula at every place where the window fits, or its mean over each plane, (N, C).

    Args:
        x: (N, C, spatial...).
        y: likewise.
        window: pixels along each axis.
        sigma: of the Gaussian; 0 for a uniform window.
        covariance: factor of variances and covariance.
        c1: C1.
        c2: C2.
        luminance: whether the first factor takes part.
        as_map: whether the map is asked for.
    """
    given = torch.float64 if x.dtype == torch.float64 else torch.float32
    wide = widest_dtype(x)  # of pixels far above the others float32 would keep nothing but them
    axes = tuple(range(2, x.dim()))
    taps = window_taps(window, sigma)

    def average(image: Tensor) -> Tensor:
        for axis in axes:
            length = image.shape[axis] - window + 1
            image = sum(image.narrow(axis, k, length) * tap for k, tap in enumerate(taps))  # type: ignore[assignment]
        return image

    def centred(image: Tensor) -> tuple[Tensor, Tensor]:
        """Variances do not change with a constant taken off, and lose fewer digits."""
        centre = image.detach().mean(axes, keepdim=True).nan_to_num(0, 0, 0)
        return image - centre, centre

    (a, centre_a), (b, centre_b) = centred(x.to(wide)), centred(y.to(wide))
    mean_a, mean_b = average(a), average(b)
    var_a = (covariance * (average(a * a) - mean_a * mean_a)).clamp(min=0)
    var_b = (covariance * (average(b * b) - mean_b * mean_b)).clamp(min=0)
    covar = covariance * (average(a * b) - mean_a * mean_b)
    score = (2 * covar + c2) / (var_a + var_b + c2)
    if luminance:
        m1, m2 = mean_a + centre_a, mean_b + centre_b
        score = score * (2 * m1 * m2 + c1) / (m1 * m1 + m2 * m2 + c1)
    return (score if as_map else score.mean(axes)).to(given)


def _backward_reference(grad: Tensor, x: Tensor, y: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """The gradients that are wanted, by differentiating the reference; themselves differentiable in grad, x and y."""
    *formula, wants_x, wants_y = options
    found = _autograd.pull_back(lambda x, y: ssim_reference(x, y, *formula), (x, y), grad)
    none = x.new_empty(0)
    return found[0] if wants_x else none, found[1] if wants_y else none


def _fake(
    x: Tensor,
    y: Tensor,
    window: int,
    sigma: float,
    covariance: float,
    c1: float,
    c2: float,
    luminance: bool,
    as_map: bool,
) -> Tensor:
    sizes = [size - window + 1 for size in x.shape[2:]] if as_map else []
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.new_empty((*x.shape[:2], *sizes), dtype=dtype)


def _fake_backward(grad: Tensor, x: Tensor, y: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    wants_x, wants_y = options[-2:]
    return x.new_empty(x.shape if wants_x else 0), x.new_empty(x.shape if wants_y else 0)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, y, *ctx.options = inputs
    ctx.save_for_backward(x, y)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y = ctx.saved_tensors
    wants = ctx.needs_input_grad[:2]
    dx, dy = _backward_op(grad, x, y, *ctx.options, *wants)
    return (dx if wants[0] else None, dy if wants[1] else None, *(None for _ in ctx.options))


def _setup_double(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    grad, x, y, *ctx.options = inputs
    ctx.save_for_backward(grad, x, y)


def _double_backward(ctx: Any, *v: Tensor) -> tuple[Tensor | None, ...]:
    """Higher derivatives are rare, so they come from the reference: v . d(backward) / d(grad, x, y)."""
    found = _autograd.pull_back(lambda *points: _backward_reference(*points, *ctx.options), ctx.saved_tensors, v)
    return (*found, *(None for _ in ctx.options))


_OPTIONS = "int window, float sigma, float covariance, float c1, float c2, bool luminance, bool map"

_op = _native.register(
    f"ssim(Tensor x, Tensor y, {_OPTIONS}) -> Tensor",
    reference=ssim_reference,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
    batching=_autograd.folded,
    autocast_to=torch.float32,
)
_backward_op = _native.register(
    f"_ssim_backward(Tensor grad, Tensor x, Tensor y, {_OPTIONS}, bool wants_x, bool wants_y) -> (Tensor, Tensor)",
    reference=_backward_reference,
    fake=_fake_backward,
    backward=_double_backward,
    setup_context=_setup_double,
    batching=_autograd.folded,
)
