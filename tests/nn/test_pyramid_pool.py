"""Pyramid pooling against a plain loop over bins, torch's adaptive pooling, and the paper's statements on windows."""

from __future__ import annotations

import math

import pytest
import torch
from op_checks import FLOATS, assert_close, same_on_one_and_two_threads, sliced
from torch.nn import functional as F

from pydlx.nn import SpatialPyramidPool2d
from pydlx.nn.pyramid_pool import _adaptive_runs
from pydlx.ops import soft_pool2d

MODES = ("max", "average", "soft")
FORMS = ("adaptive", "sliding")
LEVELS = ((4, 2, 1), (1,), (3, 3), (5, 7), ((2, 3), (1, 4)))

# Sizes whose published window fits more often than n times, by hand: one has to go through ceil(a/n) and floor(a/n).
REFUSED = {1: [], 2: [], 3: [5], 4: [6, 7, 11], 6: [8, 9, 10, 11, 15, 16, 17, 22, 23, 29]}


def draw(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def bin_of(i, n, size, form):
    """The start and end of a bin, computed with exact fractions."""
    if form == "adaptive":
        return math.floor(i * size / n), math.ceil((i + 1) * size / n)
    return i * math.floor(size / n), i * math.floor(size / n) + math.ceil(size / n)


def pool_of(cells, mode):
    if mode == "max":
        return cells.max()
    weights = cells.exp() / cells.exp().sum() if mode == "soft" else 1 / cells.numel()
    return (weights * cells).sum()


def bin_loop(x, levels, mode, form):
    """Features of x (N, C, H, W), one number at a time, in the order that is documented."""
    rows = []
    for image in x:
        features = []
        for level in levels:
            grid = (level, level) if isinstance(level, int) else level
            for channel in image:
                for i in range(grid[0]):
                    top, bottom = bin_of(i, grid[0], x.shape[2], form)
                    for j in range(grid[1]):
                        left, right = bin_of(j, grid[1], x.shape[3], form)
                        features.append(pool_of(channel[top:bottom, left:right], mode))
        rows.append(torch.stack(features))
    return torch.stack(rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("size", [(7, 7), (8, 16), (13, 13), (11, 14), (9, 23)])
def test_adaptive_bins(size, levels, mode):
    x = draw(2, 2, *size).requires_grad_()
    pool = SpatialPyramidPool2d(levels, mode)
    y, expected = pool(x), bin_loop(x, levels, mode, "adaptive")
    assert_close(y, expected)
    assert y.shape == (2, pool.out_features(2))
    grad = draw(*y.shape, seed=1)
    ours, theirs = (torch.autograd.grad(features, x, grad)[0] for features in (y, expected))
    assert_close(ours, theirs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(4, 4), (13, 13), (10, 14), (9, 23), (16, 5)])
def test_sliding_bins(size, mode):
    x = draw(2, 2, *size).requires_grad_()
    levels = (4, 2, 1)
    y, expected = SpatialPyramidPool2d(levels, mode, "sliding")(x), bin_loop(x, levels, mode, "sliding")
    assert_close(y, expected)
    grad = draw(*y.shape, seed=1)
    ours, theirs = (torch.autograd.grad(features, x, grad)[0] for features in (y, expected))
    assert_close(ours, theirs)


@pytest.mark.parametrize("n", range(1, 9))
def test_soft_bins_of_every_size(n):
    """Rows only, since axes are independent: every arrangement of n bins."""
    for size in range(n, 5 * n + 1):
        x = draw(1, 1, size, 3, seed=size)
        assert_close(SpatialPyramidPool2d([(n, 1)], "soft")(x), bin_loop(x, [(n, 1)], "soft", "adaptive"))


@pytest.mark.parametrize("n", range(1, 5))
def test_few_bins_are_pooled_in_one_run_or_two(n):
    """Pooling them one by one would give the same, but slower."""
    assert max(len(_adaptive_runs(size, n)) for size in range(n, 60)) <= 2


@pytest.mark.parametrize("mode", ["max", "average"])
def test_adaptive_pooling_of_torch(mode):
    pool = {"max": F.adaptive_max_pool2d, "average": F.adaptive_avg_pool2d}[mode]
    x = draw(2, 3, 11, 17)
    levels = (5, (2, 3), 1)
    expected = torch.cat([torch.flatten(pool(x, level), 1) for level in levels], 1)
    assert torch.equal(SpatialPyramidPool2d(levels, mode)(x), expected)


@pytest.mark.parametrize("n", REFUSED)
def test_sizes_that_the_published_windows_refuse(n):
    pool = SpatialPyramidPool2d([n], form="sliding")
    refused = []
    for size in range(1, 31):
        try:
            assert pool(draw(1, 1, size, size)).shape == (1, n * n)
        except ValueError:
            refused.append(size)
    assert refused == [*range(1, n), *REFUSED[n]]


@pytest.mark.parametrize("form", FORMS)
def test_pixels_at_the_end(form):
    """The published windows of 4 bins omit the last of 10 pixels, and the last 2 of 15; adaptive bins omit none."""
    for size, covered in ((10, 9), (14, 13), (15, 13), (13, 13)):
        x = draw(1, 1, size, size).requires_grad_()
        SpatialPyramidPool2d([4], "average", form)(x).sum().backward()
        assert x.grad[0, 0].any(1).nonzero().max() + 1 == (covered if form == "sliding" else size)


@pytest.mark.parametrize("mode", MODES)
def test_both_forms_agree_on_13_pixels(mode):
    x = draw(2, 3, 13, 13)
    levels = (4, 3, 2, 1)
    assert_close(SpatialPyramidPool2d(levels, mode)(x), SpatialPyramidPool2d(levels, mode, "sliding")(x))


def test_one_soft_bin_is_one_window():
    x = draw(2, 3, 6, 5)
    assert_close(SpatialPyramidPool2d([1], "soft")(x), soft_pool2d(x, (6, 5)).flatten(1))


def test_order_of_features():
    """Ordered by level, then channel, then row-major."""
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert SpatialPyramidPool2d((1, 2))(x).tolist() == [[3, 7, 0, 1, 2, 3, 4, 5, 6, 7]]
    assert SpatialPyramidPool2d(((2, 1), (1, 2)))(x).tolist() == [[1, 3, 5, 7, 2, 3, 6, 7]]


def test_length_of_the_vector():
    assert SpatialPyramidPool2d().out_features(256) == 21 * 256
    assert SpatialPyramidPool2d((6, 3, 2, 1)).out_features(256) == 50 * 256
    assert SpatialPyramidPool2d(((2, 3), 1)).out_features(5) == 35


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_lists_of_images_of_any_size(form, mode):
    images = [draw(3, *size, seed=n).requires_grad_() for n, size in enumerate([(13, 4), (5, 16), (13, 4)])]
    pool = SpatialPyramidPool2d((4, 2, 1), mode, form)
    y = pool(images)
    grad = draw(*y.shape, seed=9)
    gradients = torch.autograd.grad(y, images, grad)
    for n, image in enumerate(images):
        alone = pool(image.unsqueeze(0))
        assert torch.equal(y[n : n + 1], alone)
        assert torch.equal(gradients[n], torch.autograd.grad(alone, image, grad[n : n + 1])[0])
    assert torch.equal(pool(tuple(images)), y)


@pytest.mark.parametrize("mode", MODES)
def test_single_images_and_empty_batches(mode):
    pool = SpatialPyramidPool2d((3, 1), mode)
    x = draw(1, 2, 7, 8)
    assert torch.equal(pool(x[0]), pool(x)[0])
    empty = torch.zeros(0, 2, 7, 8, requires_grad=True)
    pool(empty).sum().backward()
    assert pool(empty).shape == (0, 20)
    assert empty.grad.shape == empty.shape


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_soft_bins_in_every_dtype_and_layout(layout, dtype):
    x = draw(2, 5, 11, 13, dtype=dtype)
    wide = x.double().requires_grad_()
    expected = bin_loop(wide, (4, 1), "soft", "adaptive")
    if layout == "sliced":
        x = sliced(x)
    elif layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    x = x.detach().requires_grad_()
    before = x.detach().clone()
    y = SpatialPyramidPool2d((4, 1), "soft")(x)
    assert y.dtype == dtype
    assert_close(y, expected)
    expected.sum().backward()
    y.sum().backward()
    assert_close(x.grad, wide.grad, atol={torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 2e-2))
    assert torch.equal(x, before)


@pytest.mark.parametrize("mode", MODES)
def test_nan_stays_in_its_own_bins(mode):
    x = draw(1, 1, 6, 6)
    x[0, 0, 5, 0] = math.nan
    assert SpatialPyramidPool2d((2, 1), mode)(x).isnan().tolist() == [[False, False, True, False, True]]


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode):
    x = draw(1, 1, 6, 5).requires_grad_()
    pool = SpatialPyramidPool2d(((4, 2), 1), mode)
    assert torch.autograd.gradcheck(pool, (x,))
    assert torch.autograd.gradgradcheck(pool, (x,))


