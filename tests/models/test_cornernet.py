"""CornerNet's networks: published counts of parameters, shapes, gradients, and a small one that learns an image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pydlx
from pydlx.losses import CornerLoss
from pydlx.models import load_model, save_model
from pydlx.models.detection import corner_targets, cornernet_squeeze, detect, normalize_image
from pydlx.models.detection.cornernet import CornerHeads
from pydlx.models.detection.hourglass import Fire, Residual


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(name, **options):
    with torch.device("meta"):
        return pydlx.create_model(name, **options)


def tiny(**options):
    torch.manual_seed(0)
    return cornernet_squeeze(**{"num_classes": 3, "width": 0.05, "stacks": 1, "stride": 4, **options})


def test_hourglass104_has_the_published_parts():
    model = on_meta("cornernet_hourglass104")
    assert parameters(model) == 201_035_212
    assert parameters(model.pre) == 938_112
    assert [parameters(x) for x in model.hourglasses] == [92_134_400] * 2
    assert [parameters(x) for x in model.features] == [590_336] * 2
    assert [parameters(x) for x in model.links] == [1_312_768]
    for heads in model.heads:
        corners = parameters(heads.top_left.corner), parameters(heads.bottom_right.corner)
        assert corners == (1_542_144, 1_542_144)
        assert parameters(heads) - sum(corners) == 3_583_142
    assert sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 204


@pytest.mark.parametrize("classes", [1, 3, 20, 365])
def test_classes_cost_what_their_heat_maps_do(classes):
    assert parameters(on_meta("cornernet_hourglass104", num_classes=classes)) == 200_952_972 + 1028 * classes
    assert (
        parameters(on_meta("cornernet_hourglass104", num_classes=classes, norm="group")) == 200_952_972 + 1028 * classes
    )


def test_smaller_forms():
    """Hourglass-52 is one stack of 104's modules; CornerNet-Squeeze has 31.77 million parameters."""
    assert parameters(on_meta("cornernet_hourglass52")) == 938_112 + 92_134_400 + 590_336 + 2 * 1_542_144 + 3_583_142
    assert parameters(on_meta("cornernet_squeeze")) == 31_771_852
    assert parameters(on_meta("cornernet_squeeze", width=0.25)) < 31_771_852 / 12
    assert pydlx.list_models("cornernet*") == ["cornernet_hourglass104", "cornernet_hourglass52", "cornernet_squeeze"]


@pytest.mark.parametrize(
    ("name", "size", "cells"),
    [
        ("cornernet_hourglass104", (511, 383), (128, 96)),
        ("cornernet_hourglass52", (128, 509), (32, 128)),
        ("cornernet_squeeze", (511, 383), (64, 48)),
    ],
)
def test_stacks_and_shapes(name, size, cells):
    model = on_meta(name, num_classes=7)
    images = torch.zeros(2, 3, *size, device="meta")
    stacks = 1 if name == "cornernet_hourglass52" else 2
    for maps in (trained := model.train()(images)) + (used := model.eval()(images)):
        assert [tuple(x.shape) for x in maps] == [(2, channels, *cells) for channels in (7, 7, 1, 1, 2, 2)]
    assert (len(trained), len(used)) == (stacks, 1)


def test_evaluation_keeps_the_last_stack():
    model = tiny(stacks=2, norm="group")
    images = torch.randn(1, 3, 63, 63)
    for kept, last in zip(model.eval()(images)[-1], model.train()(images)[-1], strict=True):
        torch.testing.assert_close(kept, last)


