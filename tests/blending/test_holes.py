"""NaN and infinite pixels, as rasters have them for missing data: no matter where a blend does not read them."""

from __future__ import annotations

import numpy as np
import pytest

from pydlx.blending import METHODS, blend

LOCAL = ("copy-paste", "poisson", "mixed", "average", "monochrome")
GLOBAL = tuple(method for method in METHODS if method not in LOCAL)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((20, 24, 3), dtype=np.float32)


SOURCE, TARGET = image(0), image(1)
MASK = np.zeros((20, 24), dtype=bool)
MASK[6:13, 7:12] = MASK[9:11, 10:17] = True


def near(mask: np.ndarray) -> np.ndarray:
    """The mask and all pixels beside it."""
    return mask | np.roll(mask, 1, 0) | np.roll(mask, -1, 0) | np.roll(mask, 1, 1) | np.roll(mask, -1, 1)


READ = near(MASK)


def with_hole(pixels: np.ndarray, where: np.ndarray, value: float = np.nan) -> np.ndarray:
    return np.where(where[..., None], np.float32(value), pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_source_away_from_the_mask_is_not_read(method, soft, value):
    mask = MASK * np.float32(0.75) if soft else MASK
    options = {"levels": 1} if method == "gaussian-poisson" else {}
    expected = blend(SOURCE, TARGET, mask, method=method, **options)
    picture = blend(with_hole(SOURCE, ~READ, value), TARGET, mask, method=method, **options)
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("method", METHODS)
def test_holes_beside_transparent_pixels(method):
    alpha = np.ones((20, 24, 1), dtype=np.float32)
    alpha[8:10, 9:11] = alpha[0, :5] = 0
    options = {"levels": 1} if method == "gaussian-poisson" else {}
    source = np.concatenate([SOURCE, alpha], -1)
    expected = blend(source, TARGET, MASK, method=method, **options)
    source = np.concatenate([with_hole(SOURCE, ~READ), alpha], -1)
    np.testing.assert_array_equal(blend(source, TARGET, MASK, method=method, **options), expected)


def test_holes_take_the_nearest_colours_on_coarse_levels():
    """Coarse levels are averages over pixels beside the mask as well: a flat source stays flat."""
    mask = np.zeros((200, 200), dtype=bool)
    mask[60:121, 70:141] = True
    source, target = (np.full((200, 200, 3), value, dtype=np.float32) for value in (0.4, 0.7))
    expected = blend(source, target, mask, method="gaussian-poisson")
    picture = blend(with_hole(source, ~near(mask)), target, mask, method="gaussian-poisson")
    np.testing.assert_allclose(picture, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", LOCAL)
def test_target_away_from_the_mask_is_copied(method):
    expected = blend(SOURCE, TARGET, MASK, method=method)
    picture = blend(SOURCE, with_hole(TARGET, ~READ), MASK, method=method)
    np.testing.assert_array_equal(picture, with_hole(expected, ~READ))


@pytest.mark.parametrize("method", ["copy-paste", "poisson", "monochrome"])
def test_target_under_a_hard_mask_is_replaced(method):
    expected = blend(SOURCE, TARGET, MASK, method=method)
    np.testing.assert_array_equal(blend(SOURCE, with_hole(TARGET, MASK), MASK, method=method), expected)


@pytest.mark.parametrize("method", METHODS)
def test_holes_that_are_read_are_refused(method):
    with pytest.raises(ValueError, match="source holds NaN or infinite values where the blend reads it"):
        blend(with_hole(SOURCE, MASK), TARGET, MASK, method=method)
    refused = MASK if method in ("mixed", "average") else READ & ~MASK if method in LOCAL else ~READ
    if method != "copy-paste":
        with pytest.raises(ValueError, match="target holds NaN or infinite values where the blend reads it"):
            blend(SOURCE, with_hole(TARGET, refused), MASK, method=method)
