"""The Blending GAN: the sizes of the paper's networks, their initialisation, and the variants."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import pydlx


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def tiny(**options):
    return pydlx.create_model("blending_gan", image_size=16, width=4, bottleneck=8, **options)


def test_parameters_are_those_of_the_paper():
    """By hand: k^2 * in * out for each convolution, without biases, and 2 for each channel of batch norm."""
    widths = [64, 128, 256, 512]
    with torch.device("meta"):
        model = pydlx.create_model("blending_gan")
    convolutions = [16 * a * b for a, b in itertools.pairwise([3, *widths, 4000])]
    encoder = sum(convolutions) + 2 * (128 + 256 + 512 + 4000)
    decoder = sum(convolutions) + 2 * (512 + 256 + 128 + 64)
    critic = sum(convolutions[:-1]) + 16 * 512 + 2 * (128 + 256 + 512)
    assert count(model.generator.encoder) == encoder == 35_533_376
    assert count(model.generator.decoder) == decoder == 35_525_504
    assert count(model.generator) == 71_058_880
    assert count(model.critic) == critic == 2_765_568
    with torch.device("meta"):
        unsupervised = pydlx.create_model("blending_gan", noise=100)
    assert count(unsupervised.generator) == sum(convolutions[:-1]) + 16 * 512 * 100 + 2 * (512 + 256 + 128 + 64)


def test_layers_are_those_of_the_paper():
    """Leaky ReLU on the way in, ReLU on the way out; the first features and the picture are not normalised."""
    model = tiny()

    def names(stage):
        """The same network of torch's layers, some of which the model computes in another way."""
        kinds = [[kind for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn")] for layer in stage]
        return [torchs[0].__name__ for torchs in kinds]

    way_in, way_out = model.generator.encoder.stages, model.generator.decoder.stages
    assert names(way_in[0]) == ["Conv2d", "LeakyReLU"]
    assert names(way_in[1]) == names(way_in[-1]) == ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert names(way_out[0]) == ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert names(way_out[-1]) == ["ConvTranspose2d"]
    assert names(model.critic.stages[-1]) == ["Conv2d"]
    slopes = {layer.negative_slope for layer in model.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.2}
    features = model.generator.encoder(torch.zeros(2, 3, 16, 16))
    assert [tuple(f.shape[1:]) for f in features] == [(4, 8, 8), (8, 4, 4), (8, 1, 1)]


def test_weights_begin_as_in_dcgan():
    torch.manual_seed(0)
    model = pydlx.create_model("blending_gan", bottleneck=400)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.weight.numel() > 1e5:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert abs(layer.weight.mean().item()) < 3e-4
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
            assert 0.01 < layer.weight.std().item() < 0.03
            assert not layer.bias.any()


@pytest.mark.parametrize("size", [8, 32, 64])
def test_pictures_keep_their_size_and_range(size):
    model = pydlx.create_model("blending_gan", image_size=size, width=4, bottleneck=8)
    pictures = model(8 * torch.randn(3, 3, size, size))
    assert pictures.shape == (3, 3, size, size)
    assert pictures.abs().max() <= 1
    assert model.score(pictures).shape == ()


@pytest.mark.parametrize("output", ["change", "transform"])
def test_a_network_that_finds_no_change_keeps_the_picture(output):
    model = tiny(output=output)
    model.generator.decoder.stages[-1][0].weight.data.zero_()
    x = 2 * torch.rand(2, 3, 16, 16) - 1
    assert model(x).equal(x)


@pytest.mark.parametrize("output", ["change", "transform"])
def test_pixels_outside_the_mask_are_unchanged(output):
    model = tiny(output=output, mask_input=True, skips=True)
    x, mask = 2 * torch.rand(2, 3, 16, 16) - 1, torch.zeros(2, 1, 16, 16)
    mask[..., 4:9, 5:12] = 1
    made, inside = model(x, mask), mask.expand_as(x) == 1
    assert made[~inside].equal(x[~inside])
    assert not made[inside].isclose(x[inside]).any()


def test_a_transform_is_one_for_all_that_was_pasted():
    """The transform, from the mean of the decoder's features under the mask, is applied to each pixel alone."""
    model = tiny(output="transform", mask_input=True).eval()
    x, mask = 1.6 * torch.rand(2, 3, 16, 16) - 0.8, torch.rand(2, 1, 16, 16)
    transform = model.generator.transform(x, mask)
    features = model.generator._features(x, mask)
    for n in range(2):
        mean = sum(mask[n, 0, i, j] * features[n, :, i, j] for i, j in itertools.product(range(16), range(16)))
        torch.testing.assert_close(transform[n], (mean / mask[n].sum()).view(3, 7))
        pixel, made = x[n, :, 3, 5], model(x, mask)[n, :, 3, 5]
        changed = pixel + transform[n] @ torch.cat([pixel, pixel**2, torch.ones(1)])
        torch.testing.assert_close(made, pixel + mask[n, 0, 3, 5] * (changed.clamp(-1, 1) - pixel))


def test_skips_bring_detail_past_the_bottleneck():
    """Without skips the output depends on the bottleneck's code alone."""
    x = torch.randn(2, 3, 16, 16)
    for skips in (False, True):
        model = tiny(skips=skips).eval()
        model.generator.encoder.stages[-1][0].weight.data.zero_()  # all images get the same code
        first, second = model(x)
        assert first.equal(second) is not skips


def test_the_mask_is_seen_where_it_is_asked_for():
    x, mask = torch.randn(2, 3, 16, 16), torch.zeros(2, 1, 16, 16)
    torch.manual_seed(0)
    seeing, blind = tiny(mask_input=True).eval(), tiny().eval()
    assert not seeing(x, mask).equal(seeing(x, mask + 1))
    assert blind(x, mask).equal(blind(x))


def test_images_are_generated_from_noise():
    model = tiny(noise=5)
    z = torch.randn(4, 5)
    assert model(z).shape == (4, 3, 16, 16)
    assert model.eval()(z).equal(model(z[:, :, None, None]))
    with pytest.raises(ValueError, match=r"blending_gan: x must have shape \(N, 5\), got \(4, 3, 16, 16\)"):
        model(torch.randn(4, 3, 16, 16))


def test_compiles_and_exports():
    model = tiny(skips=True, mask_input=True).eval()
    x, mask = torch.randn(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    exported = torch.export.export(model, (x, mask)).module()
    torch.testing.assert_close(exported(x, mask), model(x, mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "image_size must be a power of two from 8, got 48"),
        ({"image_size": 4}, "image_size must be"),
        ({"width": 0}, "width must be"),
        ({"bottleneck": 1.5}, "bottleneck must be"),
        ({"noise": 0}, "noise must be"),
        ({"critic_width": 0}, "critic_width must be"),
        ({"skips": "yes"}, "skips must be"),
        ({"output": "image"}, "output must be one of"),
        ({"noise": 100, "skips": True}, "skips, output and mask_input must be left out with noise"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=f"^blending_gan: {message}"):
        pydlx.create_model("blending_gan", **options)


def test_unusable_inputs_are_refused():
    x = torch.randn(2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"blending_gan: x must have shape \(N, 3, 16, 16\), got \(2, 3, 32, 32\)"):
        tiny()(torch.randn(2, 3, 32, 32))
    with pytest.raises(TypeError, match="blending_gan: x must be a floating"):
        tiny()(x.long())
    with pytest.raises(ValueError, match=r"blending_gan: mask must have shape \(2, 1, 16, 16\), got None"):
        tiny(mask_input=True)(x)
    with pytest.raises(ValueError, match="blending_gan: critic must be True to score pictures, got False"):
        tiny(critic=False).score(x)
