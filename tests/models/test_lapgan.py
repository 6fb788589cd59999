"""LAPGAN: shapes and counts of every network, the pyramid by hand, and sampling from coarse to fine."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pydlx.models import create_model, list_models, load_model, save_model
from pydlx.models.gan import LAPGAN
from pydlx.models.gan.lapgan import rescale
from pydlx.models.gan.lapgan_parts import ChannelLPPool

SMALL = {"base_units": 20, "base_discriminator_units": 10, "width": 4}


def small(**options):
    torch.manual_seed(0)
    return create_model("lapgan_cifar10", **{**SMALL, **options}).eval()


def on_meta(name, **options):
    with torch.device("meta"):
        return create_model(name, **options).eval()


def counts(networks):
    return [sum(p.numel() for p in network.parameters()) for network in networks]


def convolution(inputs, outputs, side, groups=1):
    return inputs // groups * outputs * side**2 + outputs


def dense(*units):
    return sum((a + 1) * b for a, b in itertools.pairwise(units))


def test_there_are_three():
    assert list_models("lapgan*") == ["lapgan_cifar10", "lapgan_lsun", "lapgan_stl10"]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("lapgan_cifar10", [8, 16, 32]),
        ("lapgan_stl10", [8, 16, 32, 64, 96]),
        ("lapgan_lsun", [4, 8, 16, 32, 64]),
    ],
)
@pytest.mark.parametrize("classes", [None, 10])
def test_sizes(name, sizes, classes):
    model = on_meta(name, num_classes=classes)
    labels = None if classes is None else torch.zeros(2, dtype=torch.int64, device="meta")
    noises = [model.draw_noise(level, 2) for level in range(len(sizes))]
    assert [tuple(z.shape) for z in noises] == [(2, 100), *((2, 1, size, size) for size in sizes[1:])]
    assert [tuple(x.shape) for x in model(noises, labels)] == [(2, 3, size, size) for size in sizes]
    for level, entry in enumerate(model.pyramid(torch.empty(2, 3, sizes[-1], sizes[-1], device="meta"))):
        assert model.discriminate(level, entry.difference, entry.coarse, labels).shape == (2,)
    if name != "lapgan_cifar10":
        return
    with pytest.raises(ValueError, match=r"pictures must have shape \(N, 3, 32, 32\), got \(2, 3, 32, 31\)"):
        model.pyramid(torch.empty(2, 3, 32, 31, device="meta"))


def test_counts_of_the_base():
    plain, labelled = on_meta("lapgan_cifar10"), on_meta("lapgan_cifar10", num_classes=10)
    assert counts(plain.generators)[0] == dense(100, 8000, 8000, 192) == 66_352_192
    assert counts(plain.discriminators)[0] == dense(192, 1600, 1600, 1) == 2_872_001
    assert counts(labelled.generators)[0] == dense(110, 8000, 8000, 192)
    assert counts(labelled.discriminators)[0] == dense(202, 1600, 1600, 1)


@pytest.mark.parametrize("classes", [None, 10])
def test_counts_of_the_small_refinement(classes):
    """Generators of 7, 7 and 5 pixels; discriminators of 5 and 5 pixels without padding, the second of stride 2."""
    model = on_meta("lapgan_stl10", num_classes=classes)
    extra = 0 if classes is None else 1
    for size, makes, tells in zip(
        (16, 32, 64, 96), counts(model.generators)[1:], counts(model.discriminators)[1:], strict=True
    ):
        label_map = extra * dense(10, size**2)
        assert makes == label_map + convolution(4 + extra, 64, 7) + convolution(64, 64, 7) + convolution(64, 3, 5)
        left = (size - 4 - 5) // 2 + 1
        assert tells == label_map + convolution(3 + extra, 64, 5) + convolution(64, 64, 5) + dense(64 * left**2, 1)
    assert counts(on_meta("lapgan_cifar10").generators)[1:] == [218_179, 218_179]
    assert counts(on_meta("lapgan_cifar10").discriminators)[1:] == [108_353, 116_545]


@pytest.mark.parametrize("classes", [None, 10])
def test_counts_of_the_large_refinement(classes):
    """For 32 pixels the last features have 166,400 numbers, as in the authors' description of the network."""
    model = on_meta("lapgan_lsun", num_classes=classes)
    extra = 0 if classes is None else 1
    for size, makes, tells in zip(
        (8, 16, 32, 64), counts(model.generators)[1:], counts(model.discriminators)[1:], strict=True
    ):
        label_map = extra * dense(10, size**2)
        hidden = convolution(64, 368, 7, 4) + convolution(368, 128, 7, 4) + convolution(64, 224, 5, 2)
        assert makes == label_map + convolution(4 + extra, 64, 7) + hidden + convolution(224, 3, 7)
        left = size if size < 13 else size - 12
        hidden = convolution(48, 448, 5, 4) + convolution(448, 416, 7, 16)
        assert tells == label_map + convolution(3 + extra, 48, 3) + hidden + dense(416 * left**2, 1)
    assert 416 * (32 - 12) ** 2 == 166_400


