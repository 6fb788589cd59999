"""The rule of each operation, in networks with shortcuts, branches and functions, against other ways to the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import pydlx
from pydlx.models.detection import CornerNet
from pydlx.models.detection.hourglass import Fire, Hourglass, Residual, conv_norm_relu, learned_upsample
from pydlx.models.segmentation import FCN8s
from pydlx.nn import SoftPool2d
from pydlx.visualize import Deconvnet


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Between(nn.Module):
    """A function between two convolutions."""

    def __init__(self, function, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Conv2d(1, 4, 3).double(), nn.Conv2d(4, 2, 3).double()
        self.function = function

    def forward(self, x):
        return self.second(self.function(self.first(x)))


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


class Block(nn.Module):
    """A residual block as torchvision writes it: one ReLU in place for both, the shortcut added in place."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.downsample = nn.Conv2d(2, 3, 1, stride=2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.downsample(x)
        return self.relu(out)


def test_residual_block_by_transposed_convolutions():
    torch.manual_seed(0)
    block = Block().double()
    for norm in (block.bn1, block.bn2):
        norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight)
    x = draw(1, 2, 9, 9)
    top = block.eval()(x).detach()
    scale1, scale2 = (
        (n.weight / (n.running_var + n.eps).sqrt()).detach().view(1, -1, 1, 1) for n in (block.bn1, block.bn2)
    )
    kept = torch.zeros_like(top)
    kept[:, 1] = top[:, 1]
    signal = kept.relu()
    inner = F.conv_transpose2d(signal * scale2, block.conv2.weight, padding=1).relu()
    body = F.conv_transpose2d(inner * scale1, block.conv1.weight, stride=2, padding=1)
    shortcut = F.conv_transpose2d(signal, block.downsample.weight, stride=2)
    net = Deconvnet(block)
    same(net.project(x, "Block", 1, "all"), body + shortcut)
    same(net.project(x, "relu:2", 1, "all"), body + shortcut)


RECTIFIERS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min_(0),
    "ReLU6": nn.ReLU6(),
    "relu6": lambda x: F.relu6(x, inplace=True),
    "clipped": lambda x: x.clamp(0, 1),
    "SiLU": nn.SiLU(),
    "GELU": F.gelu,
    "GELU, tanh": nn.GELU("tanh"),
    "Hardswish": nn.Hardswish(inplace=True),
    "Mish": F.mish,
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_every_rectifier_rectifies_the_signal(name):
    model = Between(RECTIFIERS[name])
    x = draw(2, 1, 8, 8)
    for position in ("all", (2, 1)):
        kept = model(x).detach()
        chosen = torch.zeros_like(kept)
        place = (slice(None), 1) if position == "all" else (slice(None), 1, *position)
        chosen[place] = kept[place]
        signal = F.conv_transpose2d(chosen, model.second.weight).relu()
        same(Deconvnet(model).project(x, "second", 1, position), F.conv_transpose2d(signal, model.first.weight))


REFUSED = {
    "LeakyReLU": nn.LeakyReLU(),
    "Elu": nn.ELU(),
    "Tanh": torch.tanh,
    "Hardtanh": nn.Hardtanh(),
    "ClampMin": lambda x: x.clamp_min(0.5),
    "Clamp": lambda x: x.clamp(max=0.5),
    "Abs": torch.abs,
    "Pow": lambda x: x**2,
    "Exp": torch.exp,
    "Maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "CopySlices": lambda x: x.index_fill_(1, torch.tensor([0]), 0)[:, :4].relu_(),
    "a product of two that do (Mul)": lambda x: x * x.flip(3),
    "a quotient of two that do (Div)": lambda x: x / x.abs().amax(),
    "_Mine": lambda x: _Mine.apply(x),
}


class _Mine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "CopySlices"])
def test_what_has_no_rule_is_refused(name):
    model = Between(REFUSED[name])
    x = draw(1, 1, 6, 6)
    Deconvnet(model).project(x, "first")
    words = {"LeakyReLU": "LeakyRelu"}.get(name, name)
    with pytest.raises(ValueError) as error:
        Deconvnet(model).project(x, "second")
    assert str(error.value).startswith("deconvnet: ") and str(error.value).endswith(f"got {words}")
    assert "\n" not in str(error.value)


def test_a_view_that_is_changed_in_place_is_refused():
    def half(x):
        x[:, :2].relu_()
        return x

    with pytest.raises(ValueError, match=r"got CopySlices$"):
        Deconvnet(Between(half)).project(draw(1, 1, 6, 6), "second")


def with_constant_statistics(function, x, dims):
    """(x - mean) / deviation, both detached."""
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=0)
    return function((x - mean.detach()) / (variance.detach() + 1e-5).sqrt())


