"""Projection of plain chains against networks worked out by hand, autograd, and the paper's steps written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pydlx.nn import SoftPool2d
from pydlx.visualize import Deconvnet


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*layers, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(*layers).double()


def one_kept(maps, channel, position):
    kept = torch.zeros_like(maps)
    kept[:, channel, position[0], position[1]] = maps[:, channel, position[0], position[1]]
    return kept


def test_without_rectifiers_it_is_the_gradient():
    layers = [
        nn.Conv2d(2, 4, 3, 2, padding=1, dilation=2),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.Conv2d(4, 6, (2, 3), groups=2, padding=(1, 0)),
        nn.Dropout(),
        nn.AvgPool2d(2, 1),
        nn.Identity(),
    ]
    model = network(*layers)
    model[1].running_mean.uniform_(-1, 1)
    model[1].running_var.uniform_(0.5, 2)
    x = draw(2, 2, 23, 26).requires_grad_()
    maps = model.eval()(x)
    (expected,) = torch.autograd.grad(maps, x, one_kept(maps, 3, (1, 2)).detach())
    torch.testing.assert_close(Deconvnet(model).project(x, "6", 3, (1, 2)), expected, rtol=1e-12, atol=1e-12)


def test_the_steps_of_the_paper_written_out():
    """conv, ReLU, overlapping max pooling, conv, ReLU; back by unpooling, rectifying and the transposed filters."""
    model = network(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(5, 4, 3), nn.ReLU())
    x = draw(1, 3, 13, 13)
    first = F.conv2d(x, model[0].weight, model[0].bias, padding=1).relu()
    pooled, switches = F.max_pool2d(first, 3, 2, return_indices=True)
    second = F.conv2d(pooled, model[3].weight, model[3].bias).relu()
    channel = int(second.amax((0, 2, 3)).argmax())
    position = divmod(int(second[0, channel].argmax()), second.shape[3])

    signal = one_kept(second, channel, position).relu()
    signal = F.conv_transpose2d(signal, model[3].weight)
    unpooled = torch.zeros(5, 13 * 13, dtype=torch.float64)
    for plane in range(5):  # a cell that won several windows gets the sum of their signals
        for cell, value in zip(switches[0, plane].flatten(), signal[0, plane].flatten(), strict=True):
            unpooled[plane, cell] += value
    signal = unpooled.view(1, 5, 13, 13).relu()
    expected = F.conv_transpose2d(signal, model[0].weight, padding=1)

    net = Deconvnet(model)
    torch.testing.assert_close(net.project(x, "4", channel, position), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(net.project(x, "4"), expected, rtol=1e-12, atol=1e-12)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[0, channel][position], x)
    assert not torch.allclose(gradient * second[0, channel][position], expected), "the rules at ReLUs must differ"


def test_one_rectifier_by_hand():
    """Filters 1 and -2 of a pixel, rectified, summed with weights 3 and 4; of 5 that is 15 = 3 relu(5) + 4 relu(-10).

    Back: 15 * (3, 4) = (45, 60) is positive, so the deconvnet keeps both, 45 - 120; the gradient would drop the second.
    """
    model = network(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -2.0]).view(2, 1, 1, 1))
        model[2].weight.copy_(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1))
    x = torch.full((1, 1, 1, 1), 5.0, dtype=torch.float64)
    assert Deconvnet(model).project(x, "2").item() == -75
    with torch.no_grad():
        model[2].weight[0, 1] = -4.0  # now the signal is negative there, and is dropped
    assert Deconvnet(model).project(x, "2").item() == 45


def test_soft_pooling_spreads_by_its_weights():
    x = draw(1, 1, 4, 4)
    projection = Deconvnet(network(SoftPool2d(2))).project(x, "0", 0, (1, 0))
    weights = x[0, 0, 2:, :2].flatten().softmax(0).view(2, 2)
    y = (weights * x[0, 0, 2:, :2]).sum()
    torch.testing.assert_close(projection[0, 0, 2:, :2], y * weights)
    assert projection.count_nonzero() == 4


def test_strongest_and_all():
    model = network(nn.Conv2d(1, 3, 3))
    x = draw(4, 1, 6, 6)
    net, maps = Deconvnet(model), model(x).detach()
    strongest = net.project(x, "0")
    for n in range(4):
        channel, row, column = (int(i) for i in torch.unravel_index(maps[n].argmax(), maps[n].shape))
        torch.testing.assert_close(strongest[n : n + 1], net.project(x[n : n + 1], "0", channel, (row, column)))
    whole = net.project(x, "0", 1, "all")
    torch.testing.assert_close(whole, F.conv_transpose2d(maps[:, 1:2], model[0].weight[1:2]))


class Features(nn.Module):
    """A network as users write them: parts, a module used twice, in-place rectifiers, a head of vectors."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.conv = nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.relu(self.conv(self.features(x)))
        x = self.relu(self.norm(x))
        return self.head(x.mean((2, 3)))