def test_layers_of_the_large_generator():
    layers = on_meta("lapgan_lsun").generators[1].layers
    kinds = [type(layer).__name__ for layer in layers]
    block = ["Conv2d", "ReLU", "BatchNorm2d"]
    assert kinds == [*block, *block, "Dropout2d", *block, "ChannelLPPool", *block, "Dropout2d", "Conv2d", "BatchNorm2d"]
    assert not any(layer.affine for layer in layers if isinstance(layer, nn.BatchNorm2d))
    assert isinstance(on_meta("lapgan_lsun", output_norm=False).generators[1].layers[-1], nn.Conv2d)


def test_lp_pooling_is_the_norm_of_pairs():
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    expected = torch.stack([torch.hypot(x[:, 2 * n], x[:, 2 * n + 1]) for n in range(3)], 1)
    torch.testing.assert_close(ChannelLPPool()(x), expected, rtol=1e-9, atol=1e-5)
    zero = torch.zeros(1, 2, 1, 1, requires_grad=True)
    ChannelLPPool()(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_the_pyramid_by_hand():
    """Downsampling averages 2 x 2 pixels; the difference plus the upsampled coarser image is the image."""
    model = small()
    model.mean.copy_(torch.tensor([0.2, 0.4, 0.6]))
    model.std.copy_(torch.tensor([0.5, 0.25, 2.0]))
    pictures = torch.rand(2, 3, 32, 32)
    levels = model.pyramid(pictures)
    image = (pictures - torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 2.0]).view(3, 1, 1)
    for level, smaller in ((2, 16), (1, 8)):
        entry = levels[level]
        torch.testing.assert_close(entry.image, image)
        image = F.avg_pool2d(image, 2)
        expected = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
        torch.testing.assert_close(entry.coarse, expected)
        torch.testing.assert_close(entry.difference + entry.coarse, entry.image)
        assert image.shape[-1] == smaller
    assert levels[0].coarse is None
    torch.testing.assert_close(levels[0].image, image)
    torch.testing.assert_close(levels[0].difference, image)
    torch.testing.assert_close(model.pictures(levels[2].image), pictures)


def test_sizes_need_no_common_factor():
    x = torch.arange(96.0).expand(1, 1, 96, 96)
    torch.testing.assert_close(rescale(x, 64)[0, 0, 0, 1:3], torch.tensor([1.75, 3.25]))  # at 1.5 (j + 1/2) - 1/2
    assert [tuple(level.image.shape) for level in small(sizes=[5, 14, 28]).pyramid(torch.rand(1, 3, 28, 28))] == [
        (1, 3, 5, 5),
        (1, 3, 14, 14),
        (1, 3, 28, 28),
    ]


