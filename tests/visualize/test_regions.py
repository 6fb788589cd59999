"""What an activation sees, against the elements of the image that have a gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pydlx.nn import SoftPool2d, layer_geometry
from pydlx.visualize.deconvnet import Recording


class Applied(nn.Module):
    """A function between convolutions of positive weights, through which every element that is seen has a gradient."""

    def __init__(self, function):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, (3, 2), stride=(1, 2), dilation=(2, 1))
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.5)
        self.function = function

    def forward(self, x):
        return self.second(self.function(self.first(x)))


def filled(layer):
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 0.25)
    return layer.double()


FUNCTIONS = {
    "shortcut": lambda x: x + filled(nn.Conv2d(2, 2, 5, padding=2))(x),
    "stride": filled(nn.Conv2d(2, 2, 3, stride=(2, 1))),
    "transposed": filled(nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)),
    "transposed, sparse": filled(nn.ConvTranspose2d(2, 2, 2, stride=3, output_padding=1)),
    "average pooling": nn.AvgPool2d(3, 2, padding=1),
    "soft pooling": SoftPool2d(3, (2, 1)),
    "crop": lambda x: x[:, :, 3:, 2:-4],
    "every second": lambda x: x[:, :, 1::2],
    "negative": lambda x: x[..., -9:-1],
    "channels": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "zeros around": lambda x: F.pad(x, (3, 1, 0, 2)),
    "cut by padding": lambda x: F.pad(x, (-2, 1, 3, -1)),
    "mirrored": lambda x: F.pad(x, (4, 2, 1, 3), mode="reflect"),
    "repeated": lambda x: F.pad(x, (4, 2, 1, 3), mode="replicate"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest, smaller": lambda x: F.interpolate(x, (7, 9)),
    "nearest exact": lambda x: F.interpolate(x, (17, 31), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear, odd": lambda x: F.interpolate(x, (19, 23), mode="bilinear"),
    "corners aligned": lambda x: F.interpolate(x, (19, 23), mode="bilinear", align_corners=True),
    "two scales": lambda x: x[:, :, :12, :12] + F.interpolate(F.avg_pool2d(x, 2), (12, 12)),
    "norm": nn.GroupNorm(2, 2),
    "mean": lambda x: x + x.mean((2, 3), keepdim=True),
    "flattened": lambda x: x.flatten(1).unflatten(1, x.shape[1:]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_region_is_around_what_has_a_gradient(name):
    torch.manual_seed(0)
    model = Applied(FUNCTIONS[name]).double()
    x = torch.rand(1, 1, 16, 18, dtype=torch.float64)
    run = Recording(model, x, "second")
    height, width = run.maps.shape[2:]
    for position in [(0, 0), (height // 2, width // 2), (height - 1, width - 1)]:
        chosen = torch.zeros_like(run.maps, dtype=torch.bool)
        chosen[0, 0, position[0], position[1]] = True
        touched = run.project(chosen)[0, 0].nonzero()
        if name in ("mean", "flattened"):
            assert run.region(position) == (slice(0, 16), slice(0, 18))
        elif len(touched):
            (top, left), (bottom, right) = touched.amin(0).tolist(), touched.amax(0).tolist()
            assert run.region(position) == (slice(top, bottom + 1), slice(left, right + 1))
        else:  # only zeros of the padding
            rows, columns = run.region(position)
            assert rows.start == rows.stop or columns.start == columns.stop


def test_chains_as_layer_geometry_has_them():
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 5, 2, padding=2), nn.ReLU6(), nn.MaxPool2d(3, 2, ceil_mode=True), SoftPool2d(2)),
        *(nn.Conv2d(2, 2, 3, dilation=2, padding=1), nn.BatchNorm2d(2), nn.Upsample(scale_factor=2), nn.Sigmoid()),
    )[:-1]
    run = Recording(model, torch.rand(1, 1, 60, 71), "6")
    geometry = layer_geometry(model, (60, 71))
    for row in range(run.maps.shape[2]):
        for column in range(run.maps.shape[3]):
            assert run.region((row, column)) == geometry.seen_by("6", (row, column))
