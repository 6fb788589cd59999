"""Published pictures, to the last grey level."""

import numpy as np
import pytest

from pydlx.blending import blend, evaluate_blend
from pydlx.data import read_image

OFFSET = (332, 404)


@pytest.fixture(scope="module")
def bear(shared_data):
    folder = shared_data / "blending" / "bear"
    names = ("source.jpg", "target.jpg", "mask.png", "res_naive.png", "res_poisson.png")
    return [read_image(folder / name) for name in names]


def test_bear_copy_paste(bear):
    source, target, mask, naive, _ = bear
    np.testing.assert_array_equal(blend(source, target, mask[..., 0] > 0, OFFSET, "copy-paste"), naive)


def test_bear_poisson_in_eight_bit(bear):
    source, target, mask, _, published = bear
    np.testing.assert_array_equal(blend(source, target, mask[..., 0] > 0, OFFSET), published)
    np.testing.assert_array_equal(blend(source, target, mask[..., 0], OFFSET, threshold=0), published)


@pytest.mark.parametrize("full_scale", [255, 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bear_poisson_in_floats(bear, full_scale, dtype):
    source, target, mask, _, published = bear
    source, target = ((x / 255 * full_scale).astype(dtype) for x in (source, target))
    result, report = blend(source, target, mask[..., 0] > 0, OFFSET, return_report=True)
    np.testing.assert_array_equal(np.rint(result.clip(0, full_scale) * (255 / full_scale)), published)
    assert report.unknowns == 64712
    assert report.relative_residual < (1e-10 if dtype == np.float64 else 2e-5)


def test_bear_truncated_matches_only_partly(bear):
    """The published picture was rounded to nearest: truncation agrees on 95.2 % of its values."""
    source, target, mask, _, published = bear
    result = blend(source, target, mask[..., 0] > 0, OFFSET, rounding="truncate")
    assert (result <= published).all()
    assert (result == published).mean() == pytest.approx(0.952, abs=5e-4)


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("copy-paste", {}, (2.04, 38.5, 0)),
        ("poisson", {}, (0.94, 3.66, 0)),
        ("gaussian-poisson", {"sigma": 0, "levels": 1}, (0.96, 14.6, 0.03)),
        ("gaussian-poisson", {"sigma": 0, "levels": 1, "colour": "target"}, (2.65, 2.08, 0)),
        ("gaussian-poisson", {"sigma": 0, "levels": 1, "beta": 0.01}, (0.34, 2.32, 0.31)),
    ],
)
def test_bear_evaluation(bear, method, options, expected):
    """The calibration measured on unrounded pictures, to its own digits."""
    source, target, mask = (bear[0] / 255, bear[1] / 255, bear[2][..., 0] > 0)
    options = {name: target if value == "target" else value for name, value in options.items()}
    result = blend(source, target, mask, OFFSET, method, clip=True, **options)
    figures = evaluate_blend(result, source, target, mask, OFFSET)
    np.testing.assert_allclose([figures[name] for name in ("gradRMS", "seam", "bg")], expected, rtol=0.02, atol=0.005)


def test_gp_gan_copy_paste(shared_data):
    folder = shared_data / "blending" / "gp_gan_test"
    source, target, mask, published = (
        read_image(folder / name) for name in ("src.jpg", "dst.jpg", "mask.png", "copy-paste.png")
    )
    np.testing.assert_array_equal(blend(source, target, mask, method="copy-paste"), published)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_placement_of_other_sizes(shared_data, number):
    """Source and target differ in size: the object is moved, its surroundings stay."""
    folder = shared_data / "blending" / "dib"
    source, target, mask = (read_image(folder / f"{number}_{name}.png") for name in ("source", "target", "mask"))
    offset = (target.shape[0] - source.shape[0], -30)
    result, report = blend(source, target, mask, offset, return_report=True)
    assert result.shape == target.shape and report.relative_residual < 2e-5
    inside = np.zeros(target.shape[:2], bool)
    inside[offset[0] :, : source.shape[1] - 30] = mask[:, 30:] > 0
    np.testing.assert_array_equal(result[~inside], target[~inside])
    assert report.unknowns == inside.sum()
