"""The layers of the Blending GAN that are written as matrix products are the convolutions of the paper."""

import pytest
import torch
from torch import nn

import pydlx
from pydlx.models.gan import blending_gan


@pytest.mark.parametrize("options", [{}, {"noise": 7}, {"skips": True}])
@pytest.mark.parametrize("count", [1, 3])
def test_the_bottleneck_is_a_convolution(monkeypatch, options, count):
    torch.manual_seed(0)
    network = pydlx.create_model("blending_gan", width=3, bottleneck=5, **options).double().eval()
    x = torch.randn(count, *((7,) if options.get("noise") else (3, 64, 64)), dtype=torch.float64)
    pictures = torch.randn(count, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(5)
        products = network(x), network.score(pictures)
        monkeypatch.setattr(blending_gan._ConvToOnePixel, "forward", nn.Conv2d.forward)
        monkeypatch.setattr(blending_gan._ConvFromOnePixel, "forward", nn.ConvTranspose2d.forward)
        torch.testing.assert_close(products, (network(x), network.score(pictures)), rtol=0, atol=1e-10)
