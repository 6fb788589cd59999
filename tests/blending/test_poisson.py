"""The methods that solve under the mask only, against dense solves."""

import numpy as np
import pytest
import torch
from blending.dense import dense_poisson

from pydlx.blending import blend

GREY = np.array([0.299, 0.587, 0.114])


def as_grey(source):
    return np.repeat((source @ GREY)[..., None], 3, axis=-1)


@pytest.mark.parametrize(
    "offset", [(2, 3), (0, 0), (-3, -2), (8, 9), (-4, 9)], ids=["inside", "corner", "clipped", "over", "both"]
)
@pytest.mark.parametrize("method", ["poisson", "mixed", "average", "monochrome"])
def test_hard_mask_agrees_with_a_dense_solve(picture, blob, method, offset):
    source, target, mask = picture(9, 8, 3), picture(13, 14, 3), blob(9, 8)
    guidance = {"mixed": "mixed", "average": "average"}.get(method, "source")
    expected = dense_poisson(as_grey(source) if method == "monochrome" else source, target, mask, offset, guidance)
    np.testing.assert_allclose(blend(source, target, mask, offset, method), expected, atol=1e-9)


@pytest.mark.parametrize("method", ["poisson", "mixed", "average"])
def test_soft_mask_agrees_with_a_dense_solve(picture, blob, method):
    source, target = picture(9, 8, 3), picture(13, 14, 3)
    mask = picture(9, 8) * blob(9, 8)
    expected = dense_poisson(source, target, mask, (2, 3), "source" if method == "poisson" else method)
    np.testing.assert_allclose(blend(source, target, mask, (2, 3), method), expected, atol=1e-9)


@pytest.mark.parametrize("offset", [(2, 3), (-1, -1), (0, 5)], ids=["closed form", "corner", "edge"])
def test_rectangle_agrees_with_a_dense_solve(picture, offset):
    source, target, mask = picture(6, 7, 2), picture(12, 15, 2), np.ones((6, 7), bool)
    result = blend(source, target, mask, offset, alpha=False)
    np.testing.assert_allclose(result, dense_poisson(source, target, mask, offset), atol=1e-9)


@pytest.mark.parametrize("size", [(1, 12), (12, 1), (2, 2)])
def test_thin_canvas(picture, size):
    source, target = picture(*size, 1), picture(*size, 1)
    mask = np.zeros(size, bool)
    mask.flat[1:] = True
    np.testing.assert_allclose(blend(source, target, mask), dense_poisson(source, target, mask), atol=1e-9)


def test_float32_is_close_to_float64(picture, blob):
    source, target, mask = picture(70, 61, 3), picture(90, 101, 3), blob(70, 61)
    exact = blend(source, target, mask, (10, 30))
    result = blend(source.astype(np.float32), target.astype(np.float32), mask, (10, 30))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, exact, atol=2e-6)


@pytest.mark.parametrize("method", ["copy-paste", "poisson", "mixed", "average"])
@pytest.mark.parametrize("soft", [False, True])
def test_blending_an_image_into_itself_returns_it(picture, blob, method, soft):
    image = (picture(20, 23, 3) * 255).astype(np.uint8)
    mask = np.pad(blob(9, 10) * (picture(9, 10) if soft else 1.0), 1)  # all its edges lie inside the source
    result = blend(image[4:15, 5:17], image, mask, (4, 5), method)
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("method", ["copy-paste", "poisson", "mixed", "average", "monochrome"])
def test_pixels_outside_the_mask_are_untouched(picture, blob, method):
    source, target, mask = picture(9, 8, 3), picture(13, 14, 3) * 3 - 1, blob(9, 8)
    result = blend(source, target, mask, (2, 3), method, clip=True)
    outside = np.ones((13, 14), bool)
    outside[2:11, 3:11] = ~mask
    np.testing.assert_array_equal(result[outside], target[outside])


def test_a_constant_added_to_the_source_changes_nothing(picture, blob):
    source, target, mask = picture(9, 8, 3), picture(13, 14, 3), blob(9, 8)
    np.testing.assert_allclose(blend(source + 10, target, mask, (2, 3)), blend(source, target, mask, (2, 3)), atol=1e-8)


