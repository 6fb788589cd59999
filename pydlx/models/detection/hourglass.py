"""The hourglass network: features are downsampled several times and upsampled again, with a shortcut at each size.

Newell, Yang and Deng, "Stacked hourglass networks for human pose estimation", arXiv 1603.06937, as Law and Deng
changed it for CornerNet, arXiv 1808.01244: strided blocks instead of max pooling. Blocks are residual blocks, or the
fire modules of CornerNet-Lite, arXiv 1904.08900.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution with "same" padding, followed by batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


def conv_norm_relu(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch norm and ReLU."""
    return conv_norm(inputs, outputs, kernel_size, stride).append(nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes.

    Shapes: (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        same = stride == 1 and inputs == outputs
        self.body = nn.Sequential(conv_norm_relu(inputs, outputs, 3, stride), conv_norm(outputs, outputs))
        self.skip = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(body(x) + skip(x))."""
        return F.relu(self.body(x) + self.skip(x))


class Fire(nn.Module):
    """CornerNet-Squeeze's fire module: 1x1 squeezes to half the channels, then 1x1 and depthwise 3x3 expand.

    It has a shortcut only if input and output shapes are equal. Shapes as in :class:`Residual`; outputs must be even.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.squeeze = conv_norm(inputs, half, 1)
        self.pointwise = nn.Conv2d(half, half, 1, stride, bias=False)
        self.depthwise = nn.Conv2d(half, half, 3, stride, padding=1, groups=half, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze and expand."""
        squeezed = self.squeeze(x)
        y = self.norm(torch.cat((self.pointwise(squeezed), self.depthwise(squeezed)), 1))
        return F.relu(y + x if self.same else y)


def nearest_upsample(channels: int) -> nn.Module:
    """Return nearest-neighbour upsampling by 2."""
    return nn.Upsample(scale_factor=2, mode="nearest")


def learned_upsample(channels: int) -> nn.Module:
    """Return a transposed 4x4 convolution that doubles the size."""
    return nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)


class Hourglass(nn.Module):
    """An hourglass with len(channels) - 1 downsamplings; (N, channels[0], H, W) to the same shape.

    Args:
        channels: Channels at each size, the largest size first.
        depths: Number of blocks at each size.
        block: Builds a block from input channels, output channels and, for downsampling, stride=2.
        upsample: Builds an upsampling layer from its channels.

    Attributes:
        channels: Channels of the input and the output.
        reduction: Total factor of downsampling; H and W must be multiples of it.
    """

    def __init__(
        self,
        channels: Sequence[int],
        depths: Sequence[int],
        block: Callable[..., nn.Module] = Residual,
        upsample: Callable[[int], nn.Module] = nearest_upsample,
    ) -> None:
        super().__init__()
        (outer, inner), depth = channels[:2], depths[0]
        self.channels = outer
        self.reduction = 2 ** (len(channels) - 1)
        self.up1 = _row(block, outer, depth)
        self.low1 = nn.Sequential(block(outer, inner, stride=2), *_row(block, inner, depth - 1))
        if len(channels) > 2:
            self.low2: nn.Module = Hourglass(channels[1:], depths[1:], block, upsample)
        else:
            self.low2 = _row(block, inner, depths[1])
        self.low3 = nn.Sequential(*_row(block, inner, depth - 1), block(inner, outer))
        self.up2 = upsample(outer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the shortcut and the upsampled output of the smaller sizes."""
        return self.up1(x) + self.up2(self.low3(self.low2(self.low1(x))))


def _row(block: Callable[..., nn.Module], channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(block(channels, channels) for _ in range(count)))
