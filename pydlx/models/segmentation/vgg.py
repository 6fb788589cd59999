"""VGG networks as backbones of FCN: the fully connected layers are convolutions.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv 1409.1556; Long,
Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", arXiv 1411.4038.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pydlx.models.segmentation.backbone import Backbone, initialise_convolutions
from pydlx.nn import SoftPool2d

DEPTHS = (2, 2, 3, 3, 3)  # number of convolutions in each stage
CONVOLUTIONS = tuple(f"conv{stage}_{i + 1}" for stage, depth in enumerate(DEPTHS, 1) for i in range(depth))


class VGG(nn.Sequential, Backbone):
    """VGG16's layers up to fc7: (N, 3, H, W) to the feature maps after pool3, pool4 and fc7.

    Args:
        widths: Channels of the five stages.
        hidden: Channels of fc6 and fc7.
        batch_norm: Whether batch norm follows each convolution of the stages, which then has no bias.
        padding: ``"paper"``: 100 pixels at conv1_1 and none at fc6, so that the smallest image is large enough for
            fc6's kernel. ``"exact"``: 1 and 3, so that each map is aligned with the image.
        pool: ``"max"`` or ``"soft"``.
        dropout: Dropout probability after fc6 and fc7.
        preprocessing: See `Backbone`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden: int,
        batch_norm: bool,
        padding: str,
        pool: str,
        dropout: float,
        preprocessing: str,
    ) -> None:
        super().__init__()
        first, last = {"paper": (100, 0), "exact": (1, 3)}[padding]
        channels = 3
        for stage, (width, depth) in enumerate(zip(widths, DEPTHS, strict=True), 1):
            for i in range(1, depth + 1):
                around = first if channels == 3 else 1
                self.add_module(f"conv{stage}_{i}", nn.Conv2d(channels, width, 3, padding=around, bias=not batch_norm))
                if batch_norm:
                    self.add_module(f"bn{stage}_{i}", nn.BatchNorm2d(width))
                self.add_module(f"relu{stage}_{i}", nn.ReLU(inplace=True))
                channels = width
            window = SoftPool2d if pool == "soft" else nn.MaxPool2d
            self.add_module(f"pool{stage}", window(2, ceil_mode=True))
        for name, kernel, around in (("fc6", 7, last), ("fc7", 1, 0)):
            self.add_module(name, nn.Conv2d(channels, hidden, kernel, padding=around))
            self.add_module(f"relu{name[-1]}", nn.ReLU(inplace=True))
            self.add_module(f"drop{name[-1]}", nn.Dropout(dropout))
            channels = hidden
        initialise_convolutions(self)

        self.channels = {"pool3": widths[2], "pool4": widths[3], "fc7": hidden}
        # Each 2 × 2 pool moves the centre of the first element by half of the stride before it: 1/2, 1, 2, 4, 8 pixels.
        corner = 1 - first
        self.starts = {"pool3": corner + 3.5, "pool4": corner + 7.5, "fc7": corner + 15.5 + 32 * (3 - last)}
        self.preprocessing = preprocessing

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of x (N, 3, H, W) by name."""
        maps = {}
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("pool3", "pool4"):
                maps[name] = x
        return {**maps, "fc7": x}


def vgg16(*, padding: str = "paper", pool: str, dropout: float) -> VGG:
    """Return the paper's VGG16, for weights of a trained classifier: 134,260,544 parameters."""
    return VGG((64, 128, 256, 512, 512), 4096, False, padding, pool, dropout, "caffe_bgr")


def slim_vgg(*, padding: str = "exact", pool: str, dropout: float) -> VGG:
    """Return a VGG16 about a quarter as wide, for training from scratch on small images: 2,808,608 parameters."""
    return VGG((32, 64, 96, 128, 128), 256, True, padding, pool, dropout, "torchvision_rgb")
