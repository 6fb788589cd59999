"""The methods that solve for the whole canvas, against scipy's cosine transform."""

import numpy as np
import pytest
import torch
from blending.dense import closed_form, upstream_divergence

from pydlx.blending import blend
from pydlx.blending.equation import GaussianPoisson
from pydlx.blending.pyramid import PYRAMIDS
from pydlx.ops import dctn, idctn

FORMULATIONS = ["official", "paper", "screened"]


def as_uint8(image):
    return np.rint(image * 255).astype(np.uint8)


def composite(source, target, mask):
    return np.where(mask[..., None], source, target)


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("beta", [1.0, 0.01])
@pytest.mark.parametrize("normalised", [False, True])
def test_one_level_is_the_published_equation(picture, blob, formulation, beta, normalised):
    source, target, mask = picture(29, 34, 3), picture(29, 34, 3), blob(29, 34)
    divergence = upstream_divergence(source, target, mask)
    expected = closed_form(divergence, composite(source, target, mask), beta, 0.5, formulation, normalised)
    taps = "normalised" if normalised else "upstream"
    options = {"beta": beta, "formulation": formulation, "taps": taps, "levels": 1}
    result, report = blend(source, target, mask, method="gaussian-poisson", return_report=True, **options)
    np.testing.assert_allclose(result, expected, atol=1e-9)
    assert report.relative_residual < 1e-10
    assert report.unknowns == 29 * 34 and report.levels == 1


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_sigma_zero_leaves_the_colours_unsmoothed(picture, blob, formulation):
    source, target, mask = picture(20, 17, 3), picture(20, 17, 3), blob(20, 17)
    divergence = upstream_divergence(source, target, mask)
    expected = closed_form(divergence, composite(source, target, mask), 0.5, 0, formulation)
    result = blend(
        source, target, mask, method="gaussian-poisson", beta=0.5, sigma=0, formulation=formulation, levels=1
    )
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_soft_mask_and_colour_image(picture):
    source, target, colour, mask = picture(20, 17, 3), picture(20, 17, 3), picture(20, 17, 3), picture(20, 17)
    expected = closed_form(upstream_divergence(source, target, mask), colour, 0.3, 0.5, "official")
    result = blend(source, target, mask, method="gaussian-poisson", beta=0.3, colour=colour, levels=1)
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_modified_poisson(picture, blob):
    source, target, mask = picture(29, 34, 3), picture(29, 34, 3), blob(29, 34)
    colour = composite(source, target, mask)
    expected = closed_form(upstream_divergence(source, target, mask), colour, 1e-8, 0, "official")
    expected += colour.mean((0, 1)) - expected.mean((0, 1))  # exact: the oracle's mean loses digits at such a beta
    np.testing.assert_allclose(blend(source, target, mask, method="modified-poisson"), expected, atol=1e-9)
    single = [x.astype(np.float32) for x in (source, target)]
    np.testing.assert_allclose(blend(*single, mask, method="modified-poisson"), expected, atol=2e-5)


def test_modified_poisson_of_an_image_into_itself_returns_it(picture, blob):
    image = (picture(40, 37, 3) * 255).astype(np.uint8)
    result = blend(image[4:15, 5:17], image, np.pad(blob(9, 10), 1), (4, 5), "modified-poisson")
    np.testing.assert_array_equal(result, image)


def test_source_smaller_than_the_target_is_replicated(picture, blob):
    """Beyond the source's window its gradients are zero, also where the mask touches the window's edge."""
    source, target = picture(9, 8, 3), picture(20, 17, 3)
    mask = np.ones((9, 8), bool)
    padded = np.pad(source, ((5, 6), (6, 3), (0, 0)), mode="edge")
    padded_mask = np.pad(mask, ((5, 6), (6, 3)))
    options = {"method": "gaussian-poisson", "beta": 0.1}
    np.testing.assert_allclose(
        blend(source, target, mask, (5, 6), **options), blend(padded, target, padded_mask, **options), atol=1e-12
    )


@pytest.mark.parametrize("pyramid", ["aspect", "square"])
@pytest.mark.parametrize(("size", "levels"), [((20, 64), 1), ((65, 20), 2), ((40, 150), 3)])
def test_levels(picture, pyramid, size, levels):
    source, target, mask = picture(*size, 3), picture(*size, 3), np.pad(np.ones((10, 10), bool), 5)
    _, report = blend(source[:20, :20], target, mask, method="gaussian-poisson", pyramid=pyramid, return_report=True)
    assert report.levels == levels


