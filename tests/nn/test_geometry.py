"""Tables of layers against forward passes, gradients, and published numbers of known networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pydlx.nn import (
    BilinearUpsample2d,
    CornerPool2d,
    SoftPool1d,
    SoftPool2d,
    SoftPool3d,
    SpatialPyramidPool2d,
    layer_geometry,
)


def vgg16(padding=1, classifier=()):
    """The convolutional part, with a single channel per layer."""
    layers = []
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            layers += [nn.Conv2d(1, 1, 3, padding=1 if layers else padding, device="meta"), nn.ReLU()]
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers, *classifier)


def fcn(padding, scale):
    """FCN's straight path: VGG16 up to a pooling layer, scores, and the upsampling back to pixels."""
    fc6 = nn.Conv2d(1, 1, 7, device="meta")
    upsampling = nn.ConvTranspose2d(1, 1, 2 * scale, scale, bias=False, device="meta")
    return vgg16(padding, (fc6, nn.ReLU(), nn.Dropout(), nn.Conv2d(1, 1, 1, device="meta"), upsampling))


def test_vgg16_as_published():
    rows = layer_geometry(vgg16(), (224, 224))
    pools = [row for row in rows if row.kind == "MaxPool2d"]
    assert [row.receptive_field[0] for row in pools] == [6, 16, 44, 100, 212]
    assert [row.jump[0] for row in pools] == [2, 4, 8, 16, 32]
    assert [row.size for row in pools] == [(n, n) for n in (112, 56, 28, 14, 7)]
    fc6 = layer_geometry(vgg16(classifier=[nn.Conv2d(1, 1, 7, device="meta")]), (224, 224))[-1]
    assert fc6.receptive_field == (404, 404)


def test_alexnet_as_published():
    """Overlapping pooling with kernel 3 and stride 2 maps 55 to 27, 13 and 6."""
    layers = [nn.Conv2d(1, 1, 11, 4, 2), SoftPool2d(3, 2), nn.Conv2d(1, 1, 5, padding=2), SoftPool2d(3, 2)]
    layers += [nn.Conv2d(1, 1, 3, padding="same"), SoftPool2d(3, 2)]
    assert [row.size[0] for row in layer_geometry(nn.Sequential(*layers), (224, 224))] == [55, 27, 27, 13, 13, 6]


@pytest.mark.parametrize("padding", [100, 110])
def test_crop_of_fcn32s(padding):
    """The output that is centred on the input's first pixel is at padding - 81."""
    last = layer_geometry(fcn(padding, 32), (64, 64))[-1]
    assert last.jump == (1, 1)
    assert last.start == (81 - padding, 81 - padding)


KINDS = {
    "1d": (
        (61,),
        [
            nn.Conv1d(1, 2, 4, padding="same"),
            nn.BatchNorm1d(2).eval(),
            nn.AvgPool1d(3, 2, 1, ceil_mode=True),
            nn.ConvTranspose1d(2, 1, 3, 2, 1, output_padding=1),
            SoftPool1d(2),
            nn.LPPool1d(2, 3, 2),
        ],
    ),
    "2d": (
        (40, 51),
        [
            nn.Conv2d(1, 2, (3, 2), (2, 1), (1, 0), (1, 2)),
            nn.GELU(),
            nn.MaxPool2d((2, 3), None, (1, 0)),
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Identity()),
            SoftPool2d(3, 2, 1),
            nn.Upsample(scale_factor=3),
            BilinearUpsample2d(2, 3, border="replicate"),
            nn.LPPool2d(2, 3, 2, ceil_mode=True),
            nn.AvgPool2d(2),
        ],
    ),
    "3d": (
        (9, 10, 12),
        [
            nn.Conv3d(1, 2, 3, (1, 2, 1), padding=1),
            nn.Dropout3d(),
            SoftPool3d((1, 2, 2)),
            nn.ConvTranspose3d(2, 1, 2, (2, 1, 1), dilation=(1, 2, 1)),
            nn.MaxPool3d(2, 1),
            nn.AvgPool3d(2, (1, 2, 1)),
        ],
    ),
}


@pytest.mark.parametrize("spatial", KINDS)
def test_sizes_are_those_of_a_forward_pass(spatial):
    size, layers = KINDS[spatial]
    rows = layer_geometry(nn.Sequential(*layers), size)
    x, done = torch.rand(1, 1, *size), 0
    for layer in layers:
        x = layer(x)
        done += len(layer) if isinstance(layer, nn.Sequential) else 1
        assert rows[done - 1].size == x.shape[2:]
    assert len(rows) == done


