"""SSIM against its definition window by window, the libraries whose conventions it names, and torch's own checks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from op_checks import FLOATS, assert_close, native_op, same_on_one_and_two_threads, sliced

import pydlx
from pydlx.ops import ms_ssim, ssim

# Shape and options: windows of both fast kinds and others, more than one tile and strip, low strips and tall ones, odd
# sizes, volumes.
CASES = [
    ((2, 3, 17, 21), {}),
    ((1, 2, 11, 11), {}),
    ((1, 1, 150, 131), {}),
    ((1, 2, 24, 240), {"convention": "skimage"}),
    ((2, 1, 13, 12), {"convention": "torchmetrics"}),
    ((1, 1, 40, 45), {"kernel_size": 33, "sigma": 4.0}),
    ((1, 2, 9, 10), {"kernel_size": 5, "sigma": 0.0}),
    ((1, 1, 6, 5), {"kernel_size": 1}),
    ((1, 2, 13, 14, 15), {}),
    ((1, 1, 9, 40, 12), {"convention": "skimage"}),
    ((1, 1, 8, 9, 7), {"convention": "torchmetrics", "kernel_size": 3, "sigma": 0.8}),
    ((1, 1, 23, 350), {}),
    ((1, 2, 12, 350), {}),
    ((1, 1, 531, 23), {}),
]


def draw(shape, dtype=torch.float64, seed=0):
    """Values from 0 to 1 and a noisy copy of them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    y = x + 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def camera():
    """The pair that the published numbers of tests below were taken from, (512, 512)."""
    data = pytest.importorskip("skimage.data")
    image = data.camera().astype(np.float64)
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 25, image.shape), 0, 255).round()
    return image, noisy


def as_batch(*images):
    return [torch.from_numpy(image)[None, None] for image in images]


def one_window(a, b, weights, c1, c2, covariance=1.0):
    """The paper's formula, with variances as mean squared distances."""
    m1, m2 = (weights * a).sum(), (weights * b).sum()
    v1, v2 = (weights * (a - m1) ** 2).sum(), (weights * (b - m2) ** 2).sum()
    v12 = (weights * (a - m1) * (b - m2)).sum()
    v1, v2, v12 = covariance * v1, covariance * v2, covariance * v12
    return (2 * m1 * m2 + c1) * (2 * v12 + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))