def test_sampling_adds_differences_from_coarse_to_fine():
    model = small(num_classes=3)
    chain = model.sample(4, torch.tensor([0, 1, 2, 0]), torch.Generator().manual_seed(5))
    assert [tuple(x.shape) for x in chain] == [(4, 3, 8, 8), (4, 3, 16, 16), (4, 3, 32, 32)]
    generator, labels = torch.Generator().manual_seed(5), torch.tensor([0, 1, 2, 0])
    noise = [2 * torch.rand(4, *shape, generator=generator) - 1 for shape in ((100,), (1, 16, 16), (1, 32, 32))]
    with torch.no_grad():
        image = model.generators[0](noise[0], None, labels)
        for level, size in ((1, 16), (2, 32)):
            torch.testing.assert_close(chain[level - 1], (image / 2 + 0.5).clamp(0, 1))
            coarse = F.interpolate(image, (size, size), mode="bilinear")
            image = coarse + model.generators[level](noise[level], coarse, labels)
    torch.testing.assert_close(chain[2], (image / 2 + 0.5).clamp(0, 1))
    assert all(x.min() >= 0 and x.max() <= 1 and not x.requires_grad for x in chain)


def test_samples_follow_from_the_generator():
    model = small(num_classes=3)
    first, again, other = (model.sample(3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])
    torch.manual_seed(1)
    assert torch.equal(model.sample(3)[2], first[2])


def test_noise_is_uniform():
    noise = small().draw_noise(2, 200, torch.Generator().manual_seed(0))
    assert -1 <= noise.min() < -0.99 and 0.99 < noise.max() < 1
    assert noise.var().item() == pytest.approx(1 / 3, rel=0.01)


def test_labels_reach_every_network():
    model = small(num_classes=3)
    a, b = torch.zeros(2, dtype=torch.int32), torch.ones(2, dtype=torch.int64)
    pyramid = model.pyramid(torch.rand(2, 3, 32, 32))
    for level, entry in enumerate(pyramid):
        noise = model.draw_noise(level, 2)
        assert not torch.equal(
            model.generate(level, noise, entry.coarse, a), model.generate(level, noise, entry.coarse, b)
        )
        assert not torch.equal(
            model.discriminate(level, entry.difference, entry.coarse, a),
            model.discriminate(level, entry.difference, entry.coarse, b),
        )


def test_discriminators_see_the_sum():
    """The discriminator sees the sum: moving a value from the coarser image to the difference changes nothing."""
    model = small()
    entry = model.pyramid(torch.rand(2, 3, 32, 32))[2]
    shift = torch.randn_like(entry.difference)
    expected = model.discriminate(2, entry.difference, entry.coarse)
    torch.testing.assert_close(model.discriminate(2, entry.difference + shift, entry.coarse - shift), expected)


def test_initialisation():
    model = create_model("lapgan_cifar10", base_units=400, base_discriminator_units=300)
    for network, deviation in ((model.generators[0], 0.05), (model.discriminators[0], 0.005)):
        layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
        assert len(layers) == 3
        for layer in layers[:2]:
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
            assert abs(layer.weight.mean().item()) < deviation / 50
        assert not any(layer.bias.any() for layer in layers)
    limit = 1 / math.sqrt(4 * 49)
    weight = model.generators[1].layers[0].weight
    assert 0.98 * limit < weight.abs().max() <= limit


def test_options_of_the_base():
    model = small(base_activation="relu", noise=7, dropout=0.25)
    kinds = [type(layer).__name__ for layer in model.generators[0].layers]
    assert kinds == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [type(layer).__name__ for layer in small().generators[0].layers][3] == "Sigmoid"
    assert model.draw_noise(0, 2).shape == (2, 7)
    dropouts = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
    assert dropouts == [0.25] * 4
    assert small(discriminator_width=6).discriminators[1].layers[0].out_channels == 6


def test_the_kind_of_refinement_is_free():
    assert (
        counts(on_meta("lapgan_cifar10", refinement="large").generators)[1]
        == counts(on_meta("lapgan_lsun").generators)[2]
    )


