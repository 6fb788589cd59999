"""Sources that are fully transparent in places: what colours are hidden there must not matter."""

import numpy as np
import pytest
import torch
from blending.dense import dense_poisson

from pydlx.blending import METHODS, blend, evaluate_blend
from pydlx.blending.transparency import fill_hidden

MASKED = ["poisson", "mixed", "average", "monochrome"]


def with_alpha(source, visible):
    return np.concatenate([source, visible[..., None]], -1)


@pytest.mark.parametrize("method", MASKED)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_flat_object_in_transparent_black_takes_the_target_s_colour(method, kind):
    white = 255 if kind == np.uint8 else 1
    visible = np.zeros((12, 12))
    visible[3:9, 3:9] = 1
    source = (with_alpha(np.full((12, 12, 3), 0.8) * visible[..., None], visible) * white).astype(kind)
    target = np.full((20, 20, 3), 0.5 * white).astype(kind)
    result = blend(source, target, np.ones((12, 12), bool), (4, 4), method)
    np.testing.assert_allclose(result, target, atol=1e-5)


@pytest.mark.parametrize("method", ["poisson", "mixed", "average"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("offset", [(2, 3), (-2, 8)])
def test_ragged_object_agrees_with_a_dense_solve(picture, blob, method, soft, offset):
    source, target, visible, mask = picture(9, 8, 3), picture(13, 14, 3), blob(9, 8), blob(9, 8)
    weight = visible * (mask | visible) * (picture(9, 8) if soft else 1.0)
    guidance = "source" if method == "poisson" else method
    expected = dense_poisson(source, target, weight, offset, guidance, hidden=~visible)
    np.testing.assert_allclose(blend(with_alpha(source, weight), target, np.ones((9, 8)), offset, method), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("soft", [False, True])
def test_a_transparent_margin_is_like_the_end_of_the_image(picture, method, soft):
    """At every level of the pyramid too."""
    source, target, mask = picture(40, 50, 3), picture(100, 90, 3), picture(40, 50) if soft else np.ones((40, 50))
    framed = np.pad(with_alpha(source, np.ones((40, 50))), ((7, 9), (11, 3), (0, 0)))
    framed_mask = np.pad(mask, ((7, 9), (11, 3)), constant_values=1)
    expected = blend(source, target, mask, (20, 15), method)
    np.testing.assert_allclose(blend(framed, target, framed_mask, (13, 4), method), expected, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("colour", [1e6, np.nan])
def test_hidden_colours_do_not_matter(picture, blob, method, colour):
    source, target, visible = picture(30, 80, 3), picture(40, 90, 3), blob(30, 80)
    other = np.where(visible[..., None], source, colour)
    arguments = target, np.ones((30, 80)), (2, 3)
    expected = blend(with_alpha(source, visible), *arguments, method)
    np.testing.assert_array_equal(blend(with_alpha(other, visible), *arguments, method), expected)
    assert evaluate_blend(expected, with_alpha(other, visible), *arguments) == evaluate_blend(
        expected, with_alpha(source, visible), *arguments
    )


@pytest.mark.parametrize("method", MASKED)
def test_each_image_of_a_batch_has_its_own_transparency(picture, blob, method):
    sources, targets = picture(3, 9, 8, 3), picture(3, 13, 14, 3)
    rgba = np.stack([with_alpha(source, blob(9, 8)) for source in sources])
    arguments = np.ones((9, 8)), (2, 3), method
    expected = np.stack([blend(s, t, *arguments) for s, t in zip(rgba, targets, strict=True)])
    np.testing.assert_allclose(blend(rgba, targets, *arguments), expected, atol=1e-9)
    expected = np.stack([blend(rgba[0], t, *arguments) for t in targets])
    np.testing.assert_allclose(blend(rgba[0], targets, *arguments), expected, atol=1e-9)


@pytest.mark.parametrize("method", [*MASKED, "gaussian-poisson"])
def test_gradients(picture, blob, method):
    colours, target = (torch.from_numpy(picture(3, *size)).requires_grad_() for size in ((5, 6), (8, 9)))
    visible = torch.from_numpy(blob(5, 6)).double()[None]

    def run(colours, target):
        return blend(torch.cat([colours, visible]), target, torch.ones(5, 6), (2, 1), method)

    assert torch.autograd.gradcheck(run, (colours, target), fast_mode=True)
    gradient = torch.autograd.grad(run(colours, target).square().sum(), colours)[0]
    assert (gradient[:, visible[0] == 0] == 0).all() and (gradient[:, visible[0] == 1] != 0).any()


@pytest.mark.parametrize("method", ["poisson", "modified-poisson", "gaussian-poisson"])
def test_opaque_pixels_have_a_gradient(picture, method):
    """Alpha is 1 there, a bound of what it is clipped to, where torch.clamp has no gradient from torch 2.14 on."""
    rgba = torch.from_numpy(with_alpha(picture(5, 6, 3), np.ones((5, 6), bool))).permute(2, 0, 1).requires_grad_()
    canvas = torch.from_numpy(picture(8, 9, 3)).permute(2, 0, 1)
    blend(rgba, canvas, torch.ones(5, 6), (2, 1), method).sum().backward()
    assert rgba.grad[3].abs().max() > 0.1


def test_hidden_pixels_are_black_to_the_gradient_of_alpha(picture, blob):
    """Here the mean of the result is that of the pasted picture, which grows by source minus target with each alpha."""
    colours, target, visible = picture(5, 6, 3), picture(8, 9, 3), blob(5, 6)
    rgba, canvas = (torch.from_numpy(x).permute(2, 0, 1) for x in (with_alpha(colours, visible), target))
    rgba.requires_grad_()
    blend(rgba, canvas, torch.ones(5, 6), (2, 1), "modified-poisson").sum().backward()
    grown = torch.from_numpy(np.where(visible[..., None], colours, 0) - target[2:7, 1:7]).sum(-1)
    torch.testing.assert_close(rgba.grad[3], grown, rtol=0, atol=1e-6)


def test_hidden_pixels_are_filled_with_the_nearest_visible_colour(picture, blob):
    for visible in (blob(9, 8), blob(1, 7), np.eye(6, dtype=bool), picture(12, 9) > 0.9):
        rows, columns = np.nonzero(visible)
        image = torch.arange(visible.size).reshape(1, 1, *visible.shape)
        filled = fill_hidden(image, ~torch.from_numpy(visible)[None, None])[0, 0].numpy()
        i, j = np.indices(visible.shape)
        least = (abs(i[..., None] - rows) + abs(j[..., None] - columns)).min(-1)
        from_row, from_column = np.divmod(filled, visible.shape[1])
        assert visible.ravel()[filled].all()
        np.testing.assert_array_equal(abs(i - from_row) + abs(j - from_column), least)
