"""FCN: published parameter counts and crop offsets, alignment of scores with pixels, and initialisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pydlx.models import create_model, load_model, save_model
from pydlx.models.segmentation import preprocess
from pydlx.models.segmentation.preprocessing import image_of
from pydlx.nn import BilinearUpsample2d, SoftPool2d, layer_geometry
from pydlx.nn.arithmetic import Window, receptive_field

VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s_at_once")
LAYOUTS = (("vgg16", "paper"), ("vgg16", "exact"), ("slim_vgg", "exact"), ("efficientnet_lite0", None))


def on_meta(name, **options):
    """A model on the meta device, for shapes and parameter counts."""
    with torch.device("meta"):
        return create_model(name, **options).eval()


def small(name="fcn8s", **options):
    """A slim model of three classes with random weights of a fixed seed, so that its scores are not zero."""
    torch.manual_seed(0)
    model = create_model(name, **{"num_classes": 3, "backbone": "slim_vgg", **options})
    for key, layer in model.named_children():
        if key.startswith("score"):
            nn.init.normal_(layer.weight, std=0.1)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "classes", "every", "trained"),
    [
        ("fcn32s", 21, 136_152_917, 134_346_581),
        ("fcn16s", 21, 134_815_994, 134_357_354),
        ("fcn8s", 21, 134_489_759, 134_362_751),
        ("fcn8s_at_once", 21, 134_489_759, 134_362_751),
        ("fcn32s", 11, 134_801_227, 134_305_611),
        ("fcn16s", 11, 134_437_094, 134_311_254),
        ("fcn8s", 11, 134_348_929, 134_314_081),
    ],
)
def test_published_counts(name, classes, every, trained):
    """Counts with the deconvolutions, which have a kernel for each pair of classes, and without."""
    model = on_meta(name, num_classes=classes)
    assert sum(p.numel() for p in model.parameters()) == every
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    assert all(p.requires_grad for p in on_meta(name, num_classes=classes, deconvolution="learned").parameters())


def test_counts_of_the_other_backbones():
    """EfficientNet-Lite0 has 4,652,008 parameters, of which its last layer has 1,281,000."""
    counts = {
        name: sum(p.numel() for p in on_meta("fcn32s", backbone=name).backbone.parameters())
        for name in ("vgg16", "slim_vgg", "efficientnet_lite0")
    }
    assert counts == {"vgg16": 134_260_544, "slim_vgg": 2_808_608, "efficientnet_lite0": 4_652_008 - 1_281_000}


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 65), (375, 500)])
@pytest.mark.parametrize(("backbone", "padding"), LAYOUTS)
def test_every_size_gives_its_own(backbone, padding, size):
    for name in VARIANTS[:3]:
        model = on_meta(name, backbone=backbone, padding=padding)
        assert model(torch.empty(2, 3, *size, device="meta")).shape == (2, 21, *size)


@pytest.mark.parametrize("padding", ["paper", "exact"])
def test_every_image_size_gives_scores_of_its_size(padding):
    """Heights of all residues of the largest stride: a score map that is too small would cut off the result."""
    model = on_meta("fcn8s", backbone="slim_vgg", padding=padding)
    for size in (*range(1, 34), 1000):
        assert model(torch.empty(1, 3, size, 1, device="meta")).shape == (1, 21, size, 1)


def test_published_offsets():
    assert on_meta("fcn32s").offsets == {"image": 19}
    assert on_meta("fcn16s").offsets == {"pool4": -5, "image": 27}
    assert on_meta("fcn8s").offsets == {"pool4": -5, "pool3": -9, "image": 31}


def field_centres(model):
    """Jump and start of each map's receptive field, by the rules of convolution arithmetic."""
    if isinstance(model.backbone, nn.Sequential):
        rows = {row.name: row for row in layer_geometry(model.backbone, (640, 640))}
        return {name: (int(rows[name].jump[0]), float(rows[name].start[0])) for name in ("pool3", "pool4", "fc7")}
    layers = [model.backbone.conv_stem, *(block.depthwise_conv for block in model.backbone.blocks)]
    paddings = [getattr(layer, "around", layer.padding)[0] for layer in layers]
    windows = [
        Window(layer.kernel_size[0], layer.stride[0], before) for layer, before in zip(layers, paddings, strict=True)
    ]
    fields = {"pool3": receptive_field(windows[:6]), "pool4": receptive_field(windows[:12])}
    fields["fc7"] = receptive_field(windows)
    return {name: (int(field.jump), float(field.start)) for name, field in fields.items()}