def test_level_sizes():
    top = (472, 631)
    assert PYRAMIDS["square"].sizes(top) == [(64, 64), (128, 128), (256, 256), (512, 512), top]
    assert PYRAMIDS["aspect"].sizes(top) == [(48, 64), (96, 128), (191, 256), (383, 512), top]
    assert PYRAMIDS["aspect"].sizes((1, 300)) == [(1, 64), (1, 128), (1, 256), (1, 300)]


def test_each_level_is_clipped(picture):
    """Clipping only the final picture would let the coarse levels' overshoot through as colour."""
    source, target = ((picture(20, 100, 3) > 0.5).astype(float) for _ in range(2))
    options = {"mask": np.ones((20, 100)), "method": "gaussian-poisson", "beta": 0.2}
    clipped, free = (blend(source, target, clip=clip, **options) for clip in (True, False))
    assert free.min() < 0 and free.max() > 1
    assert clipped.min() == 0 and clipped.max() == 1
    assert np.abs(clipped - free.clip(0, 1)).max() > 0.01


@pytest.mark.parametrize("pyramid", ["aspect", "square"])
def test_pyramid_keeps_a_constant(pyramid):
    """Resizing, smoothing and solving all have gain 1 with normalised taps."""
    image, mask = np.full((90, 141, 3), 0.7), np.zeros((90, 141))
    mask[20:60, 30:90] = 0.6
    result = blend(image, image, mask, method="gaussian-poisson", taps="normalised", pyramid=pyramid)
    np.testing.assert_allclose(result, image, atol=1e-9)


@pytest.mark.parametrize("pyramid", ["aspect", "square"])
def test_pyramid_approaches_its_limits_in_beta(picture, pyramid):
    """A huge weight returns the colours of the last but one level, a tiny one the gradients of the top level."""
    ramp = np.linspace(0, 1, 100)[:, None, None] * np.ones((100, 80, 3))
    mask = np.zeros((100, 80))
    mask[30:70, 20:60] = 1
    result = blend(ramp + 0.2, ramp, mask, method="gaussian-poisson", beta=1e-6, pyramid=pyramid)
    assert np.abs(np.diff(result, axis=0) - np.diff(ramp, axis=0)).max() < 1e-3
    result = blend(ramp, ramp, mask, method="gaussian-poisson", beta=1e4, pyramid=pyramid, taps="normalised")
    assert np.abs(result - ramp)[5:-5, 5:-5].max() < 0.01


WHOLE_CANVAS = [("modified-poisson", {}), *(("gaussian-poisson", {"formulation": f}) for f in FORMULATIONS)]


@pytest.mark.parametrize(("method", "options"), WHOLE_CANVAS)
@pytest.mark.parametrize("beta", [1e-8, 0.3])
def test_constant_beta_map_equals_the_number(picture, blob, method, options, beta):
    source, target, mask = picture(29, 80, 3), picture(29, 80, 3), blob(29, 80)
    for images in ((source, target), (as_uint8(source), as_uint8(target))):
        expected = blend(*images, mask, (0, 0), method, beta=beta, **options)
        np.testing.assert_array_equal(
            blend(*images, mask, (0, 0), method, beta=np.full((29, 80), beta), **options), expected
        )


