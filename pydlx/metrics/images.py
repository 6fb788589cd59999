"""How close images are to others: MSE, RMSE, MAE, PSNR, SSIM, MS-SSIM; and the standard deviation of one.

All take torch tensors, (H, W), (C, H, W) or (N, C, H, W), and return a tensor with one number; or NumPy arrays, (H, W)
or (H, W, C), and return a float. Integer images are converted before anything is subtracted. Two floating-point dtypes
are promoted to the wider one, so that an output under autocast can be compared with a float32 target.

The metric classes for a whole data set are in `pydlx.metrics.image_scores`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from pydlx import ops
from pydlx._checks import check_device, check_tensor, whole
from pydlx.ops.ssim import range_of, widest_dtype


@overload
def mse(preds: Tensor, target: Tensor) -> Tensor: ...
@overload
def mse(preds: np.ndarray, target: np.ndarray) -> float: ...
def mse(preds: Any, target: Any) -> Tensor | float:
    """Mean squared error, over all values.

    Args:
        preds: the image, or a batch of them.
        target: the other.

    Raises:
        TypeError: If the images are not of real numbers, or of two kinds, or of dtypes that are not both floating.
        ValueError: If their shapes differ.
    """
    a, b = _values("mse", preds, target)
    return _like(preds, squared_error(a, b).mean().to(a.dtype))


@overload
def rmse(preds: Tensor, target: Tensor) -> Tensor: ...
@overload
def rmse(preds: np.ndarray, target: np.ndarray) -> float: ...
def rmse(preds: Any, target: Any) -> Tensor | float:
    """Square root of the mean squared error; arguments as for :func:`mse`."""
    a, b = _values("rmse", preds, target)
    return _like(preds, squared_error(a, b).mean().sqrt().to(a.dtype))


@overload
def mae(preds: Tensor, target: Tensor) -> Tensor: ...
@overload
def mae(preds: np.ndarray, target: np.ndarray) -> float: ...
def mae(preds: Any, target: Any) -> Tensor | float:
    """Mean absolute error; arguments as for :func:`mse`."""
    a, b = _values("mae", preds, target)
    return _like(preds, absolute_error(a, b).mean().to(a.dtype))


@overload
def psnr(preds: Tensor, target: Tensor, data_range: float | None = None) -> Tensor: ...
@overload
def psnr(preds: np.ndarray, target: np.ndarray, data_range: float | None = None) -> float: ...
def psnr(preds: Any, target: Any, data_range: float | None = None) -> Tensor | float:
    """Peak signal-to-noise ratio in decibels, ``10 log10(data_range^2 / MSE)``; infinite for equal images.

    Args:
        preds: the image, or a batch of them, whose values are all counted together.
        target: the other.
        data_range: largest value minus smallest. Needed for floating-point images; for integers of 8 and 16 bits it is
            what the dtype holds.

    Raises:
        TypeError: As :func:`mse`.
        ValueError: As :func:`mse`; if data_range is missing or not positive.
    """
    a, b = _values("psnr", preds, target)
    span = range_of("psnr", _tensor("psnr", "preds", preds), data_range)
    return _like(preds, (10 * torch.log10(span**2 / squared_error(a, b).mean())).to(a.dtype))


@overload
def ssim(preds: Tensor, target: Tensor, data_range: float | None = None, **options: Any) -> Tensor: ...
@overload
def ssim(preds: np.ndarray, target: np.ndarray, data_range: float | None = None, **options: Any) -> float: ...
def ssim(preds: Any, target: Any, data_range: float | None = None, **options: Any) -> Tensor | float:
    """Structural similarity, the mean over images, channels and windows.

    Args:
        preds: the image, or a batch of them.
        target: the other.
        data_range: as in :func:`psnr`.
        options: those of :func:`pydlx.ops.ssim`, ``convention`` among them, but for ``reduction``.

    Raises:
        TypeError: As :func:`mse`; if reduction is given.
        ValueError: As :func:`pydlx.ops.ssim`.
    """
    _check_mean("ssim", options)
    return _like(preds, of_batches(ops.ssim, *batches("ssim", preds, target), data_range, **options))


@overload
def ms_ssim(preds: Tensor, target: Tensor, data_range: float | None = None, **options: Any) -> Tensor: ...
@overload
def ms_ssim(preds: np.ndarray, target: np.ndarray, data_range: float | None = None, **options: Any) -> float: ...
def ms_ssim(preds: Any, target: Any, data_range: float | None = None, **options: Any) -> Tensor | float:
    """Multi-scale structural similarity; arguments as for :func:`ssim`, options those of :func:`pydlx.ops.ms_ssim`."""
    _check_mean("ms_ssim", options)
    return _like(preds, of_batches(ops.ms_ssim, *batches("ms_ssim", preds, target), data_range, **options))


@overload
def std(image: Tensor, ddof: int = 0) -> Tensor: ...
@overload
def std(image: np.ndarray, ddof: int = 0) -> float: ...
def std(image: Any, ddof: int = 0) -> Tensor | float:
    """Standard deviation of an image's values, a measure of its contrast.

    Args:
        image: the image.
        ddof: taken off the number of values in the divisor: 0 for the population's, as NumPy has it, 1 for the
            sample's, as torch has it.
    """
    wide = wide_values(_checked("std", "image", image))
    ddof = whole("std", "ddof", ddof, 0)
    values = wide.to(widest_dtype(wide))
    # In two passes, since torch.std updates a running mean, whose twelfth digit depends on the number of threads.
    variance = (values - values.mean()).square().sum() / (values.numel() - ddof)
    return _like(image, variance.sqrt().to(wide.dtype))


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Of each value, in float64, which holds the square of every float32."""
    return (a - b).to(widest_dtype(a)).square()