@pytest.mark.parametrize("name", VARIANTS[:3])
@pytest.mark.parametrize(("backbone", "padding"), LAYOUTS)
def test_scores_land_where_they_look(name, backbone, padding):
    """If each map pixel scores the row and column of its receptive field's centre, each pixel gets its own."""
    size, meant = (200, 170), on_meta(name, num_classes=1, backbone=backbone, padding=padding)
    maps = meant.backbone(torch.empty(1, 3, *size, device="meta"))
    ramps = {}
    for key, (jump, start) in field_centres(meant).items():
        rows, columns = (start + jump * torch.arange(n, dtype=torch.float64) for n in maps[key].shape[2:])
        ramps[key] = (1000 * rows[:, None] + columns)[None, None]

    model = create_model(name, num_classes=1, backbone="slim_vgg")
    model.backbone.forward = lambda x: ramps
    model.offsets = meant.offsets
    for key, layer in meant.named_children():
        if isinstance(layer, BilinearUpsample2d):
            kernel = layer.weight.shape[-1]
            setattr(model, key, BilinearUpsample2d(1, layer.scale, kernel_size=kernel, dtype=torch.float64))
        elif key.startswith("score"):
            setattr(model, key, nn.Identity())
    y = model(torch.zeros(1, 3, *size))[0, 0] / (1 + len(model.skips))

    pixels = 1000 * torch.arange(size[0], dtype=torch.float64)[:, None] + torch.arange(size[1])
    inside = (slice(48, -48), slice(48, -48))  # beyond the reach of the deconvolutions from the edge
    torch.testing.assert_close(y[inside], pixels[inside], rtol=0, atol=1e-9)


def test_exact_padding_is_plain_interpolation():
    """32s is the bilinear interpolation of fc7's scores, which fades out towards a border of zeros."""
    x = torch.randn(1, 3, 96, 128)
    replicating, fading = (small("fcn32s", border=border) for border in ("replicate", "zero"))
    with torch.no_grad():
        score = replicating.score_fr(replicating.backbone(x)["fc7"])
        expected = F.interpolate(score, scale_factor=32, mode="bilinear", align_corners=False)
        torch.testing.assert_close(replicating(x), expected, rtol=0, atol=1e-5)
        inside = (..., slice(32, -32), slice(32, -32))
        torch.testing.assert_close(fading(x)[inside], expected[inside], rtol=0, atol=1e-5)
        assert (fading(x)[..., 0, :] - expected[..., 0, :]).abs().max() > 0.01


def test_skips_are_sums_of_interpolations():
    """16s in exact padding, written out with torch's interpolation."""
    x = torch.randn(1, 3, 64, 96)
    model = small("fcn16s", border="replicate")
    with torch.no_grad():
        maps = model.backbone(x)
        both = model.score_pool4(maps["pool4"]) + F.interpolate(
            model.score_fr(maps["fc7"]), scale_factor=2, mode="bilinear", align_corners=False
        )
        expected = F.interpolate(both, scale_factor=16, mode="bilinear", align_corners=False)
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5)


def test_at_once_scales_the_skips_down():
    x, model, at_once = torch.randn(1, 3, 40, 50), small(), small("fcn8s_at_once")
    assert not torch.allclose(model(x), at_once(x))
    model.score_pool4.weight.data *= 0.01
    model.score_pool3.weight.data *= 0.0001
    torch.testing.assert_close(at_once(x), model(x))


@pytest.mark.parametrize("deconvolution", ["fixed", "learned"])
def test_training_begins_at_zero_and_moves(deconvolution):
    """Scores start at zero; the score layers learn from the first step, the others from the second."""
    torch.manual_seed(0)
    model = create_model("fcn8s", num_classes=3, backbone="slim_vgg", deconvolution=deconvolution, dropout=0)
    x, target = torch.randn(2, 3, 32, 32), torch.randint(3, (2, 32, 32))
    assert not model(x).any()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        optimiser.zero_grad()
        F.cross_entropy(model(x), target).backward()
        scores = [layer.weight.grad for key, layer in model.named_children() if key.startswith("score")]
        assert len(scores) == 3 and all(gradient.any() for gradient in scores)
        assert (step == 1) == bool(model.backbone.conv1_1.weight.grad.any())
        optimiser.step()
    upscores = [key for key in before if key.startswith("upscore")]
    assert len(upscores) == 3
    for key in upscores:
        assert torch.equal(before[key], model.state_dict()[key]) == (deconvolution == "fixed")


def test_trunk_is_initialised_as_by_he_et_al():
    convolution = small("fcn32s").backbone.conv4_1  # 96 channels to 128
    assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.01)


def test_dropout_is_elementwise():
    """Dropout drops half of the elements, not whole maps, and none in evaluation."""
    model = create_model("fcn32s", num_classes=3, backbone="slim_vgg")
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    assert len(layers) == 2
    dropped = layers[0](torch.ones(1, 4, 50, 50)) == 0
    assert all(0.4 < share < 0.6 for share in dropped.float().mean((0, 2, 3)).tolist())
    assert not any(
        layer.p for layer in create_model("fcn32s", backbone="slim_vgg", dropout=0).modules() if layer in layers
    )


def test_soft_pooling_in_place_of_max():
    x, soft, hard = torch.randn(1, 3, 33, 41), small(pool="soft"), small()
    assert sum(isinstance(layer, SoftPool2d) for layer in soft.modules()) == 5
    assert soft(x).shape == hard(x).shape and not torch.allclose(soft(x), hard(x))