@pytest.mark.parametrize("which", ["batch", "instance", "group", "layer", "channels last"])
def test_normalisation_by_the_images_own_statistics_only_scales(which):
    weight, bias = draw(4, seed=1), draw(4, seed=2)
    per_channel = (lambda y: y * weight.view(4, 1, 1) + bias.view(4, 1, 1)) if which != "instance" else lambda y: y
    norm = {
        "batch": nn.BatchNorm2d(4, track_running_stats=False),
        "instance": nn.InstanceNorm2d(4),
        "group": nn.GroupNorm(2, 4),
        "layer": nn.GroupNorm(1, 4),
        "channels last": nn.LayerNorm(4),
    }[which].double()
    if which != "instance":
        with torch.no_grad():
            norm.weight.copy_(weight)
            norm.bias.copy_(bias)

    def by_hand(x):
        if which == "group":
            pairs = with_constant_statistics(lambda y: y, x.unflatten(1, (2, 2)), (2, 3, 4))
            return per_channel(pairs.flatten(1, 2))
        dims = {"batch": (0, 2, 3), "instance": (2, 3), "layer": (1, 2, 3), "channels last": (1,)}[which]
        return with_constant_statistics(per_channel, x, dims)

    def under_test(x):
        return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if which == "channels last" else norm(x)

    x = draw(2, 1, 8, 8)
    found = Deconvnet(Between(under_test)).project(x, "second", 1, (2, 2))
    same(found, Deconvnet(Between(by_hand)).project(x, "second", 1, (2, 2)))


def test_gates_are_constants():
    """Squeeze and excitation: channels are scaled, and what decided on the scale gets nothing."""
    squeeze = nn.Conv2d(4, 4, 1).double()

    def excited(x):
        return x * squeeze(F.adaptive_avg_pool2d(x, 1)).sigmoid()

    def constant(x):
        return x * squeeze(F.adaptive_avg_pool2d(x, 1)).sigmoid().detach()

    x = draw(1, 1, 8, 8)
    same(Deconvnet(Between(excited)).project(x, "second", 0), Deconvnet(Between(constant)).project(x, "second", 0))
    with pytest.raises(ValueError, match=r"layer must depend on the image, got '1'$"):
        Deconvnet(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sigmoid())).project(x.float(), "1")


class _RectifySignal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, top):
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx, signal):
        return signal.clamp(min=0), None


class OwnRectifiers(TorchFunctionMode):
    """Another way to the same: every call of a ReLU is replaced, and the plain gradient taken."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (F.relu, torch.relu):
            return _RectifySignal.apply(args[0], torch.inf)
        if function in (F.relu6, F.hardtanh):
            return _RectifySignal.apply(args[0], 6.0)
        return function(*args, **(kwargs or {}))


def by_replaced_calls(model, x, layer, channel):
    maps = []
    hook = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: maps.append(output.clone()))
    pixels = x.clone().requires_grad_()
    with OwnRectifiers():
        model.eval()(pixels)
    hook.remove()
    kept = torch.zeros_like(maps[0])
    kept[:, channel] = maps[0][:, channel].detach()
    return torch.autograd.grad(maps[0], pixels, kept)[0]


def calibrated(model, x):
    """The model in float64 with its normalisations fitted to images, so that signals neither fade nor grow."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.double().train()(x)
    return model.eval()


def test_efficientnet_lite0():
    torch.manual_seed(0)
    x = draw(2, 3, 64, 64)
    model = calibrated(FCN8s(num_classes=3, backbone="efficientnet_lite0", dropout=0.0, features_only=True), x)
    for layer in ("backbone.blocks.0", "backbone.blocks.4", "backbone.drop"):
        found = Deconvnet(model).project(x, layer, 1, "all")
        assert found.abs().amax() > 0
        same(found, by_replaced_calls(model, x, layer, 1))


@pytest.mark.parametrize("pool", ["max", "soft"])
def test_fcn_with_skips(pool):
    """Scores of three depths, added: crops, fixed deconvolutions and, with SoftPool, soft switches."""
    torch.manual_seed(0)
    x = draw(1, 3, 40, 40)
    model = calibrated(FCN8s(num_classes=2, backbone="slim_vgg", pool=pool, dropout=0.0), x)
    for parameter in model.parameters():  # the scores are zero until the network is trained
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    for module in model.modules():
        if isinstance(module, SoftPool2d):
            module.gradient = "paper"
    expected = by_replaced_calls(model, x, "", 1)
    for module in model.modules():
        if isinstance(module, SoftPool2d):
            module.gradient = "exact"
    found = Deconvnet(model).project(x, "FCN8s", 1, "all")
    assert found.abs().amax() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_cornernet(backend):
    """Hourglasses with shortcuts and skips, transposed convolutions, corner pooling of two branches."""
    torch.manual_seed(0)
    x = draw(2, 3, 32, 32)
    hourglasses = [Hourglass([16, 16, 24], [1, 1, 2], Fire, learned_upsample) for _ in range(2)]
    pre = nn.Sequential(conv_norm_relu(3, 16, 3, stride=2), Residual(16, 16, stride=2))
    model = CornerNet(pre, hourglasses, 2, stride=4, head_kernel=3, norm="batch", features_only=False)
    calibrated(model, x)
    with pydlx.backend(backend if pydlx.build_info()["native"] else "reference"):
        for layer in ("hourglasses.0", "heads.1.top_left.heat"):
            found = Deconvnet(model).project(x[:1], layer, 1, "all")
            assert found.abs().amax() > 0
            torch.testing.assert_close(found, by_replaced_calls(model, x[:1], layer, 1), rtol=1e-9, atol=1e-12)


def test_captum_agrees():
    """Captum starts from 1 where the paper keeps the activation, and has no rule but for ``nn.ReLU``."""
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    model = nn.Sequential(*layers).double()
    x = draw(3, 1, 16, 16)
    captums = attr.Deconvolution(model).attribute(x, target=(1, 2, 1))
    same(Deconvnet(model).project(x, "5", 1, (2, 1)), captums * model(x)[:, 1, 2, 1].detach().view(-1, 1, 1, 1))