def absolute_error(a: Tensor, b: Tensor) -> Tensor:
    """Of each value, in float64."""
    return (a - b).to(widest_dtype(a)).abs()


def batches(name: str, preds: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Two images, or two batches of them, as (N, C, H, W) of one dtype."""
    a, b = _pair(name, preds, target)
    if not 2 <= a.dim() <= 4:
        raise ValueError(f"{name}: preds must have shape (H, W), (C, H, W) or (N, C, H, W), got {tuple(a.shape)}")
    missing = (1,) * (4 - a.dim())
    return a.reshape(*missing, *a.shape), b.reshape(*missing, *b.shape)


def of_batches(
    op: Callable[..., Tensor], preds: Tensor, target: Tensor, data_range: float | None, **options: Any
) -> Tensor:
    """`ops.ssim` or `ops.ms_ssim`, whose errors call the images x and y."""
    try:
        return op(preds, target, data_range, **options)
    except ValueError as error:
        raise ValueError(str(error).replace(": x must", ": preds must")) from None


def wide_values(image: Tensor) -> Tensor:
    """Integers as float64, half precision as float32."""
    if not image.is_floating_point():
        return image.to(widest_dtype(image))
    return image.float() if image.element_size() < 4 else image


def _check_mean(name: str, options: dict[str, Any]) -> None:
    if "reduction" in options:
        raise TypeError(f"{name}: reduction must be left out, this is the mean; pydlx.ops.{name} takes it")


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


def _checked(name: str, argument: str, image: object) -> Tensor:
    """As a tensor of integers or floating-point numbers."""
    tensor = _tensor(name, argument, image)
    check_tensor(name, argument, tensor)
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise TypeError(f"{name}: {argument} must hold integers or floating-point numbers, got {tensor.dtype}")
    return tensor


def _pair(name: str, preds: object, target: object) -> tuple[Tensor, Tensor]:
    """Two images of one shape, one dtype and one device."""
    if isinstance(preds, Tensor) != isinstance(target, Tensor):
        kinds = f"{type(preds).__name__} and {type(target).__name__}"
        raise TypeError(f"{name}: preds and target must be of one kind, got {kinds}")
    if isinstance(preds, np.ndarray) and isinstance(target, np.ndarray) and preds.shape != target.shape:
        raise ValueError(f"{name}: target must have the shape of preds, {preds.shape}, got {target.shape}")
    a, b = _checked(name, "preds", preds), _checked(name, "target", target)
    if a.shape != b.shape:
        raise ValueError(f"{name}: target must have the shape of preds, {tuple(a.shape)}, got {tuple(b.shape)}")
    check_device(name, "target", b, "preds", a)
    if a.dtype == b.dtype:
        return a, b
    if not (a.is_floating_point() and b.is_floating_point()):
        raise TypeError(f"{name}: target must have the dtype of preds, {a.dtype}, got {b.dtype}")
    common = torch.promote_types(a.dtype, b.dtype)
    return a.to(common), b.to(common)


def _values(name: str, preds: object, target: object) -> tuple[Tensor, Tensor]:
    a, b = _pair(name, preds, target)
    return wide_values(a), wide_values(b)
