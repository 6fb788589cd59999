"""Parts of blending alone, where a whole blend would not show what they do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pydlx.blending.images import is_finite
from pydlx.blending.placement import Box
from pydlx.blending.poisson import _solve_zero_boundary
from pydlx.blending.pyramid import resample, resize, resize_weights
from pydlx.ops import solve_masked_poisson

ndimage = pytest.importorskip("scipy.ndimage")


@pytest.mark.parametrize("sigma", [0.4, 0.75, 1.0, 2.3])
def test_the_blur_reaches_as_far_as_scipy_s(sigma):
    planes = torch.randn(2, 1, 19, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [ndimage.gaussian_filter(plane[0], sigma, mode="nearest", truncate=4.0) for plane in planes.numpy()]
    np.testing.assert_allclose(resample(planes, (19, 23), sigma)[:, 0], np.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [resize, resize_weights])
@pytest.mark.parametrize(("width", "height"), [(1, 5), (1, 20), (3, 20), (3, 9)])
def test_results_of_one_column(method, width, height):
    """What torch makes of them is wrong; it is right where the result has more columns than one."""
    planes = torch.randn(2, 3, 9, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = method(torch.cat([planes, planes], -1), (height, 2 * width))[..., :width]
    expected = rows if width == 1 else method(rows.mT, (1, height)).mT
    torch.testing.assert_close(method(planes, (height, 1)), expected, rtol=0, atol=1e-12)


def test_a_box_away_from_the_corner_has_its_own_size():
    assert Box(2, 3, 7, 11).size == (5, 8)


def test_nothing_is_finite():
    assert is_finite(torch.zeros(0, 3))
    assert not is_finite(torch.tensor([0.0, torch.nan]))


@pytest.mark.parametrize("rows", [slice(1, -1), slice(2, -1), slice(1, -2)])
@pytest.mark.parametrize("columns", [slice(1, -1), slice(2, -1), slice(1, -2)])
def test_only_a_canvas_that_is_all_unknown_has_the_closed_form(rows, columns):
    """One row or column less is solved by the general method."""
    unknown = torch.zeros(1, 1, 9, 10, dtype=torch.bool)
    unknown[..., rows, columns] = True
    right_side = torch.randn(1, 1, 9, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, residual = _solve_zero_boundary(right_side, unknown, int(unknown.count_nonzero()), 1e-10, True)
    torch.testing.assert_close(found, solve_masked_poisson(right_side, unknown, tolerance=1e-12)[0], rtol=0, atol=1e-8)
    closed = rows == columns == slice(1, -1)
    assert residual < (1e-14 if closed else 1e-10)
    again, _ = _solve_zero_boundary(right_side, unknown, int(unknown.count_nonzero()), 0.5, False)
    assert torch.equal(found, again) == closed, "the closed form has no tolerance"
