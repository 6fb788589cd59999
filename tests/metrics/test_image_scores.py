"""Metric classes of images against their functions, torchmetrics' classes, and sums by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torchmetrics.image
from torchmetrics import MeanAbsoluteError, MeanSquaredError

from pydlx import metrics
from pydlx.metrics import MAE, MSE, MSSSIM, PSNR, RMSE, SSIM


def pairs(side=24, count=3):
    """Batches that differ in noise, so that means over images and over values differ."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        target = torch.rand(2, 3, side, side + 2, generator=generator)
        found.append((target + 0.02 * (number + 1) * torch.randn(target.shape, generator=generator), target))
    return found


def filled(metric, batches):
    for preds, target in batches:
        metric.update(preds, target)
    return metric


def joined(batches):
    return [torch.cat(side) for side in zip(*batches, strict=True)]


def of_each_image(function, batches, *options):
    values = [function(*pair, *options).item() for pair in zip(*joined(batches), strict=True)]
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("metric", "function", "options"),
    [(MSE, metrics.mse, ()), (RMSE, metrics.rmse, ()), (MAE, metrics.mae, ()), (PSNR, metrics.psnr, (1.0,))],
)
def test_over_the_data_set_and_over_images(metric, function, options):
    batches = pairs()
    options_by_name = {"data_range": options[0]} if options else {}
    pooled = filled(metric(**options_by_name), batches).compute()
    assert pooled.item() == pytest.approx(function(*joined(batches), *options).item(), rel=1e-6)
    by_image = filled(metric(**options_by_name, level="image"), batches).compute()
    assert by_image.item() == pytest.approx(of_each_image(function, batches, *options), rel=1e-6)
    if metric in (RMSE, PSNR):
        assert by_image.item() != pytest.approx(pooled.item(), rel=1e-3)


def test_images_of_several_sizes():
    small, large = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)
    batches = [(small + 1, small), (large, large)]
    assert filled(MSE(), batches).compute() == 4 / 20
    assert filled(MSE("image"), batches).compute() == 1 / 2


@pytest.mark.parametrize(
    ("ours", "peer", "tolerance"),
    [
        (MSE(), MeanSquaredError(), 1e-6),
        (RMSE(), MeanSquaredError(squared=False), 1e-6),
        (MAE(), MeanAbsoluteError(), 1e-6),
        (PSNR(1.0), torchmetrics.image.PeakSignalNoiseRatio(1.0), 1e-6),
        (
            PSNR(1.0, "image"),
            torchmetrics.image.PeakSignalNoiseRatio(1.0, dim=(1, 2, 3), reduction="elementwise_mean"),
            1e-6,
        ),
        (SSIM(1.0, "torchmetrics"), torchmetrics.image.StructuralSimilarityIndexMeasure(data_range=1.0), 1e-5),
        (
            MSSSIM(1.0, "torchmetrics", weights=[0.4, 0.6], kernel_size=5, sigma=0.6),
            torchmetrics.image.MultiScaleStructuralSimilarityIndexMeasure(
                data_range=1.0, betas=(0.4, 0.6), kernel_size=5, sigma=0.6
            ),
            1e-5,
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "update") else None,
)
def test_same_as_torchmetrics(ours, peer, tolerance):
    batches = pairs()
    assert filled(ours, batches).compute().item() == pytest.approx(
        filled(peer, batches).compute().item(), rel=tolerance
    )


@pytest.mark.parametrize("metric", [SSIM(1.0), SSIM(1.0, "skimage"), MSSSIM(1.0, weights=[0.5, 0.5])])
def test_similarities_are_means_over_images(metric):
    batches = pairs()
    function = metrics.ms_ssim if isinstance(metric, MSSSIM) else metrics.ssim
    options = {key: value for key, value in metric.options().items() if key != "data_range"}
    expected = [function(*pair, 1.0, **options).item() for pair in zip(*joined(batches), strict=True)]
    assert filled(metric, batches).compute().item() == pytest.approx(sum(expected) / len(expected), rel=1e-6)


def test_bytes_and_single_images():
    generator = torch.Generator().manual_seed(0)
    preds, target = torch.randint(0, 256, (2, 3, 16, 18), generator=generator).byte()
    for metric, function in ((MSE(), metrics.mse), (PSNR(), metrics.psnr), (SSIM(), metrics.ssim)):
        for image in ((preds, target), (preds[0], target[0])):
            metric.reset()
            assert metric(*image).item() == pytest.approx(function(*image).item(), rel=1e-6)
    both = PSNR()  # whose states are relative to the range, so that depths may differ
    both.update(preds, target)
    both.update(preds.to(torch.int16) * 257 - 32768, target.to(torch.int16) * 257 - 32768)
    assert both.compute().item() == pytest.approx(metrics.psnr(preds, target).item(), rel=1e-9)


def test_equal_images():
    (preds, target), *_ = pairs()
    batch = torch.cat([preds, target]), torch.cat([target, target])
    assert PSNR(1.0)(target, target) == math.inf
    by_image = PSNR(1.0, "image")
    assert by_image(target, target) == math.inf
    by_image.reset()
    by_image.update(*batch)
    alone = PSNR(1.0, "image")(preds, target)
    assert (by_image.compute(), by_image.equal_images) == (alone, 2)


def test_sums_hold_every_digit():
    """In float32 a sum of a million ones, and one more, is a million."""
    metric = MSE()
    metric.update(torch.full((1, 1, 5000, 4000), 1.0), torch.zeros(1, 1, 5000, 4000))
    metric.update(torch.full((1, 1, 1, 1), 2.0), torch.zeros(1, 1, 1, 1))
    assert metric.total.item() == 20_000_004
    assert MSE()(torch.full((1, 4, 4), 1e-30), torch.zeros(1, 4, 4)).item() == pytest.approx(1e-60)


def test_bad_input():
    image = torch.zeros(1, 3, 16, 16)
    for make in (MSE, RMSE, MAE, lambda: PSNR(1.0), lambda: SSIM(1.0), lambda: MSSSIM(1.0)):
        name = type(make()).__name__
        with pytest.raises(ValueError, match=rf"^{name}: target must have the shape of preds, \(1, 3, 16, 16\), got"):
            make().update(image, image[:, :1])
        with pytest.raises(TypeError, match=rf"^{name}: preds must be a tensor, got ndarray"):
            make().update(image.numpy(), image)
    with pytest.raises(ValueError, match=r"^PSNR: data_range must be given for images of torch\.float32, got None"):
        PSNR().update(image, image)
    with pytest.raises(TypeError, match=r"^PSNR: data_range must be a number, got \(0, 1\)"):
        PSNR((0, 1))
    with pytest.raises(ValueError, match=r"^ms_ssim: preds must be at least 161 along each axis"):
        MSSSIM(1.0).update(image, image)
    with pytest.raises(
        ValueError, match=r"^MSSSIM: convention must be one of 'wang2004', 'torchmetrics', got 'skimage'"
    ):
        MSSSIM(1.0, "skimage")