def test_report_measures_the_residual(picture, blob):
    source, target, mask = picture(9, 8, 3), picture(13, 14, 3), blob(9, 8)
    _, report = blend(source, target, mask, (2, 3), return_report=True)
    assert report.method == "poisson" and report.size == (13, 14) and report.levels == 1
    assert report.unknowns == mask.sum()
    assert 0 <= report.relative_residual < 1e-10
    assert report.seconds > 0


def test_tolerance_trades_precision_for_time(picture, blob):
    source, target, mask = picture(60, 50, 3), picture(70, 60, 3), blob(60, 50)
    reports = [blend(source, target, mask, (5, 5), tolerance=t, return_report=True)[1] for t in (1e-2, 1e-8)]
    assert 1e-8 < reports[0].relative_residual <= 1e-2 and reports[1].relative_residual <= 1e-8


@pytest.mark.parametrize("method", ["poisson", "mixed", "average", "monochrome"])
@pytest.mark.parametrize("rectangle", [False, True])
def test_gradients(picture, blob, method, rectangle):
    source, target = (torch.from_numpy(picture(3, *size)).requires_grad_() for size in ((5, 6), (8, 9)))
    mask = np.ones((5, 6), bool) if rectangle else blob(5, 6)
    assert torch.autograd.gradcheck(lambda s, t: blend(s, t, mask, (2, 1), method), (source, target), fast_mode=True)


def test_gradient_of_a_soft_mask(picture):
    source, target, mask = (torch.from_numpy(picture(*shape)) for shape in ((1, 5, 6), (1, 8, 9), (5, 6)))
    mask.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: blend(source, target, m * 0.9 + 0.05, (2, 1)), (mask,))


@pytest.mark.parametrize("method", ["poisson", "average", "monochrome", "mixed"])
@pytest.mark.parametrize("rectangle", [False, True])
def test_gradient_of_a_hard_mask_that_fades_as_a_whole(picture, blob, method, rectangle):
    """The picture is linear in the weights, so one difference is exact; weights above 1 are refused."""
    source, target = (torch.from_numpy(picture(3, *size)) for size in ((5, 6), (8, 9)))
    mask = torch.ones(5, 6, dtype=torch.float64) if rectangle else torch.from_numpy(blob(5, 6)).double()
    weights = torch.from_numpy(picture(3, 8, 9))

    def measure(mask):
        return (weights * blend(source, target, mask, (2, 1), method)).sum()

    gradient = torch.autograd.grad(measure(mask.requires_grad_()), mask)[0]
    mask = mask.detach()
    difference = (measure(mask) - measure(0.75 * mask)) / 0.25
    assert abs(difference) > 0.1
    torch.testing.assert_close((gradient * mask).sum(), difference)


@pytest.mark.parametrize("method", ["poisson", "average", "monochrome", "mixed"])
def test_gradient_of_a_hard_mask_of_single_pixels(picture, method):
    source, target = (torch.from_numpy(picture(3, *size)) for size in ((5, 6), (8, 9)))
    mask = torch.zeros(5, 6, dtype=torch.float64)
    places = [(0, 1), (2, 2), (1, 4), (4, 5)]
    for place in places:
        mask[place] = 1
    weights = torch.from_numpy(picture(3, 8, 9))

    def measure(mask):
        return (weights * blend(source, target, mask, (2, 1), method)).sum()

    gradient = torch.autograd.grad(measure(mask.requires_grad_()), mask)[0]
    for place in places:
        faded = mask.detach().clone()
        faded[place] = 0.75
        torch.testing.assert_close(gradient[place], (measure(mask.detach()) - measure(faded)) / 0.25)


@pytest.mark.parametrize("method", ["poisson", "average"])
def test_hard_mask_with_a_gradient_gives_the_same_picture(picture, blob, method):
    source, target = (torch.from_numpy(picture(3, *size)) for size in ((5, 6), (8, 9)))
    mask = torch.from_numpy(blob(5, 6)).double()
    result = blend(source, target, mask.clone().requires_grad_(), (2, 1), method)
    torch.testing.assert_close(result.detach(), blend(source, target, mask, (2, 1), method))
