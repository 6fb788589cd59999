"""How close an image is to another: MSE, RMSE, MAE, PSNR, SSIM, MS-SSIM; and the standard deviation of one.

All take torch tensors, (H, W), (C, H, W) or (N, C, H, W), and return a tensor with one number; or NumPy arrays, (H, W)
or (H, W, C), and return a float. Integer images are converted before anything is subtracted.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from pydlx import ops
from pydlx._checks import whole
from pydlx.ops.ssim import check_images, range_of, widest_dtype


@overload
def mse(x: Tensor, y: Tensor) -> Tensor: ...
@overload
def mse(x: np.ndarray, y: np.ndarray) -> float: ...
def mse(x: Any, y: Any) -> Tensor | float:
    """Mean squared error, over all values.

    Raises:
        TypeError: If the images are not of real numbers, or of two kinds or dtypes.
        ValueError: If their shapes differ.
    """
    a, b = _values("mse", x, y)
    return _like(x, _mse(a, b).to(a.dtype))


@overload
def rmse(x: Tensor, y: Tensor) -> Tensor: ...
@overload
def rmse(x: np.ndarray, y: np.ndarray) -> float: ...
def rmse(x: Any, y: Any) -> Tensor | float:
    """Square root of the mean squared error."""
    a, b = _values("rmse", x, y)
    return _like(x, _mse(a, b).sqrt().to(a.dtype))


@overload
def mae(x: Tensor, y: Tensor) -> Tensor: ...
@overload
def mae(x: np.ndarray, y: np.ndarray) -> float: ...
def mae(x: Any, y: Any) -> Tensor | float:
    """Mean absolute error."""
    a, b = _values("mae", x, y)
    return _like(x, (a - b).abs().mean(dtype=widest_dtype(a)).to(a.dtype))


@overload
def psnr(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor: ...
@overload
def psnr(x: np.ndarray, y: np.ndarray, data_range: float | None = None) -> float: ...
def psnr(x: Any, y: Any, data_range: float | None = None) -> Tensor | float:
    """Peak signal-to-noise ratio in decibels, ``10 log10(data_range^2 / MSE)``; infinite for equal images.

    Args:
        x: the image, or a batch of them, whose values are all counted together.
        y: the other.
        data_range: largest value minus smallest. Needed for floating-point images; for integers of 8 and 16 bits it is
            what the dtype holds.

    Raises:
        TypeError: As :func:`mse`.
        ValueError: As :func:`mse`; if data_range is missing or not positive.
    """
    a, b = _values("psnr", x, y)
    span = range_of("psnr", _tensor("psnr", "x", x), data_range)
    return _like(x, (10 * torch.log10(span**2 / _mse(a, b))).to(a.dtype))


@overload
def ssim(x: Tensor, y: Tensor, data_range: float | None = None, **options: Any) -> Tensor: ...
@overload
def ssim(x: np.ndarray, y: np.ndarray, data_range: float | None = None, **options: Any) -> float: ...
def ssim(x: Any, y: Any, data_range: float | None = None, **options: Any) -> Tensor | float:
    """Structural similarity, the mean over images, channels and windows.

    Args:
        x: the image, or a batch of them.
        y: the other.
        data_range: as in :func:`psnr`.
        options: those of :func:`pydlx.ops.ssim`, ``convention`` among them, but for ``reduction``.

    Raises:
        TypeError: As :func:`mse`; if reduction is given.
        ValueError: As :func:`pydlx.ops.ssim`.
    """
    _check_mean("ssim", options)
    return _like(x, ops.ssim(*_batches("ssim", x, y), data_range, **options))


@overload
def ms_ssim(x: Tensor, y: Tensor, data_range: float | None = None, **options: Any) -> Tensor: ...
@overload
def ms_ssim(x: np.ndarray, y: np.ndarray, data_range: float | None = None, **options: Any) -> float: ...
def ms_ssim(x: Any, y: Any, data_range: float | None = None, **options: Any) -> Tensor | float:
    """Multi-scale structural similarity; arguments as for :func:`ssim`, options those of :func:`pydlx.ops.ms_ssim`."""
    _check_mean("ms_ssim", options)
    return _like(x, ops.ms_ssim(*_batches("ms_ssim", x, y), data_range, **options))


@overload
def sd(x: Tensor, ddof: int = 0) -> Tensor: ...
@overload
def sd(x: np.ndarray, ddof: int = 0) -> float: ...
def sd(x: Any, ddof: int = 0) -> Tensor | float:
    """Standard deviation of an image's values, a measure of its contrast.

    Args:
        x: the image.
        ddof: taken off the number of values in the divisor: 0 for the population's, as NumPy has it, 1 for the
            sample's, as torch has it.
    """
    image = _tensor("sd", "x", x)
    check_images("sd", image, image)
    ddof = whole("sd", "ddof", ddof, 0)
    wide = _wide(image)
    values = wide.to(widest_dtype(wide))
    # Two passes: torch.std updates a running mean and keeps twelve digits of float64, by the number of threads.
    variance = (values - values.mean()).square().sum() / (values.numel() - ddof)
    return _like(x, variance.sqrt().to(wide.dtype))


def _check_mean(name: str, options: dict[str, Any]) -> None:
    if "reduction" in options:
        raise TypeError(f"{name}: reduction must be left out, this is the mean; pydlx.ops.{name} takes it")


def _mse(a: Tensor, b: Tensor) -> Tensor:
    """In float64, which holds the square of every float32."""
    return (a - b).to(widest_dtype(a)).square().mean()


def _like(given: object, result: Tensor) -> Tensor | float:
    return result if isinstance(given, Tensor) else result.item()


def _tensor(name: str, argument: str, image: object) -> Tensor:
    """As a tensor, channels first."""
    if isinstance(image, Tensor):
        return image
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name}: {argument} must be a torch tensor or a NumPy array, got {type(image).__name__}")
    if image.ndim not in (2, 3):
        raise ValueError(f"{name}: {argument} must have shape (H, W) or (H, W, C), got {image.shape}")
    planes = image if image.ndim == 2 else np.moveaxis(image, -1, 0)
    return torch.from_numpy(np.ascontiguousarray(planes, dtype=planes.dtype.newbyteorder("=")))


def _pair(name: str, x: object, y: object) -> tuple[Tensor, Tensor]:
    if isinstance(x, Tensor) != isinstance(y, Tensor):
        raise TypeError(f"{name}: x and y must be of one kind, got {type(x).__name__} and {type(y).__name__}")
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.shape != y.shape:
        raise ValueError(f"{name}: y must have the shape of x, {x.shape}, got {y.shape}")
    images = _tensor(name, "x", x), _tensor(name, "y", y)
    check_images(name, *images)
    return images


def _wide(image: Tensor) -> Tensor:
    """Integers as float64, half precision as float32."""
    if not image.is_floating_point():
        return image.double()
    return image.float() if image.element_size() < 4 else image


def _values(name: str, x: object, y: object) -> tuple[Tensor, Tensor]:
    a, b = _pair(name, x, y)
    return _wide(a), _wide(b)


def _batches(name: str, x: object, y: object) -> tuple[Tensor, Tensor]:
    """As (N, C, H, W)."""
    a, b = _pair(name, x, y)
    if not 2 <= a.dim() <= 4:
        raise ValueError(f"{name}: x must have shape (H, W), (C, H, W) or (N, C, H, W), got {tuple(a.shape)}")
    missing = (1,) * (4 - a.dim())
    return a.reshape(*missing, *a.shape), b.reshape(*missing, *b.shape)