def test_levels_are_copied_from_another_model():
    model, other = small(), small()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.take_level(1, other)
    for name, tensor in model.state_dict().items():
        expected = other.state_dict() if name.split(".")[1:2] == ["1"] else before
        assert torch.equal(tensor, expected[name]), name
    for wrong, message in (
        ((3, other), "level must be from 0 to 2, got 3"),
        ((-1, other), "level must be not negative, got -1"),
        ((1, 5), "other must be a LAPGAN, got 5"),
        ((1, small(width=5)), "other must have the options, the mean and the std of this network, got others"),
        (
            (0, small(base_activation="relu")),
            "other must have the options, the mean and the std of this network, got others",
        ),
    ):
        with pytest.raises((ValueError, TypeError), match=f"^lapgan: {message}$"):
            model.take_level(*wrong)
    other.mean.fill_(0.1)
    with pytest.raises(ValueError, match="must have the options, the mean and the std"):
        model.take_level(1, other)


def test_it_goes_into_a_file(tmp_path):
    model = small(num_classes=2, sizes=[8, 16])
    model.mean.fill_(0.25)
    save_model(model, tmp_path / "lapgan.pt")
    loaded = load_model(tmp_path / "lapgan.pt")
    assert isinstance(loaded, LAPGAN) and loaded.sizes == [8, 16] and not loaded.training
    first, second = (m.sample(2, generator=torch.Generator().manual_seed(0)) for m in (model, loaded))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be positive, got 0"),
        ({"sizes": [16, 8]}, r"sizes must grow from the first to the last, got \[16, 8\]"),
        ({"sizes": []}, r"sizes must grow from the first to the last, got \[\]"),
        ({"sizes": [8, 8]}, r"sizes must grow .*, got \[8, 8\]"),
        ({"sizes": 8}, "sizes must be a list of whole numbers, got 8"),
        ({"sizes": [1, 2]}, "sizes must be at least 2, got 1"),
        ({"base_units": 0}, "base_units must be positive, got 0"),
        ({"base_discriminator_units": 1.5}, "base_discriminator_units must be a whole number, got 1.5"),
        ({"width": -1}, "width must be positive, got -1"),
        ({"discriminator_width": 0}, "discriminator_width must be positive, got 0"),
        ({"noise": 0}, "noise must be positive, got 0"),
        ({"channels": 0}, "channels must be positive, got 0"),
        ({"base_activation": "tanh"}, "base_activation must be one of 'sigmoid', 'relu', got 'tanh'"),
        ({"refinement": "huge"}, "refinement must be one of 'cifar', 'large', got 'huge'"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
        ({"dropout": "x"}, "dropout must be a number, got 'x'"),
        ({"output_norm": 1}, "output_norm must be True or False, got 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=f"^lapgan: {message}$"):
        create_model("lapgan_cifar10", **options)


def test_bad_calls():
    plain, labelled = small(), small(num_classes=3)
    for model, arguments, message in (
        (plain, (0,), "n must be positive, got 0"),
        (plain, (2, torch.zeros(2, dtype=torch.int64)), r"labels must be None without num_classes, got Tensor"),
        (plain, (2, None, 5), "generator must be a torch.Generator or None, got 5"),
        (labelled, (2, torch.zeros(2)), "labels must be integers, got torch.float32"),
        (labelled, (2, torch.zeros(3, dtype=torch.int64)), r"labels must have shape \(2,\), got \(3,\)"),
        (labelled, (2, torch.tensor([0, 3])), "labels must be from 0 to 2, got 3"),
        (labelled, (2, torch.tensor([-1, 2])), "labels must be from 0 to 2, got -1"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"^lapgan: {message}"):
            model.sample(*arguments)
    with pytest.raises(ValueError, match="noises must be one for each of 3 levels, got 1"):
        plain([torch.zeros(2, 100)])
    with pytest.raises(TypeError, match="labels must be a tensor, got NoneType"):
        labelled([labelled.draw_noise(level, 2) for level in range(3)])
    with pytest.raises(TypeError, match=r"pictures must be a floating-point tensor, got torch\.uint8"):
        plain.pyramid(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
