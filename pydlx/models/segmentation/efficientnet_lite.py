"""EfficientNet-Lite0 as a backbone of FCN; its ImageNet weights come from a package.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", arXiv 1905.11946; the Lite
version has no squeeze-and-excitation, and ReLU6 instead of swish. Layers are named as in the package's file.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pydlx.models.segmentation.backbone import Backbone, initialise_convolutions

# Number of blocks, kernel size, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LAST_OF_STRIDE = {4: "pool3", 10: "pool4"}  # indices of the last blocks of stride 8 and 16


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2 with ceil(H / 2) output rows, equal to TensorFlow's "same" padding for even sizes.

    For odd sizes, TensorFlow pads both sides equally, which moves all windows by one pixel. Here the padding on the
    left does not depend on the size, so output element i is always centred at the same pixel.
    """

    def __init__(self, channels: int, out: int, kernel: int, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, 2, groups=groups, bias=False)
        before = (kernel - 2) // 2
        self.around = 2 * (before, kernel - 1 - before)

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve x."""
        return super().forward(F.pad(x, self.around))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """Inverted residual block: expand, depthwise convolution, project; with a shortcut if the shape does not change."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        if expansion != 1:
            self.expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self.bn0, self.relu0 = _norm(wide), nn.ReLU6(inplace=True)
        if stride == 2:
            self.depthwise_conv: nn.Conv2d = HalvingConv2d(wide, wide, kernel, groups=wide)
        else:
            self.depthwise_conv = nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False)
        self.bn1, self.relu1 = _norm(wide), nn.ReLU6(inplace=True)
        self.project_conv, self.bn2 = nn.Conv2d(wide, out, 1, bias=False), _norm(out)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out, ceil(H / stride), ceil(W / stride)) of x (N, channels, H, W)."""
        y = x
        for layer in self.children():
            y = layer(y)
        return x + y if self.residual else y


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 without its classifier: (N, 3, H, W) to the last feature maps of strides 8, 16 and 32.

    Its last convolution, 1 × 1 to 1280 channels, takes the place of fc6 and fc7, followed by FCN's dropout.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv_stem, self.bn0 = HalvingConv2d(3, 32, 3), _norm(32)
        self.blocks = nn.ModuleList()
        channels = 32
        for repeats, kernel, stride, expansion, out in STAGES:
            for i in range(repeats):
                self.blocks.append(MBConv(channels, out, kernel, 1 if i else stride, expansion))
                channels = out
        self.conv_head, self.bn1 = nn.Conv2d(channels, 1280, 1, bias=False), _norm(1280)
        self.drop = nn.Dropout(dropout)
        initialise_convolutions(self)

        self.channels = {"pool3": 40, "pool4": 112, "fc7": 1280}
        self.starts = {"pool3": 7.0, "pool4": 15.0, "fc7": 31.0}  # from odd kernels padded one more on the right
        self.preprocessing = "efficientnet_lite"

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of x (N, 3, H, W) by name."""
        maps = {}
        x = F.relu6(self.bn0(self.conv_stem(x)))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in LAST_OF_STRIDE:
                maps[LAST_OF_STRIDE[i]] = x
        return {**maps, "fc7": self.drop(F.relu6(self.bn1(self.conv_head(x))))}