def test_networks_that_are_no_sequential():
    torch.manual_seed(0)
    model = Features().double()
    chain = network(*model.features, model.conv, nn.ReLU(), model.norm, nn.ReLU())
    model.train()
    model.norm.eval()
    x, before = draw(2, 1, 14, 14), {name: value.clone() for name, value in model.state_dict().items()}
    net = Deconvnet(model)
    parts = ["features.0", "features.1", "features.2", "features", "conv", "relu", "norm", "relu:2", "head", "Features"]
    assert net.layers(x) == parts
    kept = x.clone()
    assert torch.equal(net.project(x, "relu:2", 2), Deconvnet(chain).project(x, "6", 2))
    assert torch.equal(
        net.project(x, "relu"), Deconvnet(chain).project(x, "4")
    )  # and not what the second run made of it
    assert torch.equal(x, kept)
    assert model.training and model.features.training and not model.norm.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    with torch.inference_mode():
        assert torch.equal(net.project(x, "conv", 1), net.project(kept, "conv", 1))


def test_vectors_are_maps_of_one_element():
    """The last convolution as wide as the image is the same as a linear layer over the flattened maps."""
    linear = network(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    convolution = network(linear[0], nn.ReLU(), nn.Conv2d(3, 2, 4))
    with torch.no_grad():
        convolution[2].weight.copy_(linear[3].weight.view(2, 3, 4, 4))
        convolution[2].bias.copy_(linear[3].bias)
    x = draw(2, 1, 6, 6)
    for channel in ("strongest", 1):
        found = Deconvnet(linear).project(x, "3", channel)
        torch.testing.assert_close(found, Deconvnet(convolution).project(x, "2", channel), rtol=1e-12, atol=1e-12)


def test_the_network_runs_no_further_than_the_layer():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))  # for 4×4 images
    projection = Deconvnet(model).project(torch.ones(1, 1, 9, 9), "0")
    assert projection.count_nonzero() == 9


def test_bad_arguments():
    net, x = Deconvnet(nn.Sequential(nn.Conv2d(1, 2, 1))), torch.zeros(1, 1, 4, 5)
    for arguments, message in (
        ((x, "1"), "layer must be one of 0, Sequential, got '1'$"),
        ((x, "0", 2), 'channel must be 0 to 1 or "strongest", got 2'),
        ((x, "0", 0, (0, 5)), r"position must lie inside of \(4, 5\), or be .*, got \(0, 5\)"),
        ((x, "0", 0, "best"), "position must lie inside .* got 'best'"),
        ((x[0], "0"), r"images must be floating-point of shape \(N, C, H, W\), .* of shape \(1, 4, 5\)"),
        ((x.int(), "0"), "images must be floating-point of shape .*, got torch.int32"),
    ):
        with pytest.raises(ValueError, match=f"^deconvnet: {message}"):
            net.project(*arguments)
    many = nn.Sequential(*(nn.Identity() for _ in range(40)))
    with pytest.raises(ValueError, match=r"layer must be one of 41 names, such as 4, .*, got '4.relu'$"):
        Deconvnet(many).project(x, "4.relu")
    with pytest.raises(ValueError, match=r"layer must return one tensor .* got '0' with shape \(4,\)"):
        Deconvnet(nn.Sequential(nn.Flatten(0))).project(x[..., :1], "0")
    with pytest.raises(ValueError, match=r"layer must return one tensor .* got '0' with tuple"):
        Deconvnet(nn.Sequential(nn.MaxPool2d(2, return_indices=True))).project(x, "0")
    with pytest.raises(ValueError, match=r"layer must depend on the image, got '0'$"):
        Deconvnet(nn.Sequential(Constant())).project(x, "0")


class Constant(nn.Module):
    def forward(self, x):
        return torch.ones(1, 1, 1, 1)
