"""What a fully convolutional network asks of the network below it."""

from __future__ import annotations

from torch import Tensor, nn

STRIDES = {"pool3": 8, "pool4": 16, "fc7": 32}


class Backbone(nn.Module):
    """A classifier's layers as a pyramid of three feature maps, whatever the size of the image.

    Attributes:
        channels: Of the feature maps ``pool3``, ``pool4`` and ``fc7``, which have strides of 8, 16 and 32 pixels.
        starts: Where the centre of each map's first cell lies, in pixels from the centre of the image's first; cell i
            lies at start + stride i. The maps are large enough that the last cell's successor is outside of the image.
        preprocessing: What images go through by default, one of `pydlx.models.segmentation.PREPROCESSINGS`.
    """

    channels: dict[str, int]
    starts: dict[str, float]
    preprocessing: str

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) to the maps by name, from the finest to the coarsest."""
        raise NotImplementedError


def initialise_convolutions(module: nn.Module) -> None:
    """He initialisation (arXiv 1502.01852), with which deep stacks of convolutions and ReLU learn from scratch."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
