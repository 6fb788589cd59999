"""The loss is one minus the op's SSIM, and gradient descent on it makes images equal."""

from __future__ import annotations

import torch

from pydlx.losses import SSIMLoss
from pydlx.ops import ssim


def test_is_one_minus_ssim():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 3, 20, 24, generator=generator) for _ in range(2))
    torch.testing.assert_close(SSIMLoss(1.0)(x, y), 1 - ssim(x, y, 1.0))
    options = {"reduction": "none", "kernel_size": 5, "sigma": 1.0, "k1": 0.02, "k2": 0.04}
    expected = 1 - ssim(x, y, 1.0, convention="torchmetrics", **options)
    torch.testing.assert_close(SSIMLoss(1.0, "torchmetrics", **options)(x, y), expected)
    assert SSIMLoss(1.0)(x, x).abs() < 1e-5
    assert "data_range=1.0" in repr(SSIMLoss(1.0))


def test_descent_makes_images_alike():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 1, 24, 24, generator=generator)
    image = torch.rand(1, 1, 24, 24, generator=generator).requires_grad_()
    loss, optimiser = SSIMLoss(1.0), torch.optim.Adam([image], lr=0.05)
    before = loss(image, target).item()
    for _ in range(60):
        optimiser.zero_grad()
        loss(image, target).backward()
        optimiser.step()
    assert loss(image, target).item() < 0.1 * before