@pytest.mark.parametrize("spatial", KINDS)
def test_seen_by_is_where_gradients_reach(spatial):
    """With positive weights, also at the border; max pooling, which hides elements, is replaced by average pooling."""
    size, layers = KINDS[spatial]
    averages = {nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d}
    for n, layer in enumerate(layers):
        if type(layer) in averages:
            layers[n] = averages[type(layer)](layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
        if hasattr(layer, "bias"):
            nn.init.constant_(layer.weight, 0.1)
    network = nn.Sequential(*layers).double().eval()
    rows = layer_geometry(network, size)
    x = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    y = network(x).sum(1)[0]
    centre = tuple(n // 2 for n in y.shape)
    for position in (centre, (0,) * y.dim(), tuple(n - 1 for n in y.shape)):
        (gradient,) = torch.autograd.grad(y[position], x, retain_graph=True)
        cells = gradient[0, 0].nonzero()
        reached = tuple(slice(int(a), int(b) + 1) for a, b in zip(cells.amin(0), cells.amax(0), strict=True))
        assert rows.seen_by(rows[-1].name, position) == reached
    seen = rows.seen_by(rows[-1].name, centre)
    assert all(s.stop - s.start <= field for s, field in zip(seen, rows[-1].receptive_field, strict=True))


def test_what_sees_everything():
    head = [nn.AdaptiveAvgPool2d((2, None)), nn.Conv2d(4, 4, (2, 3)), nn.Flatten(), nn.Linear(20, 2), nn.ReLU()]
    rows = layer_geometry(nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.AdaptiveMaxPool2d((7, 7)), *head), (15, 15))
    assert [row.size for row in rows] == [(7, 7), (7, 7), (2, 7), (1, 5), (), (), ()]
    assert rows[1].receptive_field == (3, 3)  # 7 to 7 is no pooling
    for row in rows[2:]:
        assert (row.receptive_field, row.jump, row.start) == ((15, 15), (0, 0), (7, 7))
    assert rows.seen_by("3", (0, 2)) == (slice(0, 15), slice(0, 15))


def test_corner_pools_see_everything_and_keep_the_size():
    rows = layer_geometry(nn.Sequential(nn.Conv2d(1, 4, 3, 2), CornerPool2d("left"), nn.ReLU()), (15, 17))
    assert [row.size for row in rows] == [(7, 8)] * 3
    for row in rows[1:]:
        assert (row.receptive_field, row.jump) == ((15, 17), (0, 0))


def test_pyramids_see_everything():
    rows = layer_geometry(nn.Sequential(nn.Conv2d(1, 4, 3, 2), SpatialPyramidPool2d(), nn.Linear(84, 2)), (15, 17))
    assert [row.size for row in rows] == [(7, 8), (), ()]
    for row in rows[1:]:
        assert (row.receptive_field, row.jump, row.start) == ((15, 17), (0, 0), (7, 8))
    assert rows[1].kernel == (7, 8)


def test_table():
    network = nn.Sequential(nn.Conv2d(3, 8, (3, 4), padding="same"), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))
    lines = str(layer_geometry(network, (32, 30))).splitlines()
    assert lines[0].split() == ["layer", "kind", "kernel", "stride", "padding", "output", "field", "jump", "start"]
    assert lines[1].split() == ["0", "Conv2d", "3×4", "1", "1×1+2", "32×30", "3×4", "1", "0×0.5"]
    assert lines[3].split() == ["1.1", "MaxPool2d", "2", "2", "0", "16×15", "4×5", "2", "0.5×1"]


def test_a_single_layer_and_named_layers():
    assert layer_geometry(nn.Conv1d(1, 1, 3), 5)[0].size == (3,)
    rows = layer_geometry([("first", nn.Conv1d(1, 1, 3)), ("pool", nn.AvgPool1d(2))], 6)
    assert [row.name for row in rows] == ["first", "pool"]
    assert rows[-1:][0].receptive_field == (4,)


@pytest.mark.parametrize(
    ("layers", "size", "message"),
    [
        (
            [nn.Sequential(nn.ReLU(), nn.PixelShuffle(2))],
            (4, 4),
            r"layer '0.1' must be of a known kind, got PixelShuff",
        ),
        ([nn.Conv2d(1, 1, 3)], 8, r"layer '0' \(Conv2d\) must get 2 spatial axes, got \(8,\)"),
        ([nn.Flatten(), nn.Conv2d(1, 1, 3)], (8, 8), r"layer '1' \(Conv2d\) must get 2 spatial axes, got \(\)"),
        (
            [nn.MaxPool2d(2), nn.MaxPool2d(5)],
            (8, 8),
            r"layer '1' \(MaxPool2d\) does not fit size \(4, 4\): .*kernel must",
        ),
        ([nn.Upsample(scale_factor=1.5)], (8, 8), "upsampling must be nearest or linear, by a whole factor"),
        ([nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")], (8, 8), "padding_mode must keep windows together"),
        (
            [nn.MaxPool2d(2), SpatialPyramidPool2d(form="sliding")],
            (26, 14),
            r"layer '1' \(Spa.*\) does not fit size \(13, 7\): .*levels must",
        ),
        ([SpatialPyramidPool2d()], 8, r"layer '0' \(SpatialPyramidPool2d\) must get 2 spatial axes, got \(8,\)"),
        ([nn.ReLU()], (0, 8), r"input_size must be positive, got \(0, 8\)"),
    ],
)
def test_bad_networks(layers, size, message):
    with pytest.raises(ValueError, match=f"^layer_geometry: .*{message}"):
        layer_geometry(nn.Sequential(*layers), size)


def test_bad_places():
    rows = layer_geometry(nn.Sequential(nn.Conv1d(1, 1, 3)), 8)
    with pytest.raises(ValueError, match="seen_by: layer must be one of 0, got 'conv'"):
        rows.seen_by("conv", (0,))
    with pytest.raises(ValueError, match=r"seen_by: position must lie inside of \(6,\), got \(6,\)"):
        rows.seen_by("0", (6,))
