"""CornerNet: detects a box as the pair of its top-left and bottom-right corners.

Law and Deng, "CornerNet: Detecting objects as paired keypoints", arXiv 1808.01244, and CornerNet-Squeeze: Law, Teng,
Russakovsky and Deng, "CornerNet-Lite", arXiv 1904.08900. For each kind of corner the network predicts a heat map per
class, an embedding (the tag) that is similar for the two corners of a box, and the corner's offset within its cell (a
pixel of the map).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_flag, check_floating, check_one_of, check_positive, described, whole
from pydlx.losses.corner import CornerMaps
from pydlx.models.detection.hourglass import (
    Fire,
    Hourglass,
    Residual,
    conv_norm,
    conv_norm_relu,
    learned_upsample,
)
from pydlx.models.registry import register_model
from pydlx.nn import BottomRightPool2d, TopLeftPool2d

# Initial bias of the heat maps: sigmoid(-2.19) = 0.1.
_HEAT_BIAS = -2.19


class CornerModule(nn.Module):
    """Corner pooling between convolutions, with a shortcut; (N, channels, H, W) to the same shape.

    Args:
        channels: Channels of input and output; half as many are pooled.
        pool: ``TopLeftPool2d`` or ``BottomRightPool2d``.
    """

    def __init__(self, channels: int, pool: nn.Module) -> None:
        super().__init__()
        self.vertical = conv_norm_relu(channels, channels // 2)
        self.horizontal = conv_norm_relu(channels, channels // 2)
        self.pool = pool
        self.pooled = conv_norm(channels // 2, channels)
        self.skip = conv_norm(channels, channels, 1)
        self.out = conv_norm_relu(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Pool evidence of a box's two sides into its corner."""
        pooled = self.pool(self.vertical(x), self.horizontal(x))
        return self.out(F.relu(self.pooled(pooled) + self.skip(x)))


