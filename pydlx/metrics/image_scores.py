"""Metric classes of images: MSE, RMSE, MAE, PSNR, SSIM and MS-SSIM over a data set.

``update(preds, target)`` takes tensors (N, C, H, W), or one image (C, H, W) or (H, W); integers, floating-point
numbers, or two floating-point dtypes. All can be differentiated: ``metric(preds, target)`` has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx import ops
from pydlx._checks import check_one_of, check_tensor, numbers
from pydlx.metrics.images import absolute_error, batches, of_batches, squared_error, wide_values
from pydlx.metrics.metric import Metric
from pydlx.ops.ssim import MS_SSIM_WEIGHTS, check_data_range, check_options, range_of, window_of

LEVELS = ("dataset", "image")


class _ImageMetric(Metric):
    """A mean over all values, or over all images, of what `_batch` gives of a batch."""

    is_differentiable = True
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch in.

        Args:
            preds: (N, C, H, W), (C, H, W) or (H, W).
            target: The same, of the same dtype or of another floating-point one.
        """
        name = type(self).__name__
        for argument, image in (("preds", preds), ("target", target)):
            check_tensor(name, argument, image)
        preds, target = batches(name, preds, target)
        if preds.numel():
            self._take(preds, target)

    def compute(self) -> Tensor:
        """The mean over everything taken in; NaN if that is nothing."""
        return self.total / self.count

    def _take(self, preds: Tensor, target: Tensor) -> None:
        raise NotImplementedError

    def _add(self, values: Tensor) -> None:
        self.total = self.total + values.sum(dtype=torch.float64)
        self.count = self.count + values.numel()


class _ErrorMetric(_ImageMetric):
    """An error of every value, over the data set or over images."""

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, level: str = "dataset", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_one_of(type(self).__name__, "level", level, LEVELS)
        self.level = level
        self._tell_apart("level")

    def _take(self, preds: Tensor, target: Tensor) -> None:
        errors = self._error(wide_values(preds), wide_values(target))
        self._add(self._of_image(errors.flatten(1).mean(1)) if self.level == "image" else errors)

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def _of_image(self, mean: Tensor) -> Tensor:
        return mean


class MSE(_ErrorMetric):
    """Mean squared error; a ``torchmetrics.Metric``, with the number of its ``MeanSquaredError`` at the defaults.

    Args:
        level: ``"dataset"``: the mean over all values. ``"image"``: the mean over images of theirs, which differs where
            images differ in size.
        kwargs: Those of ``torchmetrics.Metric``.

    Example:
        >>> metric = MSE()
        >>> metric.update(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5))
        >>> metric.compute().item()
        0.25
    """

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return squared_error(preds, target)


class RMSE(MSE):
    """Root of the mean squared error; options as for `MSE`, with ``level="image"`` the mean over images of their roots.

    Example:
        >>> metric = RMSE()
        >>> metric.update(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5))
        >>> metric.compute().item()
        0.5
    """

    def compute(self) -> Tensor:
        """The value of everything taken in; NaN if that is nothing."""
        mean = super().compute()
        return mean if self.level == "image" else mean.sqrt()

    def _of_image(self, mean: Tensor) -> Tensor:
        return mean.sqrt()


class MAE(_ErrorMetric):
    """Mean absolute error; options as for `MSE`. torchmetrics has the number as ``MeanAbsoluteError``."""

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return absolute_error(preds, target)