@pytest.mark.parametrize("shape", [(1, 2, 12, 13), (1, 1, 12, 11, 13)])
@pytest.mark.parametrize("convention", ["wang2004", "skimage"])
def test_map_is_the_definition(convention, shape):
    x, y = (image.numpy() for image in draw(shape))
    spatial = len(shape) - 2
    size = 11 if convention == "wang2004" else 7
    distance = sum(d**2 for d in np.meshgrid(*[np.arange(size) - size // 2] * spatial))
    weights = np.exp(-distance / (2 * 1.5**2)) if convention == "wang2004" else np.ones_like(distance, float)
    weights /= weights.sum()
    covariance = 1.0 if convention == "wang2004" else size**spatial / (size**spatial - 1)
    out = [length - size + 1 for length in shape[2:]]
    expected = torch.empty(*shape[:2], *out, dtype=torch.float64)
    for n, c, *place in itertools.product(*map(range, expected.shape)):
        window = (n, c, *(slice(at, at + size) for at in place))
        expected[(n, c, *place)] = one_window(
            x[window], y[window], weights, (0.01 * 2) ** 2, (0.03 * 2) ** 2, covariance
        )
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    assert_close(ssim(x, y, 2, convention=convention, reduction="map"), expected)
    assert_close(ssim(x, y, 2, convention=convention, reduction="none"), expected.flatten(1).mean(1))
    assert_close(ssim(x, y, 2, convention=convention), expected.mean())


@pytest.mark.parametrize(
    ("convention", "published"),
    [("wang2004", 0.29050598647265846), ("skimage", 0.3010889656623548), ("torchmetrics", 0.2888524768988068)],
)
def test_published_numbers(convention, published):
    x, y = as_batch(*camera())
    assert ssim(x, y, 255, convention=convention).item() == pytest.approx(published, abs=1e-12)
    assert ssim(x.float(), y.float(), 255, convention=convention).item() == pytest.approx(published, abs=2e-6)
    assert ssim(x.byte(), y.byte(), convention=convention).item() == pytest.approx(published, abs=2e-6)


def test_published_numbers_at_many_scales():
    """What pytorch-msssim gives has the rounding of its float32 window."""
    x, y = as_batch(*camera())
    assert ms_ssim(x, y, 255).item() == pytest.approx(0.7415489774, abs=1e-5)
    assert ms_ssim(x, y, 255, convention="torchmetrics").item() == pytest.approx(0.7412218757, abs=1e-6)


@pytest.mark.parametrize("size", [(40, 37), (15, 16, 17)])
def test_same_as_skimage(size):
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    x, y = draw((1, 1, *size))
    a, b = x[0, 0].numpy(), y[0, 0].numpy()
    assert ssim(x, y, 1.5, convention="skimage").item() == pytest.approx(similarity(a, b, data_range=1.5), abs=1e-12)
    gaussian = similarity(a, b, data_range=1.5, gaussian_weights=True, use_sample_covariance=False, sigma=1.1)
    assert ssim(x, y, 1.5, sigma=1.1).item() == pytest.approx(gaussian, abs=1e-12)


@pytest.mark.parametrize("size", [(40, 37), (15, 16, 17)])
def test_same_as_torchmetrics(size):
    image = pytest.importorskip("torchmetrics.functional.image")
    x, y = draw((2, 3, *size))
    options = {"data_range": 1.5, "reduction": "none"}
    expected = image.structural_similarity_index_measure(x, y, **options)
    assert_close(ssim(x, y, convention="torchmetrics", **options), expected)


@pytest.mark.parametrize("size", [(40, 37), (15, 16, 17)])
def test_same_as_pytorch_msssim(size):
    """To 1e-12 with its window in float64; its own float32 window moves the number by up to 1e-5."""
    peer = pytest.importorskip("pytorch_msssim")
    x, y = draw((2, 3, *size))
    options = {"data_range": 1.5, "size_average": False}
    score = ssim(x, y, 1.5, reduction="none")
    assert_close(score, peer.ssim(x, y, win=wide_window(x), **options))
    assert_close(score, peer.ssim(x, y, **options), atol=1e-5)


def wide_window(x):
    taps = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    return (taps / taps.sum()).repeat(x.shape[1], *[1] * (x.dim() - 1))


@pytest.mark.parametrize("size", [(176, 181), (199, 202)])
def test_many_scales_are_those_of_the_peers(size):
    peer = pytest.importorskip("pytorch_msssim")
    image = pytest.importorskip("torchmetrics.functional.image")
    x, y = draw((2, 2, *size))
    expected = peer.ms_ssim(x, y, data_range=1.0, size_average=False, win=wide_window(x))
    assert_close(ms_ssim(x, y, 1.0, reduction="none"), expected, atol=1e-7)  # its weights are float32
    expected = image.multiscale_structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")
    assert_close(ms_ssim(x, y, 1.0, convention="torchmetrics", reduction="none"), expected, atol=1e-7)


def test_many_scales_of_volumes():
    peer = pytest.importorskip("pytorch_msssim")
    x, y = draw((1, 1, 23, 25, 22))
    taps = wide_window(x)
    expected = peer.ssim(x, y, data_range=1.0, win=taps)
    assert_close(ms_ssim(x, y, 1.0, weights=[1.0]), expected)
    halved = ms_ssim(x, y, 1.0, weights=[0.4, 0.6], kernel_size=7, sigma=1.0)
    assert 0 < halved < 1


def test_opposite_images_have_no_similarity_at_many_scales_and_a_finite_gradient():
    x, _ = draw((1, 1, 161, 161))
    x.requires_grad_()
    score = ms_ssim(x, 1 - x.detach(), 1)
    score.backward()
    assert score == 0
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_backward_and_layouts(case, layout, dtype, kernels):
    """Every dtype and layout, maps and means, one gradient and both, against the reference in float64."""
    if kernels == "reference" and dtype is torch.float64 and layout == "contiguous":
        pytest.skip("compares the reference with itself")
    shape, options = CASES[case]
    check_scores_and_gradients(shape, options, "map" if case % 2 else "none", layout, dtype)


@pytest.mark.parametrize("reduction", ["map", "none"])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 1, 17, 270), {"kernel_size": 9}),
        ((1, 1, 34, 240), {"kernel_size": 33}),
        ((1, 1, 12, 11, 255), {}),
        ((1, 1, 7, 8, 260), {"convention": "skimage"}),
        ((1, 2, 5, 6, 140), {"kernel_size": 5}),
        ((1, 1, 11, 5010), {}),
        ((2, 1, 100, 12), {}),
        ((9, 1, 12, 14), {"convention": "skimage"}),
    ],
)
def test_more_than_a_block(shape, options, reduction):
    """Of every kernel, and in the last case more planes than blocks of the emulator."""
    check_scores_and_gradients(shape, options, reduction, "contiguous", torch.float32)


