"""Fully convolutional networks for semantic segmentation: FCN-32s, FCN-16s, FCN-8s and FCN-8s at once.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", arXiv 1411.4038, and its journal
version, Shelhamer, Long and Darrell, arXiv 1605.06211, which adds the network trained at once.

A classifier's convolutions give feature maps of strides 8, 16 and 32, on which 1 × 1 convolutions score the classes.
Bilinear transposed convolutions upsample the coarser scores to the next finer map, where both are added, and finally to
the pixels.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_flag, check_floating, check_number, check_one_of, whole
from pydlx.models.registry import register_model
from pydlx.models.segmentation.backbone import STRIDES, Backbone
from pydlx.models.segmentation.efficientnet_lite import EfficientNetLite0
from pydlx.models.segmentation.preprocessing import PREPROCESSINGS
from pydlx.models.segmentation.vgg import slim_vgg, vgg16
from pydlx.nn import BilinearUpsample2d

VGGS = {"vgg16": vgg16, "slim_vgg": slim_vgg}
BACKBONES = (*VGGS, "efficientnet_lite0")

_UPSCORES = {"pool4": "upscore2", "pool3": "upscore_pool4"}  # the authors' names of the layers that upsample to a map


class FCN(nn.Module):
    """An image (N, 3, H, W) of any size to logits of the classes at every pixel, (N, num_classes, H, W).

    Score layers start at zero, so an untrained network scores zero everywhere.

    Args:
        num_classes: Number of classes, the background included.
        backbone: ``"vgg16"``, the paper's; ``"slim_vgg"``, narrow and with batch norm, for training from scratch;
            ``"efficientnet_lite0"``.
        padding: ``"paper"``, 100 pixels of zeros around the image; or ``"exact"``, only "same" padding in each
            convolution, which is faster and aligns every map with the image. By default ``"paper"`` with vgg16,
            otherwise ``"exact"``. EfficientNet has its own padding, and takes ``"exact"`` only.
        pool: ``"max"``, or ``"soft"`` for `pydlx.nn.SoftPool2d`.
        deconvolution: ``"fixed"``, bilinear and not trained; or ``"learned"``, trained from the bilinear weights on.
        border: What deconvolutions see beyond the border: ``"zero"``, as in the paper, or ``"replicate"``.
        dropout: Dropout probability after fc6 and fc7.
        enlarge: Factor by which images are upsampled before the network, and scores downsampled after it, for finer
            maps of small images; cost grows with its square. 1 in the paper.
        preprocessing: Preprocessing of images, a name for `pydlx.models.segmentation.preprocess`; by default the one
            that the backbone's weights were trained with.
        features_only: Return the backbone's feature maps by name instead of scores.

    Attributes:
        backbone, backbone_name: The backbone and its name.
        preprocessing: Name of the preprocessing, never None.

    Raises:
        ValueError: If an option is out of range.
    """

    skips: ClassVar[tuple[str, ...]] = ()  # maps whose scores are added, from the coarsest
    scales: ClassVar[dict[str, float]] = {}  # factors on these maps before they are scored

    def __init__(
        self,
        *,
        num_classes: int = 21,
        backbone: str = "vgg16",
        padding: str | None = None,
        pool: str = "max",
        deconvolution: str = "fixed",
        border: str = "zero",
        dropout: float = 0.5,
        enlarge: float = 1.0,
        preprocessing: str | None = None,
        features_only: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        classes = whole(name, "num_classes", num_classes, 1)
        check_one_of(name, "deconvolution", deconvolution, ("fixed", "learned"))
        check_one_of(name, "border", border, ("zero", "replicate"))
        check_one_of(name, "preprocessing", preprocessing, (None, *PREPROCESSINGS))
        check_flag(name, "features_only", features_only)
        check_number(name, "enlarge", enlarge)
        if not 1 <= enlarge <= 8:
            raise ValueError(f"{name}: enlarge must be from 1 to 8, got {enlarge}")
        self.backbone = _backbone(name, backbone, padding, pool, dropout)
        self.backbone_name = backbone
        self.preprocessing = preprocessing or self.backbone.preprocessing
        self.features_only, self.num_classes, self.enlarge = features_only, classes, float(enlarge)

        def upscore(scale: int, distance: float) -> tuple[BilinearUpsample2d, int]:
            kernel, offset = _alignment(scale, distance)
            learned = deconvolution == "learned"
            return BilinearUpsample2d(classes, scale, learned, border, kernel_size=kernel, dense=True), offset

        channels, starts = self.backbone.channels, self.backbone.starts
        self.offsets: dict[str, int] = {}  # crop offset of upsampled scores against a map or the image
        self.score_fr = _score(channels["fc7"], classes)
        stride, start = STRIDES["fc7"], starts["fc7"]
        for skip in self.skips:
            scale, stride = stride // STRIDES[skip], STRIDES[skip]
            layer, self.offsets[skip] = upscore(scale, (starts[skip] - start) / stride)
            self.add_module(_UPSCORES[skip], layer)
            self.add_module(f"score_{skip}", _score(channels[skip], classes))
            start = starts[skip] + stride * max(-self.offsets[skip], 0)
        self.last_upscore = "upscore" if stride == 32 else f"upscore{stride}"
        layer, self.offsets["image"] = upscore(stride, -start)
        self.add_module(self.last_upscore, layer)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Return scores (N, num_classes, H, W) of the pixels of x (N, 3, H, W)."""
        name = type(self).__name__
        check_floating(name, "x", x)
        if x.dim() != 4 or x.shape[1] != 3 or 0 in x.shape[2:]:
            raise ValueError(f"{name}: x must have shape (N, 3, H, W), got {tuple(x.shape)}")
        seen = x if self.enlarge == 1 else F.interpolate(x, scale_factor=self.enlarge, mode="bilinear")
        maps = self.backbone(seen)
        if self.features_only:
            return maps
        score = self._scores(maps, seen)
        return score if self.enlarge == 1 else F.interpolate(score, x.shape[2:], mode="bilinear")

    def _scores(self, maps: dict[str, Tensor], x: Tensor) -> Tensor:
        """Score all maps, add them from coarse to fine, and upsample the sum to the pixels of x."""
        score = self.score_fr(maps["fc7"])
        for skip in self.skips:
            score = self.get_submodule(_UPSCORES[skip])(score)
            finer = maps[skip] * self.scales[skip] if self.scales else maps[skip]
            finer = self.get_submodule(f"score_{skip}")(finer)
            if (offset := self.offsets[skip]) < 0:  # the finer map begins before the upsampled scores
                score = score + _crop(finer, -offset, score)
            else:
                score = _crop(score, offset, finer) + finer
        return _crop(self.get_submodule(self.last_upscore)(score), self.offsets["image"], x)