@pytest.mark.parametrize(("method", "options"), WHOLE_CANVAS)
@pytest.mark.parametrize("beta", [1e-8, 0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_but_constant_beta_map_comes_close_to_the_number(picture, blob, method, options, beta, dtype):
    """Through all levels. At a small beta the mean of the solution hangs on rounding errors divided by beta."""
    source, target = (picture(90, 141, 3).astype(dtype) for _ in range(2))
    arguments = source, target, blob(90, 141), (0, 0), method
    almost = np.full((90, 141), beta)
    almost[4, 5] *= 1 + 1e-6
    expected = blend(*arguments, beta=beta, **options)
    np.testing.assert_allclose(
        blend(*arguments, beta=almost, **options), expected, atol=1e-4 if dtype == np.float32 else 1e-6
    )


def dense_operators(height, width, taps):
    """The Laplacian as (pixels, pixels) and the 3x3 Gaussian likewise, both with half-sample symmetric border."""
    pixels = height * width
    index = np.arange(pixels).reshape(height, width)
    padded = np.pad(index, 1, mode="edge")
    laplace, gauss = np.zeros((pixels, pixels)), np.zeros((pixels, pixels))
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            neighbour = padded[1 + di : 1 + di + height, 1 + dj : 1 + dj + width].ravel()
            np.add.at(gauss, (index.ravel(), neighbour), taps[abs(di)] * taps[abs(dj)])
            if abs(di) + abs(dj) == 1:
                np.add.at(laplace, (index.ravel(), index.ravel()), 1)
                np.add.at(laplace, (index.ravel(), neighbour), -1)
    return laplace, gauss


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_beta_map_solves_its_equation(picture, blob, formulation):
    source, target, mask = picture(11, 13, 3), picture(11, 13, 3), blob(11, 13)
    beta = np.where(picture(11, 13) > 0.3, 10 ** (picture(11, 13) * 3 - 2), 0)
    laplace, gauss = dense_operators(11, 13, (0.786571, 0.106451))
    b, c = (x.reshape(-1, 3) for x in (upstream_divergence(source, target, mask), composite(source, target, mask)))
    weights = np.diag(beta.ravel())
    matrix, right_side = {
        "official": (laplace + np.sqrt(weights) @ gauss @ np.sqrt(weights), b + weights @ c),
        "paper": (laplace @ laplace + gauss @ weights @ gauss, laplace @ b + gauss @ weights @ c),
        "screened": (laplace + gauss @ weights @ gauss, b + gauss @ weights @ c),
    }[formulation]
    expected = np.linalg.solve(matrix, right_side).reshape(11, 13, 3)
    options = {"beta": beta, "formulation": formulation, "levels": 1}
    result, report = blend(source, target, mask, method="gaussian-poisson", return_report=True, **options)
    np.testing.assert_allclose(result, expected, atol=1e-5)  # the taps above have six digits
    assert report.relative_residual < 1e-11


@pytest.mark.parametrize("formulation", FORMULATIONS)
@pytest.mark.parametrize("taps", ["upstream", "normalised"])
def test_maps_are_preconditioned_by_the_equation_of_a_number(picture, formulation, taps):
    """By its eigenvalues; wrong ones would lead to the same solution, in more iterations."""
    equation = GaussianPoisson(0.3, 0.8, formulation, taps)
    u = torch.from_numpy(picture(7, 9))[None, None]
    by_eigenvalues = idctn(dctn(u) * equation._symbol((7, 9), 0.3, u))
    torch.testing.assert_close(by_eigenvalues, equation.apply(u), rtol=0, atol=1e-12)


def test_integer_images_are_clipped_at_each_level_and_rounded(picture, blob):
    source, target, mask = picture(29, 34, 3), picture(29, 34, 3), blob(29, 34)
    source, target = ((255 * (x > 0.5)).astype(np.uint8) for x in (source, target))
    divergence = upstream_divergence(source.astype(float), target.astype(float), mask)
    expected = closed_form(divergence, composite(source, target, mask).astype(float), 1, 0.5, "official").clip(0, 255)
    for rounding, convert in (("nearest", np.rint), ("truncate", np.trunc)):
        result = blend(source, target, mask, method="gaussian-poisson", rounding=rounding)
        differing = result != convert(expected)
        assert differing.mean() < 1e-3  # float32 against float64 at a rounding edge
        assert np.abs(result.astype(int) - convert(expected)).max() <= 1


@pytest.mark.parametrize(
    ("size", "options"),
    [((8, 9), {}), ((8, 9), {"formulation": "paper", "taps": "normalised"}), ((2, 66), {"pyramid": "square"})],
)
def test_gradients(picture, size, options):
    source, target = (torch.from_numpy(picture(1, *shape)).requires_grad_() for shape in ((4, 6), size))
    mask = picture(4, 6)
    assert torch.autograd.gradcheck(
        lambda s, t: blend(s, t, mask, (-1, 2), "gaussian-poisson", beta=0.3, **options),
        (source, target),
        fast_mode=True,
    )


@pytest.mark.parametrize(
    ("method", "options"),
    [("gaussian-poisson", {"beta": np.linspace(0.1, 2, 72).reshape(8, 9)}), ("modified-poisson", {})],
)
def test_gradients_of_other_solves(picture, method, options):
    source, target = (torch.from_numpy(picture(1, *shape)).requires_grad_() for shape in ((5, 6), (8, 9)))
    mask = picture(5, 6)
    assert torch.autograd.gradcheck(
        lambda s, t: blend(s, t, mask, (2, 1), method, **options), (source, target), fast_mode=True
    )