class CornerBranch(nn.Module):
    """The corner module of one kind of corner, and its three heads."""

    def __init__(self, channels: int, num_classes: int, pool: nn.Module, head_kernel: int) -> None:
        super().__init__()
        self.corner = CornerModule(channels, pool)
        self.heat = _head(channels, num_classes, head_kernel, _HEAT_BIAS)
        self.tag = _head(channels, 1, head_kernel)
        self.offset = _head(channels, 2, head_kernel)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Heat (N, C, H, W), tag (N, 1, H, W) and offset (N, 2, H, W) of features (N, channels, H, W)."""
        x = self.corner(features)
        return self.heat(x), self.tag(x), self.offset(x)


class CornerHeads(nn.Module):
    """The heads of one stack, for both kinds of corner."""

    def __init__(self, channels: int, num_classes: int, head_kernel: int) -> None:
        super().__init__()
        self.top_left = CornerBranch(channels, num_classes, TopLeftPool2d(), head_kernel)
        self.bottom_right = CornerBranch(channels, num_classes, BottomRightPool2d(), head_kernel)

    def forward(self, features: Tensor) -> CornerMaps:
        """Return the maps of both kinds of corner."""
        heat_tl, tag_tl, offset_tl = self.top_left(features)
        heat_br, tag_br, offset_br = self.bottom_right(features)
        return CornerMaps(heat_tl, heat_br, tag_tl, tag_br, offset_tl, offset_br)


class StackLink(nn.Module):
    """The input of the next hourglass, from the input and the features of the one before; (N, channels, H, W) each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.carried = conv_norm(channels, channels, 1)
        self.found = conv_norm(channels, channels, 1)
        self.mix = Residual(channels, channels)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Return mix(relu(carried(x) + found(features)))."""
        return self.mix(F.relu(self.carried(x) + self.found(features)))


class CornerNet(nn.Module):
    """A stack of hourglasses with corner heads.

    Args:
        pre: First layers, from (N, 3, H, W) to (N, channels, ceil(H / stride), ceil(W / stride)).
        hourglasses: One per stack, all with the same number of channels.
        num_classes: Number of classes, one heat map each, without background.
        stride: Image pixels per map pixel.
        head_kernel: Kernel size of the first convolution of a head.
        norm: ``"batch"``, or ``"group"`` to replace every batch norm by group norm.
        features_only: Return the input of the heads of every stack, (N, channels, ceil(H / stride),
            ceil(W / stride)), instead of maps.

    Attributes:
        size_multiple: The sides of an image must be about a multiple of this, see :meth:`forward`.
    """

    def __init__(
        self,
        pre: nn.Module,
        hourglasses: Sequence[Hourglass],
        num_classes: int,
        *,
        stride: int,
        head_kernel: int,
        norm: str,
        features_only: bool,
    ) -> None:
        super().__init__()
        self.num_classes = whole("CornerNet", "num_classes", num_classes, 1)
        check_one_of("CornerNet", "norm", norm, ("batch", "group"))
        check_flag("CornerNet", "features_only", features_only)
        self.features_only = features_only
        channels = hourglasses[0].channels
        self.stride = stride
        self.size_multiple = stride * hourglasses[0].reduction
        self.pre = pre
        self.hourglasses = nn.ModuleList(hourglasses)
        self.features = nn.ModuleList(conv_norm_relu(channels, channels) for _ in hourglasses)
        self.heads = nn.ModuleList(CornerHeads(channels, num_classes, head_kernel) for _ in hourglasses)
        self.links = nn.ModuleList(StackLink(channels) for _ in hourglasses[1:])
        if norm == "group":
            _use_group_norm(self)

    def forward(self, images: Tensor) -> tuple[CornerMaps, ...] | tuple[Tensor, ...]:
        """Predict maps: in training mode those of every stack, as each has a loss; otherwise those of the last stack.

        Args:
            images: (N, 3, H, W), see :func:`pydlx.models.detection.normalize_image`. The sides must be a multiple of
                ``size_multiple``, or up to ``stride - 1`` less: 511 and 512 fit.

        Returns:
            Maps of heat logits, tags and offsets, each of size (ceil(H / stride), ceil(W / stride)), one `CornerMaps`
            per stack; ``[-1]`` is for detection. With ``features_only``, the input of the heads of every stack.
        """
        self._check(images)
        x = self.pre(images)
        maps, seen = [], []
        last = len(self.hourglasses) - 1
        for i, hourglass in enumerate(self.hourglasses):
            features = self.features[i](hourglass(x))
            if self.features_only:
                seen.append(features)
            elif self.training or i == last:
                maps.append(self.heads[i](features))
            if i < last:
                x = self.links[i](x, features)
        return tuple(seen or maps)

    def _check(self, images: Tensor) -> None:
        check_floating("CornerNet", "images", images)
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"CornerNet: images must have shape (N, 3, H, W), got {tuple(images.shape)}")
        for side in images.shape[2:]:
            if -side % self.size_multiple >= self.stride:
                raise ValueError(
                    f"CornerNet: images must have sides of a multiple of {self.size_multiple}, or at most "
                    f"{self.stride - 1} less, got {tuple(images.shape[2:])}"
                )


@register_model("cornernet_hourglass104")
def cornernet_hourglass104(*, num_classes: int = 80, norm: str = "batch", features_only: bool = False) -> CornerNet:
    """The paper's network: two hourglasses; 201,035,212 parameters for 80 classes.

    Args:
        num_classes: Number of classes, one heat map each.
        norm: ``"batch"``, as in the paper, or ``"group"`` (Wu and He, arXiv 1803.08494), which suits small batches.
        features_only: Return the features of every stack instead of maps.
    """
    return _of_hourglasses(2, num_classes, norm, features_only)


@register_model("cornernet_hourglass52")
def cornernet_hourglass52(*, num_classes: int = 80, norm: str = "batch", features_only: bool = False) -> CornerNet:
    """CornerNet with one hourglass; see :func:`cornernet_hourglass104`."""
    return _of_hourglasses(1, num_classes, norm, features_only)


@register_model("cornernet_squeeze")
def cornernet_squeeze(
    *,
    num_classes: int = 80,
    width: float = 1.0,
    stacks: int = 2,
    stride: int = 8,
    norm: str = "batch",
    features_only: bool = False,
) -> CornerNet:
    """CornerNet-Squeeze, which differs from hourglass-104 as follows.

    - Hourglasses consist of fire modules instead of residual blocks.
    - The image is halved three times before the first hourglass instead of twice, and four times within each
      hourglass instead of five.
    - Upsampling is by transposed 4x4 convolutions instead of nearest neighbour.
    - The first convolution of a head is 1x1 instead of 3x3.

    Args:
        num_classes: Number of classes, one heat map each.
        width: Factor on all channels, which are rounded to multiples of 8.
        stacks: Number of hourglasses.
        stride: Image pixels per map pixel: 8 as in the paper, or 4, which separates smaller objects.
        norm: ``"batch"`` or ``"group"``, see :func:`cornernet_hourglass104`.
        features_only: Return the features of every stack instead of maps.
    """
    name = "cornernet_squeeze"
    stacks = whole(name, "stacks", stacks, 1)
    check_positive(name, "width", width)
    if stride not in (4, 8):
        raise ValueError(f"{name}: stride must be 4 or 8, got {described(stride)}")
    first, *channels = (max(1, round(c * width / 8)) * 8 for c in (128, 256, 256, 384, 384, 512))
    pre = _pre(first, channels[0])
    if stride == 8:
        pre.append(Residual(channels[0], channels[0], stride=2))
    hourglasses = [Hourglass(channels, [2, 2, 2, 2, 4], Fire, learned_upsample) for _ in range(stacks)]
    return CornerNet(
        pre, hourglasses, num_classes, stride=stride, head_kernel=1, norm=norm, features_only=features_only
    )


def _of_hourglasses(stacks: int, num_classes: int, norm: str, features_only: bool) -> CornerNet:
    hourglasses = [Hourglass([256, 256, 384, 384, 384, 512], [2, 2, 2, 2, 2, 4]) for _ in range(stacks)]
    return CornerNet(
        _pre(128, 256), hourglasses, num_classes, stride=4, head_kernel=3, norm=norm, features_only=features_only
    )


def _pre(first: int, channels: int) -> nn.Sequential:
    """Return the first layers, which halve the image twice."""
    return nn.Sequential(conv_norm_relu(3, first, 7, stride=2), Residual(first, channels, stride=2))


def _head(channels: int, outputs: int, kernel_size: int, bias: float | None = None) -> nn.Sequential:
    last = nn.Conv2d(channels, outputs, 1)
    if bias is not None:
        nn.init.constant_(last.get_parameter("bias"), bias)
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2), nn.ReLU(inplace=True), last
    )


def _use_group_norm(module: nn.Module) -> None:
    """Replace every batch norm by group norm with up to 32 groups of at least 8 channels each."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            setattr(module, name, nn.GroupNorm(math.gcd(32, channels, channels // 8) or 1, channels))
        _use_group_norm(child)