def check_scores_and_gradients(shape, options, reduction, layout, dtype):
    images = draw(shape, dtype)
    wide = [image.double().requires_grad_() for image in images]
    with pydlx.backend("reference"):
        expected = ssim(*wide, 1, reduction=reduction, **options)
    grad = torch.rand(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(expected)
    slopes = torch.autograd.grad(expected, wide, grad)

    if layout == "sliced":
        images = [sliced(image) for image in images]
    elif layout == "channels_last":
        images = [
            image.to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
            for image in images
        ]
    points = [image.detach().requires_grad_() for image in images]
    score = ssim(*points, 1, reduction=reduction, **options)
    sums = torch.float64 if dtype is torch.float64 else torch.float32
    assert score.dtype == sums
    assert_close(score, expected, **({} if dtype is torch.float64 else {"atol": 1e-5}))
    both = torch.autograd.grad(score, points, grad.to(sums))
    tolerance = {torch.float64: 1e-11, torch.float32: 3e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}[dtype]
    for i, (slope, exact) in enumerate(zip(both, slopes, strict=True)):
        assert_close(slope / exact.abs().max(), exact / exact.abs().max(), atol=tolerance, rtol=0)
        alone = [point if i == k else point.detach() for k, point in enumerate(points)]
        score = ssim(*alone, 1, reduction=reduction, **options)
        (one,) = torch.autograd.grad(score, points[i], grad.to(sums))
        assert_close(one / exact.abs().max(), exact / exact.abs().max(), atol=tolerance, rtol=0)


@pytest.mark.parametrize("convention", ["wang2004", "skimage"])
def test_bright_flat_images_keep_their_digits(convention):
    """Mean square less squared mean would leave nothing of this noise in float32."""
    x, y = (255 + 0.05 * (image - 0.5) for image in draw((1, 1, 64, 64), torch.float32))
    exact = ssim(x.double(), y.double(), 1, convention=convention)
    assert ssim(x, y, 1, convention=convention).item() == pytest.approx(exact.item(), abs=2e-6)
    x.requires_grad_()
    wide = x.detach().double().requires_grad_()
    ssim(x, y, 1, convention=convention).backward()
    ssim(wide, y.double(), 1, convention=convention).backward()
    assert_close(x.grad, wide.grad, atol=2e-3 * wide.grad.abs().max().item())


@pytest.mark.parametrize("dtype", FLOATS)
def test_equal_images_score_one_and_nothing_scores_more(dtype, kernels):
    x, y = draw((1, 2, 40, 40), dtype)
    same = ssim(x, x.clone(), 1, reduction="map")
    assert_close(same, torch.ones_like(same), **({"atol": 1e-4} if kernels == "reference" else {"atol": 0, "rtol": 0}))
    assert ssim(x, x + 1e-3, 1, reduction="map").max() <= 1 + 1e-6
    assert ssim(x, 1 - x, 1) < 0
    assert_close(ssim(x, y, 1), ssim(y, x, 1))


def test_integers_do_not_wrap():
    x, y = torch.zeros(1, 1, 12, 12, dtype=torch.uint8), torch.full((1, 1, 12, 12), 255, dtype=torch.uint8)
    assert ssim(x, y).item() == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-4)
    for dtype, scale in ((torch.uint16, 257), (torch.int32, 3)):
        a, b = ((255 * image.clamp(0, 1)).round() for image in draw((1, 1, 16, 16)))
        expected = ssim(a, b, 255)
        given = None if dtype is torch.uint16 else 255 * scale
        assert ssim((a * scale).to(dtype), (b * scale).to(dtype), given).item() == pytest.approx(
            expected.item(), abs=1e-6
        )


@pytest.mark.parametrize(("shape", "options"), CASES)
def test_bytes_score_what_they_score_as_floats(shape, options):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(256, shape, generator=generator, dtype=torch.uint8) for _ in range(2))
    for reduction in ("mean", "none", "map"):
        as_floats = ssim(x.float(), y.float(), 255, reduction=reduction, **options)
        assert torch.equal(ssim(x, y, reduction=reduction, **options), as_floats)
    as_floats = ssim(x.float() / 1e9, y.float() / 1e9, 255 / 1e9, **options)
    assert ssim(x, y, **options).item() == pytest.approx(as_floats.item(), abs=1e-5)