class PSNR(_ImageMetric):
    """Peak signal-to-noise ratio in decibels; a ``torchmetrics.Metric``.

    Args:
        data_range: Largest value minus smallest. Needed for floating-point images; for integers of 8 and 16 bits it is
            what the dtype holds.
        level: ``"dataset"``: from the mean squared error of all values, as torchmetrics' ``PeakSignalNoiseRatio`` at
            its defaults; infinite if all are equal. ``"image"``: the mean over images of theirs, as in papers on image
            restoration. Images that equal their target, whose ratio is infinite, are left out of the mean and counted
            in ``equal_images``; the result is infinite if all images are such.
        kwargs: Those of ``torchmetrics.Metric``.

    Example:
        >>> metric = PSNR(data_range=1.0)
        >>> metric.update(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.1))
        >>> round(metric.compute().item(), 3)
        20.0
    """

    higher_is_better = True

    equal_images: Tensor

    def __init__(self, data_range: float | None = None, level: str = "dataset", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if data_range is not None:
            check_data_range("PSNR", data_range)
        check_one_of("PSNR", "level", level, LEVELS)
        self.data_range, self.level = data_range, level
        if level == "image":
            self.add_state("equal_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._tell_apart("data_range", "level")

    def compute(self) -> Tensor:
        """The value of everything taken in; NaN if that is nothing."""
        if self.level == "dataset":
            return _decibels(super().compute())
        only_equal = (self.count == 0) & (self.equal_images > 0)
        return torch.where(only_equal, math.inf, super().compute())

    def _take(self, preds: Tensor, target: Tensor) -> None:
        # Relative to the range, so that batches of several dtypes add up.
        span = range_of("PSNR", preds, self.data_range)
        relative = squared_error(wide_values(preds), wide_values(target)) / span**2
        if self.level == "dataset":
            self._add(relative)
            return
        of_images = relative.flatten(1).mean(1)
        differ = of_images != 0
        self._add(_decibels(of_images[differ]))
        self.equal_images = self.equal_images + (~differ).sum()


class _SimilarityMetric(_ImageMetric):
    """The mean over images of one of the similarities of `pydlx.ops`."""

    higher_is_better = True
    plot_upper_bound = 1.0

    def __init__(
        self,
        data_range: float | None,
        convention: str,
        kernel_size: int | None,
        sigma: float | None,
        k1: float,
        k2: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        if data_range is not None:
            check_data_range(name, data_range)
        check_options(name, convention, "none", k1, k2)
        window_of(name, convention, kernel_size, sigma)
        self.data_range, self.convention = data_range, convention
        self.kernel_size, self.sigma, self.k1, self.k2 = kernel_size, sigma, k1, k2

    def _add_similarity(self, op: Callable[..., Tensor], preds: Tensor, target: Tensor) -> None:
        options = self.options()
        self._add(of_batches(op, preds, target, options.pop("data_range"), reduction="none", **options))


class SSIM(_SimilarityMetric):
    """Structural similarity, the mean over images; a ``torchmetrics.Metric``.

    Args:
        data_range: As for `PSNR`.
        convention: ``"wang2004"``, ``"skimage"`` or ``"torchmetrics"``, which gives the number of torchmetrics'
            ``StructuralSimilarityIndexMeasure``; see :func:`pydlx.ops.ssim`.
        kernel_size: Another window than the convention's.
        sigma: Another Gaussian than the convention's; 0 for a uniform window.
        k1: Stabiliser of the luminance term.
        k2: Stabiliser of the contrast and structure term.
        kwargs: Those of ``torchmetrics.Metric``.

    Example:
        >>> images = torch.rand(2, 3, 16, 16)
        >>> metric = SSIM(data_range=1.0)
        >>> metric.update(images, images)
        >>> round(metric.compute().item(), 6)
        1.0
    """

    def __init__(
        self,
        data_range: float | None = None,
        convention: str = "wang2004",
        *,
        kernel_size: int | None = None,
        sigma: float | None = None,
        k1: float = 0.01,
        k2: float = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_range, convention, kernel_size, sigma, k1, k2, **kwargs)
        self._tell_apart(*self.options())

    def _take(self, preds: Tensor, target: Tensor) -> None:
        self._add_similarity(ops.ssim, preds, target)


class MSSSIM(_SimilarityMetric):
    """Multi-scale structural similarity, the mean over images; a ``torchmetrics.Metric``.

    Args:
        data_range: As for `PSNR`.
        convention: ``"wang2004"``, or ``"torchmetrics"``, which gives the number of torchmetrics'
            ``MultiScaleStructuralSimilarityIndexMeasure``; see :func:`pydlx.ops.ms_ssim`.
        kernel_size: As for `SSIM`.
        sigma: As for `SSIM`.
        k1: As for `SSIM`.
        k2: As for `SSIM`.
        weights: The power of each scale, the finest first.
        kwargs: Those of ``torchmetrics.Metric``.
    """

    def __init__(
        self,
        data_range: float | None = None,
        convention: str = "wang2004",
        *,
        kernel_size: int | None = None,
        sigma: float | None = None,
        k1: float = 0.01,
        k2: float = 0.03,
        weights: Sequence[float] = MS_SSIM_WEIGHTS,
        **kwargs: Any,
    ) -> None:
        check_one_of("MSSSIM", "convention", convention, ("wang2004", "torchmetrics"))
        super().__init__(data_range, convention, kernel_size, sigma, k1, k2, **kwargs)
        self.weights = tuple(numbers("MSSSIM", "weights", weights))
        if not self.weights:
            raise ValueError("MSSSIM: weights must hold one number per scale, got none")
        self._tell_apart(*self.options())

    def _take(self, preds: Tensor, target: Tensor) -> None:
        self._add_similarity(ops.ms_ssim, preds, target)


def _decibels(relative: Tensor) -> Tensor:
    """Of mean squared errors relative to the range's square."""
    return -10 * torch.log10(relative)