def test_enlarged_input_gives_labels_of_the_original_size():
    """Twice as large, then the mean of each 2 x 2 pixels."""
    plain, enlarged = small(), small(enlarge=2)
    x = torch.randn(1, 3, 35, 42)
    larger = F.interpolate(x, (70, 84), mode="bilinear")
    torch.testing.assert_close(enlarged(x), F.avg_pool2d(plain(larger), 2))
    assert small(enlarge=1.5)(x).shape == plain(x).shape
    assert small(enlarge=2, features_only=True)(x)["pool3"].shape[2:] == (9, 11)


@pytest.mark.parametrize("backbone", ["slim_vgg", "efficientnet_lite0"])
def test_features_only(backbone, tmp_path):
    """The pyramid, from the same file as the scores."""
    save_model(small(backbone=backbone), tmp_path / "fcn.pt")
    x = torch.randn(2, 3, 70, 64)
    maps = load_model(tmp_path / "fcn.pt", features_only=True)(x)
    model = load_model(tmp_path / "fcn.pt")
    assert list(maps) == ["pool3", "pool4", "fc7"]
    for (name, values), stride in zip(maps.items(), (8, 16, 32), strict=True):
        assert values.shape == (2, model.backbone.channels[name], -(-70 // stride), 64 // stride)
        assert torch.equal(values, model.backbone(x)[name])


def test_compiles_as_one_graph():
    model = small()
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    for images in (torch.randn(2, 3, 40, 56), torch.randn(3, 3, 67, 93)):
        torch.testing.assert_close(compiled(images), model(images))


@pytest.mark.skipif(torch.__version__ < "2.13", reason="torch 2.10 does not export convolutions of free sizes")
def test_exports_with_free_sizes():
    model = small("fcn16s")
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    exported = torch.export.export(model, (torch.randn(2, 3, 40, 56),), dynamic_shapes=(free,)).module()
    images = torch.randn(1, 3, 67, 93)
    torch.testing.assert_close(exported(images), model(images))


def test_preprocessing_by_hand():
    """One pixel, red 255, green 128, blue 0, normalised as each backbone expects."""
    image = np.array([[[255, 128, 0]]], dtype=np.uint8)
    expected = {
        "caffe_bgr": [0 - 104.00699, 128 - 116.66877, 255 - 122.67892],
        "torchvision_rgb": [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225],
        "efficientnet_lite": [1, 1 / 128, -127 / 128],
    }
    for name, values in expected.items():
        y = preprocess(image, name)
        assert y.shape == (3, 1, 1) and y.dtype == torch.float32
        np.testing.assert_allclose(y.ravel(), values, rtol=1e-6)
        torch.testing.assert_close(preprocess(torch.from_numpy(image)[None], name), y[None])
        np.testing.assert_array_equal(image_of(y, name), image)
    assert on_meta("fcn8s").preprocessing == "caffe_bgr"
    assert on_meta("fcn8s", backbone="efficientnet_lite0").preprocessing == "efficientnet_lite"


def test_preprocessing_goes_into_the_file(tmp_path):
    save_model(small(preprocessing="caffe_bgr"), tmp_path / "fcn.pt")
    assert load_model(tmp_path / "fcn.pt").preprocessing == "caffe_bgr"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be positive, got 0"),
        ({"backbone": "vgg19"}, "backbone must be one of 'vgg16', 'slim_vgg', 'efficientnet_lite0', got 'vgg19'"),
        ({"padding": "same"}, "padding must be one of None, 'paper', 'exact', got 'same'"),
        ({"pool": "mean"}, "pool must be one of 'max', 'soft', got 'mean'"),
        ({"deconvolution": True}, "deconvolution must be one of 'fixed', 'learned', got True"),
        ({"border": "mirror"}, "border must be one of 'zero', 'replicate', got 'mirror'"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
        ({"enlarge": 0.5}, "enlarge must be from 1 to 8, got 0.5"),
        ({"preprocessing": "bgr"}, "preprocessing must be one of None, 'caffe_bgr', .*, got 'bgr'"),
        (
            {"backbone": "efficientnet_lite0", "padding": "paper"},
            "padding must be None or 'exact' with efficientnet_lite0, got 'paper'",
        ),
        (
            {"backbone": "efficientnet_lite0", "pool": "soft"},
            "pool must be 'max' with efficientnet_lite0, which has no pooling layer, got 'soft'",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^FCN8s: {message}$"):
        create_model("fcn8s", **options)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)])
def test_bad_images(shape):
    with pytest.raises(ValueError, match=r"FCN8s: x must have shape \(N, 3, H, W\), got "):
        on_meta("fcn8s", backbone="slim_vgg")(torch.empty(shape, device="meta"))
    with pytest.raises(ValueError, match=r"preprocess: image must have shape \(H, W, 3\) or \(N, H, W, 3\), got "):
        preprocess(torch.zeros(shape, dtype=torch.uint8), "caffe_bgr")


def test_pictures_of_floats_are_refused():
    with pytest.raises(TypeError, match="preprocess: image must be an array or tensor of uint8, got"):
        preprocess(np.zeros((4, 4, 3)), "caffe_bgr")
    with pytest.raises(TypeError, match="FCN8s: x must be a floating-point tensor, got"):
        on_meta("fcn8s", backbone="slim_vgg")(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
