"""The interface of FCN's backbones."""

from __future__ import annotations

from torch import Tensor, nn

STRIDES = {"pool3": 8, "pool4": 16, "fc7": 32}


class Backbone(nn.Module):
    """A classifier's layers, which turn an image of any size into three feature maps.

    Attributes:
        channels: Channels of the feature maps ``pool3``, ``pool4`` and ``fc7``, whose strides are 8, 16 and 32 pixels.
        starts: For each map, the centre of its first element, in pixels from the centre of the image's first pixel;
            element i is centred at start + stride i. Maps cover the image: the element after the last one would be
            centred outside of it.
        preprocessing: Default preprocessing of images, one of `pydlx.models.segmentation.PREPROCESSINGS`.
    """

    channels: dict[str, int]
    starts: dict[str, float]
    preprocessing: str

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of x (N, 3, H, W) by name, from the finest to the coarsest."""
        raise NotImplementedError


def initialise_convolutions(module: nn.Module) -> None:
    """Apply He initialisation (arXiv 1502.01852), so that deep stacks of convolutions and ReLU learn from scratch."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