@register_model("fcn32s")
class FCN32s(FCN):
    """FCN-32s: the scores of fc7, upsampled by 32."""


@register_model("fcn16s")
class FCN16s(FCN):
    """FCN-16s: the scores of fc7 and pool4, upsampled by 16."""

    skips = ("pool4",)


@register_model("fcn8s")
class FCN8s(FCN):
    """FCN-8s: the scores of fc7, pool4 and pool3, upsampled by 8; trained in stages from FCN-32s and FCN-16s."""

    skips = ("pool4", "pool3")


@register_model("fcn8s_at_once")
class FCN8sAtOnce(FCN8s):
    """FCN-8s trained at once: pool4 and pool3 are scaled down, because their values are much larger than fc7's."""

    scales: ClassVar[dict[str, float]] = {"pool4": 0.01, "pool3": 0.0001}


def _backbone(name: str, backbone: str, padding: str | None, pool: str, dropout: float) -> Backbone:
    check_one_of(name, "backbone", backbone, BACKBONES)
    check_one_of(name, "padding", padding, (None, "paper", "exact"))
    check_one_of(name, "pool", pool, ("max", "soft"))
    check_number(name, "dropout", dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"{name}: dropout must be at least 0 and below 1, got {dropout}")
    if backbone in VGGS:
        return VGGS[backbone](pool=pool, dropout=dropout, **({} if padding is None else {"padding": padding}))
    if padding == "paper":
        raise ValueError(f"{name}: padding must be None or 'exact' with {backbone}, got {padding!r}")
    if pool != "max":
        raise ValueError(f"{name}: pool must be 'max' with {backbone}, which has no pooling layer, got {pool!r}")
    return EfficientNetLite0(dropout)


def _score(channels: int, classes: int) -> nn.Conv2d:
    """Return a score layer initialised to zero, so that a new skip changes nothing at first."""
    layer = nn.Conv2d(channels, classes, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _alignment(scale: int, distance: float) -> tuple[int, int]:
    """Return the kernel size that upsamples a coarse map onto a fine one, and the crop offset of its output.

    Output element m of a transposed convolution with kernel size k is centred m - (k - 1) / 2 fine elements after the
    coarse map's first element, and the fine map's first element is `distance` after that. A kernel of size 2 scale or,
    if that is off by half an element, of 2 scale - 1 makes the offset a whole number.
    """
    kernel = 2 * scale if (scale - 0.5 + distance).is_integer() else 2 * scale - 1
    return kernel, int((kernel - 1) / 2 + distance)


def _crop(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Crop x to the height and width of another map, from (offset, offset) on."""
    height, width = like.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]