@pytest.mark.parametrize("size", [(508, 511), (511, 513), (1, 511), (640, 500)])
def test_sizes_that_do_not_fit_are_refused(size):
    message = (
        rf"^CornerNet: images must have sides of a multiple of 128, or at most 3 less, got \({size[0]}, {size[1]}\)$"
    )
    with pytest.raises(ValueError, match=message):
        on_meta("cornernet_hourglass52")(torch.zeros(1, 3, *size, device="meta"))
    with pytest.raises(ValueError, match=r"^CornerNet: images must have shape \(N, 3, H, W\), got \(1, 1, 63, 63\)$"):
        tiny()(torch.zeros(1, 1, 63, 63))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "CornerNet: num_classes must be positive, got 0"),
        ({"norm": "layer"}, "CornerNet: norm must be one of 'batch', 'group', got 'layer'"),
        ({"stacks": 0}, "cornernet_squeeze: stacks must be positive, got 0"),
        ({"width": 0}, "cornernet_squeeze: width must be positive, got 0"),
        ({"stride": 16}, "cornernet_squeeze: stride must be 4 or 8, got 16"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        on_meta("cornernet_squeeze", **options)


@pytest.mark.parametrize("block", [Fire, Residual])
def test_blocks_add_to_what_they_are_given(block):
    """With its last norm at 0, a block is the ReLU of its input."""
    same = block(8, 8)
    nn.init.zeros_(same.norm.weight if block is Fire else same.body[1][1].weight)
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(same(x), x.relu())
    assert block(8, 16, stride=2)(x).shape == (1, 16, 3, 3)


@pytest.mark.parametrize(("branch", "ahead"), [("top_left", True), ("bottom_right", False)])
def test_a_corner_sees_the_sides_of_its_box(branch, ahead):
    """A top-left corner depends on pixels right and below at any distance, elsewhere only within three map pixels."""
    torch.manual_seed(0)
    corner = getattr(CornerHeads(64, num_classes=1, head_kernel=1), branch).corner.eval()
    x = torch.randn(1, 64, 21, 21, requires_grad=True)
    corner(x)[..., 10, 10].sum().backward()
    seen = x.grad[0].abs().sum(0)
    far = (slice(14, None), slice(None, 7))
    near = slice(7, 14)
    looks, blind = far if ahead else far[::-1]
    assert seen[looks, near].any() and seen[near, looks].any()
    assert not seen[blind].any() and not seen[:, blind].any()
    assert not seen[looks, looks].any()


def test_heat_maps_start_at_a_tenth():
    with torch.no_grad():
        maps = tiny().eval()(torch.randn(1, 3, 63, 63))[-1]
    assert maps.heat_tl.sigmoid().mean().item() == pytest.approx(0.1, abs=0.02)
    assert maps.heat_br.sigmoid().mean().item() == pytest.approx(0.1, abs=0.02)
    assert maps.tag_tl.abs().max() < 1


BOXES = torch.tensor([[13.0, 20, 60, 75], [70.0, 30, 115, 100], [30.0, 80, 58, 120]])
LABELS = torch.tensor([0, 1, 0])
COLOURS = torch.tensor([[250, 60, 40], [40, 90, 250], [250, 60, 40]], dtype=torch.uint8)


def picture():
    """Red and blue rectangles on grey, 127 by 127."""
    image = torch.full((127, 127, 3), 120, dtype=torch.uint8)
    for (x1, y1, x2, y2), colour in zip(BOXES.int().tolist(), COLOURS, strict=True):
        image[y1:y2, x1:x2] = colour
    return image


def batch_of(*objects):
    targets = [
        corner_targets(boxes, labels, num_classes=3, image_size=(127, 127), map_size=(32, 32))
        for boxes, labels in objects
    ]
    return torch.utils.data.default_collate(targets)


def test_gradients_reach_every_parameter():
    model = tiny(stacks=2).train()
    targets = batch_of((BOXES, LABELS), (BOXES[:0], LABELS[:0]))
    CornerLoss()(model(torch.randn(2, 3, 127, 127)), targets).total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    still = [name for name, p in model.named_parameters() if not p.grad.any()]
    assert still == []


def test_a_small_network_learns_an_image_by_heart():
    """At batch size 1, with the paper's batch norm; detection returns the boxes to half a pixel."""
    torch.manual_seed(0)
    model = cornernet_squeeze(num_classes=3, width=0.125, stacks=1, stride=4).train()
    image, targets, loss = normalize_image(picture())[None], batch_of((BOXES, LABELS)), CornerLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(image), targets).total.backward()
        optimizer.step()
    found = detect(model.eval(), picture(), flip=False)
    order = found.boxes[:3, 0].argsort()
    assert found.scores[2] > 0.8 > found.scores[3]
    torch.testing.assert_close(found.boxes[order], BOXES[[0, 2, 1]], rtol=0, atol=0.5)
    assert found.labels[order].tolist() == [0, 0, 1]


def test_compiles_as_one_graph():
    model = tiny().eval()
    images = torch.randn(1, 3, 63, 63)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for found, expected in zip(compiled(images)[-1], model(images)[-1], strict=True):
        torch.testing.assert_close(found, expected)


def test_group_norm_keeps_images_apart():
    model = tiny(norm="group").train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    images = torch.randn(2, 3, 63, 63)
    alone = model(images[:1])[-1]
    for each, together in zip(alone, model(images)[-1], strict=True):
        torch.testing.assert_close(each, together[:1], rtol=1e-4, atol=1e-5)


def test_features_only(tmp_path):
    torch.manual_seed(0)
    save_model(pydlx.create_model("cornernet_squeeze", num_classes=3, width=0.05, stride=4), tmp_path / "small.pt")
    whole, below = load_model(tmp_path / "small.pt"), load_model(tmp_path / "small.pt", features_only=True)
    images = torch.randn(1, 3, 63, 63)
    features = below(images)
    assert [tuple(x.shape) for x in features] == 2 * [(1, features[0].shape[1], 16, 16)]
    for found, expected in zip(whole.heads[-1](features[-1]), whole(images)[-1], strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match=r"^detect: model must have features_only=False, got True$"):
        detect(below, torch.zeros(8, 8, 3, dtype=torch.uint8))


def test_a_file_holds_a_model_with_its_options(tmp_path):
    options = {"num_classes": 2, "width": 0.05, "stacks": 1, "norm": "group", "features_only": False}
    model = pydlx.create_model("cornernet_squeeze", **options).eval()
    save_model(model, tmp_path / "small.pt")
    loaded = load_model(tmp_path / "small.pt")
    assert loaded.model_options == {**options, "stride": 8}
    images = torch.randn(1, 3, 127, 127)
    with torch.no_grad():
        for found, expected in zip(loaded(images)[-1], model(images)[-1], strict=True):
            assert torch.equal(found, expected)
