"""Homogeneous functions are right in any unit, from 1e-30 to 1e30 in float32, forward and gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pydlx import blending, losses, metrics, ops

# Powers of two near 1e-30 .. 1e30: the scaled inputs have the same digits, and so should the results.
SCALES = tuple(2.0**k for k in (-100, -66, -33, 33, 66, 100))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# Name -> (function of x, y and the scale; degree: multiplied by s, inputs change the result by s^degree).
IMAGES = draw(2, 2, 23, 26), draw(2, 2, 23, 26, seed=1)
LARGE = draw(1, 2, 176, 177), draw(1, 2, 176, 177, seed=1)
VOLUMES = draw(1, 2, 12, 13, 14), draw(1, 2, 12, 13, 14, seed=1)
MASK = draw(2, 1, 23, 26, seed=2) > 0.4
DIFFERENTIABLE: dict[str, tuple[tuple[Tensor, Tensor], Callable[[Tensor, Tensor, float], Tensor], int]] = {
    "ssim": (IMAGES, lambda x, y, s: ops.ssim(x, y, s, reduction="map"), 0),
    "ssim, uniform": (IMAGES, lambda x, y, s: ops.ssim(x, y, s, convention="skimage", reduction="none"), 0),
    "ssim, padded": (IMAGES, lambda x, y, s: ops.ssim(x, y, s, convention="torchmetrics", reduction="none"), 0),
    "ssim, volumes": (VOLUMES, lambda x, y, s: ops.ssim(x, y, s, reduction="none"), 0),
    "ms_ssim": (LARGE, lambda x, y, s: ops.ms_ssim(x, y, s, reduction="none"), 0),
    "ms_ssim, padded": (LARGE, lambda x, y, s: ops.ms_ssim(x, y, s, convention="torchmetrics", reduction="none"), 0),
    "SSIMLoss": (IMAGES, lambda x, y, s: losses.SSIMLoss(s)(x, y), 0),
    "psnr": (IMAGES, lambda x, y, s: metrics.psnr(x, y, s), 0),
    "rmse": (IMAGES, lambda x, y, s: metrics.rmse(x, y), 1),
    "mae": (IMAGES, lambda x, y, s: metrics.mae(x, y), 1),
    "std": (IMAGES, lambda x, y, s: metrics.std(x), 1),
    "corner_pool": (IMAGES, lambda x, y, s: ops.corner_pool(x, "left"), 1),
    "top_left_pool": (IMAGES, lambda x, y, s: ops.top_left_pool(x, y), 1),
    "dctn": (IMAGES, lambda x, y, s: ops.dctn(x), 1),
    "idctn": (IMAGES, lambda x, y, s: ops.idctn(x), 1),
    "dstn": (IMAGES, lambda x, y, s: ops.dstn(x, 1), 1),
    "solve_poisson": (IMAGES, lambda x, y, s: ops.solve_poisson(x), 1),
    "solve_poisson, screened": (IMAGES, lambda x, y, s: ops.solve_poisson(x, screening=0.3), 1),
    "solve_poisson, dirichlet": (IMAGES, lambda x, y, s: ops.solve_poisson(x, "dirichlet"), 1),
    "solve_gaussian_poisson": (IMAGES, lambda x, y, s: ops.solve_gaussian_poisson(x, y), 1),
    "solve_masked_poisson": (IMAGES, lambda x, y, s: ops.solve_masked_poisson(x, MASK)[0], 1),
    **{
        f"blend, {method}": (
            IMAGES,
            lambda x, y, s, method=method: blending.blend(x, y, MASK[:1], method=method, alpha=False),
            1,
        )
        for method in blending.METHODS
        if method != "gp-gan"  # its network sees pictures from 0 to 1
    },
}


def evaluated(name: str, scale: float) -> tuple[Tensor, Tensor]:
    """The result and the gradient of a fixed weighted sum of it, both rescaled to scale 1."""
    (x, y), function, degree = DIFFERENTIABLE[name]
    x, y = (x * scale).requires_grad_(), y * scale
    result = function(x, y, scale)
    weights = draw(*result.shape, seed=3)
    (gradient,) = torch.autograd.grad((result * weights).sum(), x)
    # By way of float64, which holds every intermediate product.
    return result.detach().double() / scale**degree, gradient.double() / scale ** (degree - 1)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_results_and_gradients_do_not_depend_on_the_unit(name, scale):
    result, gradient = evaluated(name, scale)
    expected, slope = evaluated(name, 1.0)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=2e-5 * float(slope.abs().max()))


@pytest.mark.parametrize("scale", [2.0**k for k in (-60, -30, 30, 60)])
def test_mse_has_the_square_of_the_unit(scale):
    x, y = IMAGES
    torch.testing.assert_close(metrics.mse(x * scale, y * scale) / scale**2, metrics.mse(x, y), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [2.0**k for k in (-8, 20, 40, 56)])
def test_oks_is_of_no_unit(scale):
    """As long as float32 holds the area, and the 2^-52 that the definition adds is negligible."""
    pred, truth = draw(2, 3, 5, 2) * 100, draw(2, 4, 5, 2, seed=1) * 100
    visible, area, sigmas = torch.ones(2, 4, 5), draw(2, 4, seed=2) * 900 + 90, [0.1, 0.2, 0.1, 0.3, 0.2]
    expected = ops.oks(pred, truth, visible, area, sigmas)
    scaled = ops.oks(pred * scale, truth * scale, visible, area * scale**2, sigmas)
    torch.testing.assert_close(scaled, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [2.0**-11, 2.0**10])
def test_ssim_of_half_precision(dtype, scale):
    x, y = (image.to(dtype) for image in IMAGES)
    torch.testing.assert_close(ops.ssim(x * scale, y * scale, scale), ops.ssim(x, y, 1.0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1e20, 1e30, 3e38])
def test_soft_pool_of_huge_numbers(size):
    x = torch.tensor([[[1.0, 2.0, -3.0, 4.0]]]) * (size / 4)
    torch.testing.assert_close(ops.soft_pool1d(x, 2), x[..., 1::2], rtol=1e-6, atol=0)


@pytest.mark.parametrize("place", [(0, 0), (6, 8), (6, 4), (11, 13), (3, 20), (22, 25)])
def test_ssim_where_one_pixel_lies_far_above_the_range(place):
    """Compared with float64. Windows without the pixel keep all their digits."""
    x, y = (image.clone() for image in IMAGES)
    x[(..., *place)] = 1e6
    for convention in ("wang2004", "skimage", "torchmetrics"):
        score = ops.ssim(x, y, 1.0, convention=convention, reduction="map")
        expected = ops.ssim(x.double(), y.double(), 1.0, convention=convention, reduction="map")
        np.testing.assert_allclose(score, expected, rtol=0, atol=2e-5)
