"""Image metrics on one well-known pair, against NumPy and scikit-image, and the kinds they take and give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pydlx import metrics
from pydlx.metrics import mae, ms_ssim, mse, psnr, rmse, ssim, std

ERRORS = (mse, rmse, mae)


@pytest.fixture(scope="module")
def pair():
    """A photograph and a noisy copy, both uint8."""
    image = pytest.importorskip("skimage.data").camera()
    noisy = np.clip(image.astype(np.float64) + np.random.default_rng(0).normal(0, 25, image.shape), 0, 255).round()
    return image, noisy.astype(np.uint8)


def draw(shape, dtype=np.float64):
    generator = np.random.default_rng(0)
    x = generator.random(shape)
    return x.astype(dtype), (x + 0.1 * generator.standard_normal(shape)).astype(dtype)


def test_published_numbers(pair):
    """Subtracted as uint8 the mean squared error would be 92.3."""
    x, y = pair
    assert mse(x, y) == pytest.approx(568.0633697509766, rel=1e-12)
    assert rmse(x, y) == pytest.approx(math.sqrt(568.0633697509766), rel=1e-12)
    assert psnr(x, y) == pytest.approx(20.58683575160298, rel=1e-12)
    assert psnr(x.astype(np.float64), y.astype(np.float64), 255) == pytest.approx(20.58683575160298, rel=1e-12)
    assert ssim(x, y) == pytest.approx(0.29050598647265846, abs=1e-6)
    assert ssim(x, y, convention="skimage") == pytest.approx(0.3010889656623548, abs=2e-6)
    assert ms_ssim(x, y, convention="torchmetrics") == pytest.approx(0.7412218757, abs=1e-6)
    assert mae(x, y) == pytest.approx(np.abs(x.astype(float) - y).mean(), rel=1e-12)
    assert std(x) == pytest.approx(x.std(), rel=1e-12)
    assert std(x, ddof=1) == pytest.approx(x.std(ddof=1), rel=1e-12)


def test_standard_deviation_on_any_number_of_threads(pair):
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(std(pair[0]))
    finally:
        torch.set_num_threads(threads)
    assert found == pytest.approx([pair[0].std()] * 2, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_integers_do_not_wrap(dtype):
    limits = np.iinfo(dtype)
    x, y = np.full((12, 12), limits.min, dtype), np.full((12, 12), limits.max, dtype)
    span = float(limits.max) - float(limits.min)
    assert [error(x, y) for error in ERRORS] == [span**2, span, span]
    assert psnr(x, y) == 0
    assert 0 < ssim(x.astype(np.uint8), y.astype(np.uint8)) < 2e-4 or dtype is np.int16


def test_equal_images():
    x, _ = draw((20, 24))
    assert psnr(x, x, 1) == math.inf
    assert psnr(torch.from_numpy(x), torch.from_numpy(x), 1) == math.inf
    assert [error(x, x) for error in ERRORS] == [0, 0, 0]
    assert ssim(x, x, 1) == pytest.approx(1)


def test_colour_arrays_have_their_channels_last():
    x, y = draw((30, 40, 3))
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    expected = similarity(x, y, data_range=1, channel_axis=-1)
    assert ssim(x, y, 1, convention="skimage") == pytest.approx(expected, abs=1e-12)
    planes = [torch.from_numpy(image).permute(2, 0, 1) for image in (x, y)]
    assert ssim(*planes, 1, convention="skimage").item() == pytest.approx(expected, abs=1e-12)
    assert mse(x, y) == pytest.approx(((x - y) ** 2).mean())


@pytest.mark.parametrize("shape", [(16, 18), (3, 16, 18), (2, 3, 16, 18)])
def test_tensors_give_tensors_and_arrays_give_floats(shape):
    x, y = draw(shape)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    for metric, options in ((mse, {}), (rmse, {}), (mae, {}), (psnr, {"data_range": 1}), (ssim, {"data_range": 1})):
        value = metric(a, b, **options)
        assert isinstance(value, torch.Tensor)
        assert value.shape == ()
        if len(shape) == 2:
            number = metric(x, y, **options)
            assert type(number) is float
            assert number == pytest.approx(value.item(), rel=1e-12)
    assert std(a).item() == pytest.approx(x.std(), rel=1e-12)
    assert ssim(a, b, 1).item() == pytest.approx(np.mean([ssim(*p, 1) for p in planes(x, y)]), rel=1e-12)


def planes(x, y):
    return zip(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]), strict=True)


def test_half_precision_is_summed_in_float32():
    x, y = (torch.from_numpy(image).half() for image in draw((64, 64)))
    assert mse(x, y).dtype is torch.float32
    assert mse(x, y).item() == pytest.approx(((x.double() - y.double()) ** 2).mean().item(), rel=1e-5)


def test_other_strides_and_byte_orders():
    x, y = draw((40, 33), np.float32)
    assert mse(x[::2, ::-1], y[::2, ::-1]) == pytest.approx(mse(x[::2], y[::2]))
    assert mse(x.astype(">f4"), y.astype(">f4")) == mse(x, y)


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "psnr", "ssim", "ms_ssim"])
def test_bad_pairs(name):
    metric = getattr(metrics, name)
    options = {} if name in ("mse", "rmse", "mae") else {"data_range": 1}
    x, y = np.zeros((20, 20)), np.zeros((20, 24))
    with pytest.raises(ValueError, match=rf"^{name}: target must have the shape of preds, \(20, 20\), got \(20, 24\)"):
        metric(x, y, **options)
    with pytest.raises(ValueError, match=rf"^{name}: target must have the shape of preds, \(20, 20\), got \(20, 24\)"):
        metric(torch.from_numpy(x), torch.from_numpy(y), **options)
    with pytest.raises(TypeError, match=rf"^{name}: preds and target must be of one kind, got ndarray and Tensor"):
        metric(x, torch.from_numpy(x), **options)
    with pytest.raises(TypeError, match=rf"^{name}: preds must be a torch tensor or a NumPy array, got list"):
        metric([[1.0]], [[1.0]], **options)
    with pytest.raises(
        TypeError, match=rf"^{name}: preds must hold integers or floating-point numbers, got torch\.bool"
    ):
        metric(x > 0, x > 0, **options)
    with pytest.raises(
        ValueError, match=rf"^{name}: preds must have shape \(H, W\) or \(H, W, C\), got \(2, 2, 2, 2\)"
    ):
        metric(np.zeros((2, 2, 2, 2)), np.zeros((2, 2, 2, 2)), **options)


@pytest.mark.parametrize("metric", [psnr, ssim, ms_ssim])
def test_floating_point_images_need_a_range(metric):
    x = np.zeros((20, 20))
    with pytest.raises(ValueError, match=r"data_range must be given for images of torch\.float64, got None"):
        metric(x, x)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_the_mean_alone_is_given(name):
    with pytest.raises(TypeError, match=f"^{name}: reduction must be left out, this is the mean"):
        getattr(metrics, name)(np.ones((200, 200)), np.ones((200, 200)), 1.0, reduction="map")


def test_degrees_of_freedom_are_not_negative():
    with pytest.raises(ValueError, match=r"^std: ddof must be not negative, got -1$"):
        std(np.zeros((4, 4)), ddof=-1)


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "psnr", "ssim"])
def test_floating_dtypes_are_promoted(name):
    """As where an output under autocast meets a float32 target."""
    options = {} if name in ("mse", "rmse", "mae") else {"data_range": 1.0}
    x, y = (torch.from_numpy(image).float() for image in draw((20, 24)))
    metric = getattr(metrics, name)
    for narrow in (torch.bfloat16, torch.half):
        value = metric(x.to(narrow), y, **options)
        assert value.dtype is torch.float32
        assert value.item() == pytest.approx(metric(x.to(narrow).float(), y, **options).item(), rel=1e-6)
        assert metric(y, x.to(narrow), **options).item() == pytest.approx(value.item(), rel=1e-6)
    assert metric(x.double(), y, **options).dtype is torch.float64
    with pytest.raises(TypeError, match=rf"^{name}: target must have the dtype of preds, torch\.uint8, got torch\.flo"):
        metric(torch.zeros(20, 24, dtype=torch.uint8), y, **options)


def test_errors_of_size_name_the_argument():
    with pytest.raises(ValueError, match=r"^ssim: preds must be at least 11 along each axis"):
        ssim(np.ones((8, 8)), np.ones((8, 8)), 1.0)