def test_repeatable_to_the_bit():
    def run():
        x = draw(3, 16, 14, 19, dtype=torch.float32).requires_grad_()
        y = SpatialPyramidPool2d(mode="soft")(x)
        y.sum().backward()
        return y.detach(), x.grad

    same_on_one_and_two_threads(run)


@pytest.mark.parametrize("mode", MODES)
def test_compiles_without_a_graph_break(mode):
    torch.compiler.reset()  # graphs of other tests count towards the limit of one function
    x = draw(2, 3, 7, 8, dtype=torch.float32)
    pool = SpatialPyramidPool2d((4, 2), mode)
    layer = torch.compile(pool, fullgraph=True, backend="aot_eager")
    points = [x.clone().requires_grad_() for _ in range(2)]
    for run, point in zip((layer, pool), points, strict=True):
        run(point).sum().backward()
    assert_close(layer(x), pool(x).double())
    assert_close(points[0].grad, points[1].grad.double())
    images = [x[0], x[1, :, 2:]]
    assert_close(layer(images), pool(images).double())


@pytest.mark.parametrize("mode", MODES)
def test_autocast_keeps_the_dtype(mode):
    x = draw(1, 2, 6, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert SpatialPyramidPool2d(mode=mode)(x).dtype is torch.bfloat16
        assert SpatialPyramidPool2d(mode=mode)(x.float()).dtype is torch.float32


def test_repr_says_what_was_asked_for():
    assert repr(SpatialPyramidPool2d(((3, 1), 2), "soft")) == (
        "SpatialPyramidPool2d(levels=((3, 1), 2), mode='soft', form='adaptive')"
    )
    assert "levels=(1,)" in repr(SpatialPyramidPool2d([1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"levels must list at least one positive whole number or pair of such, got \[\]"),
        ((3,), "levels must list .* got 3"),
        (((2, 0),), r"levels must list .* got \(2, 0\)"),
        ((((2, -1), 1),), r"levels must list .* got \(\(2, -1\), 1\)"),
        (((2, (1, 2, 3)),), r"levels must list .* got \(2, \(1, 2, 3\)\)"),
        (((2.0,),), r"levels must list .* got \(2.0,\)"),
        (((2,), "mean"), "mode must be .*, got 'mean'"),
        (((2,), "max", "fixed"), "form must be .*, got 'fixed'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^SpatialPyramidPool2d: {message}"):
        SpatialPyramidPool2d(*arguments)


@pytest.mark.parametrize(
    ("x", "form", "message"),
    [
        (torch.zeros(1, 1, 3, 8), "adaptive", "levels must not have more bins .*, got level 4×4 for an image of 3×8"),
        (torch.zeros(1, 1, 8, 3), "sliding", "levels must not have more bins .*, got level 4×4 for an image of 8×3"),
        (torch.zeros(1, 1, 8, 6), "sliding", "levels must have as many bins .*, got level 4×4 .* 8×6, where 4×5 fit"),
        (torch.zeros(8, 8), "adaptive", r"x must have shape \(N, C, H, W\) or \(C, H, W\), got 2 dimensions"),
        ([], "adaptive", r"x must list at least one \(C, H, W\) image, .*got shapes \[\]"),
        ([torch.zeros(1, 1, 8, 8)], "adaptive", r"x must list .*got shapes \[\(1, 1, 8, 8\)\]"),
        ([torch.zeros(1, 8, 8), torch.zeros(2, 8, 8)], "adaptive", "x must list .* of one C, got shapes"),
    ],
)
def test_bad_images(x, form, message):
    with pytest.raises(ValueError, match=f"^SpatialPyramidPool2d: {message}"):
        SpatialPyramidPool2d(form=form)(x)


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"^SpatialPyramidPool2d: x must be a floating-point tensor, got torch.int64"):
        SpatialPyramidPool2d()(torch.zeros(1, 1, 8, 8, dtype=torch.int64))


@pytest.mark.cuda
@pytest.mark.parametrize("mode", MODES)
def test_cuda_agrees_with_the_cpu(mode):
    x = draw(2, 5, 11, 14).requires_grad_()
    on_gpu = x.detach().cuda().requires_grad_()
    pool = SpatialPyramidPool2d(mode=mode)
    y, y_gpu = pool(x), pool(on_gpu)
    y.sum().backward()
    y_gpu.sum().backward()
    assert_close(y_gpu.cpu(), y)
    assert_close(on_gpu.grad.cpu(), x.grad)