def test_nan_spreads_as_far_as_its_windows():
    x, y = draw((1, 2, 30, 40), torch.float32)
    x[0, 1, 15, 20] = math.nan
    score = ssim(x, y, 1, reduction="map")
    assert score[0, 1, 5:16, 10:21].isnan().all()
    assert score.isnan().sum() == 121
    assert ssim(x, y, 1).isnan()
    x.requires_grad_()
    ssim(x, y, 1, reduction="map").sum().backward()
    assert x.grad[0, 1, 15, 20].isnan()
    assert not x.grad[0, 0].isnan().any()


@pytest.mark.parametrize("special", [math.nan, math.inf])
@pytest.mark.parametrize("kernel_size", [11, 7, 5])
def test_nan_at_every_place_of_a_tile_reaches_its_windows_alone(kernel_size, special, kernels):
    """One image for each place: S is NaN where a window holds it, the gradient where one holds both pixels."""
    height, width = 15, 34
    places = torch.arange(0, height * width, 1 if kernels == "native" else 13)
    x, y = (image.repeat(len(places), 1, 1, 1) for image in draw((1, 1, height, width), torch.float32))
    x.view(len(places), -1)[torch.arange(len(places)), places] = special
    rows, columns = (places // width).view(-1, 1, 1, 1), (places % width).view(-1, 1, 1, 1)

    def within(reach, first, size):
        """Which pixels of a map whose first one is `first` lie within reach of the place."""
        row, column = torch.arange(size[0]).view(-1, 1) + first, torch.arange(size[1]) + first
        return ((row - rows).abs() <= reach) & ((column - columns).abs() <= reach)

    radius = kernel_size // 2
    x, y = x.requires_grad_(), y.requires_grad_()
    score = ssim(x, y, 1, kernel_size=kernel_size, sigma=1.0, reduction="map")
    seen = within(radius, radius, score.shape[2:])
    assert torch.equal(score.isnan(), seen)
    for slope in torch.autograd.grad(score.sum(), (x, y)):
        windows = torch.nn.functional.pad(seen.float(), [2 * radius] * 4)
        reached = torch.nn.functional.max_pool2d(windows, kernel_size, 1) > 0
        assert torch.equal(slope.isnan(), reached)


def test_empty_batch():
    x = torch.zeros(0, 3, 16, 16, requires_grad=True)
    score = ssim(x, x, 1, reduction="none")
    assert score.shape == (0,)
    score.sum().backward()
    assert x.grad.shape == x.shape
    assert ssim(x, x, 1, reduction="map").shape == (0, 3, 6, 6)


def test_repeatable_to_the_bit():
    def run():
        x, y = (image.requires_grad_() for image in draw((2, 2, 161, 140), torch.float32))
        score = ssim(x, y, 1)
        score.backward()
        return score.detach(), x.grad, y.grad

    same_on_one_and_two_threads(run)


def test_inputs_are_left_alone():
    x, y = draw((1, 1, 20, 20))
    before = x.clone(), y.clone()
    ssim(x, y, 1)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pytest.mark.parametrize("options", [{}, {"convention": "skimage"}, {"convention": "torchmetrics", "reduction": "map"}])
def test_gradcheck(options):
    x, y = (image.requires_grad_() for image in draw((1, 1, 6, 7)))
    options = {"kernel_size": 5, **options}
    assert torch.autograd.gradcheck(lambda a, b: ssim(a, b, 1, **options), (x, y))
    options["kernel_size"] = 3
    assert torch.autograd.gradgradcheck(lambda a, b: ssim(a[..., :4, :4], b[..., :4, :4], 1, **options), (x, y))


@pytest.mark.parametrize("as_map", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_opcheck(dtype, as_map):
    x, y = draw((1, 2, 6, 7), dtype)
    options = (5, 1.5, 1.0, 1e-4, 9e-4, True, as_map)
    score = native_op("ssim")(x, y, *options)
    torch.library.opcheck(native_op("ssim"), (x.requires_grad_(), y.requires_grad_(), *options))
    for wants in ((True, True), (False, True)):
        arguments = (torch.ones_like(score), x.detach(), y.detach(), *options, *wants)
        torch.library.opcheck(native_op("_ssim_backward"), arguments)


def test_compiles_and_exports_without_a_graph_break():
    x, y = draw((1, 3, 20, 24), torch.float32)
    compiled = torch.compile(lambda a, b: ssim(a, b, 1), fullgraph=True, backend="aot_eager")
    assert_close(compiled(x.requires_grad_(), y), ssim(x, y, 1))

    class Score(torch.nn.Module):
        def forward(self, a, b):
            return ssim(a, b, 1)

    exported = torch.export.export(Score(), (x.detach(), y))
    assert_close(exported.module()(x.detach(), y), ssim(x, y, 1))


def test_autocast_computes_in_float32():
    x, y = draw((1, 1, 20, 20), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = ssim(x, y, 1)
        halves = ssim(x.bfloat16(), y.bfloat16(), 1)
    assert score == ssim(x, y, 1)
    assert halves.dtype is torch.float32
    assert_close(halves, ssim(x.bfloat16().float(), y.bfloat16().float(), 1))


IMAGE = torch.zeros(1, 1, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((IMAGE, IMAGE), {}, ValueError, r"data_range must be given for images of torch\.float32, got None"),
        (2 * (IMAGE.half(),), {}, ValueError, r"data_range must be given for images of torch\.float16, got None"),
        (2 * (IMAGE.int(),), {}, ValueError, r"data_range must be given for images of torch\.int32, got None"),
        ((IMAGE, IMAGE, 0), {}, ValueError, "data_range must be positive and finite, got 0"),
        (
            (IMAGE, IMAGE[..., 1:], 1),
            {},
            ValueError,
            r"y must have the shape of x, \(1, 1, 16, 16\), got \(1, 1, 16, 15\)",
        ),
        ((IMAGE, IMAGE.double(), 1), {}, TypeError, r"y must have the dtype of x, torch\.float32, got torch\.float64"),
        ((IMAGE.bool(), IMAGE.bool(), 1), {}, TypeError, r"x must hold integers or floating-point .* got torch\.bool"),
        ((IMAGE[0], IMAGE[0], 1), {}, ValueError, r"x must have shape \(N, C, H, W\) or .* got \(1, 16, 16\)"),
        ((IMAGE[..., :10], IMAGE[..., :10], 1), {}, ValueError, r"at least 11 along each axis, got size \(16, 10\)"),
        (
            (IMAGE, IMAGE, 1),
            {"convention": "matlab"},
            ValueError,
            "convention must be one of 'wang2004', .* got 'matlab'",
        ),
        (
            (IMAGE, IMAGE, 1),
            {"reduction": "sum"},
            ValueError,
            "reduction must be one of 'mean', 'none', 'map', got 'sum'",
        ),
        (
            (IMAGE, IMAGE, 1),
            {"kernel_size": 1, "convention": "skimage"},
            ValueError,
            "kernel_size must be at least 3 for the sample covariance, got 1",
        ),
        ((IMAGE, IMAGE, 1), {"kernel_size": 8}, ValueError, "kernel_size must be odd, from 1 to 33, got 8"),
        (
            (IMAGE, IMAGE, 1),
            {"sigma": -1.0},
            ValueError,
            r"sigma must be zero or positive, and finite, got -1\.0",
        ),
        ((IMAGE, IMAGE, 1), {"k1": -1.0}, ValueError, r"k1 must be zero or positive, and finite, got -1\.0"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=f"^ssim: .*{message}"):
        ssim(*arguments, **options)


@pytest.mark.parametrize(("convention", "smallest"), [("wang2004", 161), ("torchmetrics", 176)])
def test_images_have_to_hold_a_window_at_every_scale(convention, smallest):
    x = torch.rand(1, 1, smallest, smallest)
    assert ms_ssim(x, x, 1, convention=convention) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=rf"^ms_ssim: x must be at least {smallest} along each axis"):
        ms_ssim(x[..., 1:], x[..., 1:], 1, convention=convention)
    with pytest.raises(ValueError, match="convention must be one of 'wang2004', 'torchmetrics', got 'skimage'"):
        ms_ssim(x, x, 1, convention="skimage")


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_cuda_agrees_with_the_cpu(case, dtype):
    shape, options = CASES[case]
    images = [image.requires_grad_() for image in draw(shape, dtype)]
    on_gpu = [image.detach().cuda().requires_grad_() for image in images]
    score, score_gpu = ssim(*images, 1, **options), ssim(*on_gpu, 1, **options)
    score.backward()
    score_gpu.backward()
    assert_close(score_gpu.cpu(), score)
    for image, other in zip(images, on_gpu, strict=True):
        scale = image.grad.abs().max()
        assert_close(other.grad.cpu() / scale, image.grad / scale, atol=1e-5 if image.element_size() > 2 else 1e-2)
