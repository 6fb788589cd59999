"""Method gp-gan with a network that tells a change of light: the source is put under it on every level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pydlx
from pydlx.blending import blend

# x becomes 0.5 x + 0.1 x^2 + 0.2 for each channel, and red takes a little of green.
TRANSFORM = torch.tensor(
    [[-0.5, 0.1, 0, 0.1, 0, 0, 0.2], [0, -0.5, 0, 0, 0.1, 0, 0.2], [0, 0, -0.5, 0, 0, 0.1, 0.2]], dtype=torch.float64
)


@pytest.fixture
def network():
    """Finds the same light for all pictures."""
    model = pydlx.create_model("blending_gan", image_size=8, width=4, bottleneck=8, output="transform", mask_input=True)
    last = model.generator.decoder.stages[-1][0]
    last.weight.data.zero_()
    last.register_forward_hook(lambda layer, given, made: made + TRANSFORM.flatten()[:, None, None].to(made))
    return model.double()


def scene(seed=0, size=(20, 30), low=0.2, high=0.8):
    draw = torch.Generator().manual_seed(seed)
    source, target = (low + (high - low) * torch.rand(3, *size, generator=draw, dtype=torch.float64) for _ in range(2))
    mask = torch.zeros(size, dtype=torch.float64)
    mask[5:14, 8:20] = 1
    return source, target, mask


def relit(source):
    x = 2 * source - 1
    y = 0.5 * x + 0.1 * x**2 + 0.2
    y[0] += 0.1 * x[1]
    return (y.clamp(-1, 1) + 1) / 2


def test_the_source_is_put_under_the_light(network):
    """On one level it is Gaussian-Poisson blending of the changed source, with little weight of colours."""
    source, target, mask = (x[..., :8, :8] for x in scene(size=(14, 20)))
    mask = mask * 0
    mask[2:6, 3:7] = 1
    expected = blend(relit(source), target, mask, method="gaussian-poisson", beta=0.01)
    torch.testing.assert_close(blend(source, target, mask, method="gp-gan", network=network), expected)
    stronger = blend(source, target, mask, method="gp-gan", network=network, beta=1.0)
    torch.testing.assert_close(stronger, blend(relit(source), target, mask, method="gaussian-poisson", beta=1.0))


def test_all_levels_are_under_the_light(network):
    """Flat pictures, so that levels differ in size alone: what is pasted gets the light's colour, up to the pull."""
    _, _, mask = scene(size=(40, 60))
    source = torch.full((3, 40, 60), 0.4, dtype=torch.float64)
    target = relit(source)
    torch.testing.assert_close(blend(source, target, mask, method="gp-gan", network=network, taps="normalised"), target)
    assert not blend(source, target, mask, method="gp-gan", network=network, beta=1.0).isclose(source).any()


def test_integers_batches_and_grey_pictures(network):
    source, target, mask = scene()
    one = blend(source, target, mask, method="gp-gan", network=network)
    targets = torch.stack([target, target.flip(-1), target])
    several = blend(source, targets, mask, method="gp-gan", network=network)
    torch.testing.assert_close(several[0], one)
    torch.testing.assert_close(several[2], one)
    planes = [(255 * x.movedim(0, 2)).round().byte().numpy() for x in (source, target)]
    whole = blend(*planes, mask.numpy(), method="gp-gan", network=network)
    assert np.abs(whole / 255.0 - one.movedim(0, 2).numpy()).max() < 0.01
    grey = blend(source[0], target[0], mask, method="gp-gan", network=network)
    three = blend(*(x[:1].expand(3, -1, -1) for x in (source, target)), mask, method="gp-gan", network=network)
    torch.testing.assert_close(grey, three.mean(0), rtol=0, atol=2e-3)  # clipped before or after the mean


def test_brighter_than_white_stays(network):
    """What a source has beyond white is added again, so its contrast stays."""
    source, target, mask = scene()
    source[:, 8:10, 12:14] = 7.0
    made = blend(source, target, mask, method="gp-gan", network=network)
    assert made[:, 8:10, 12:14].min() > 4


def test_gradients_go_through_network_and_solves():
    torch.manual_seed(0)
    model = pydlx.create_model("blending_gan", image_size=8, width=2, bottleneck=4, output="transform", mask_input=True)
    for stage in (model.generator.decoder.stages[-1][0], model.generator.encoder.stages[0][0]):
        stage.weight.data *= 10
    inputs = [x[..., 4:13, 6:17].clone().requires_grad_() for x in scene(size=(14, 20))[:2]]
    soft = (0.2 + 0.6 * torch.rand(9, 11, dtype=torch.float64)).requires_grad_()

    def blended(source, target, mask):
        return blend(source, target, mask, method="gp-gan", network=model.double())

    assert torch.autograd.gradcheck(blended, (*inputs, soft), fast_mode=True)
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("options", [{"output": "transform"}, {}, {"noise": 3}])
def test_a_network_of_no_numbers_is_refused(options):
    model = pydlx.create_model("blending_gan", image_size=8, width=2, bottleneck=4, **options)
    for weight in model.parameters():
        weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="blend: network must make finite pictures, got NaN or infinity"):
        blend(*scene(), method="gp-gan", network=model)


def test_only_such_networks_tell_a_light():
    with pytest.raises(ValueError, match="output must be 'transform' to find a change of light"):
        pydlx.create_model("blending_gan", image_size=8, width=2, bottleneck=4).transform(torch.zeros(1, 3, 8, 8))
