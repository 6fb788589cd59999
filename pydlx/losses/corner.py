"""CornerNet's losses: for the heat maps of corners, the tags that pair them, and their sub-pixel offsets.

Law and Deng, "CornerNet: Detecting objects as paired keypoints", arXiv 1808.01244; constants as in the published code.
Shapes: B images, C classes, maps of H by W pixels, up to K objects per image. The losses are computed in float32, or
float64 for float64 inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_beside, check_floating, check_integers, check_not_negative, check_one_of, check_tensor

_FORMS = ("exact", "original")
# Added to counts of objects before dividing by them, and distance of probabilities from 0 and 1.
_EPS = 1e-4


class CornerMaps(NamedTuple):
    """A network's outputs for both kinds of corner, top-left and bottom-right.

    Attributes:
        heat_tl: (B, C, H, W), logits that a pixel is a corner of an object of each class.
        heat_br: The same.
        tag_tl: (B, 1, H, W), embeddings, which should be equal at the two corners of a box.
        tag_br: The same.
        offset_tl: (B, 2, H, W), x and y of the corner within its pixel, from 0 to 1.
        offset_br: The same.
    """

    heat_tl: Tensor
    heat_br: Tensor
    tag_tl: Tensor
    tag_br: Tensor
    offset_tl: Tensor
    offset_br: Tensor


class CornerTargets(NamedTuple):
    """The targets of the maps; for a single image without the dimension B.

    Attributes:
        heat_tl: (B, C, H, W), 1 at corners, less around them, 0 elsewhere.
        heat_br: The same.
        cell_tl: (B, K) int64, flat index y * W + x of the pixel of each object's corner.
        cell_br: The same.
        offset_tl: (B, K, 2), x and y of each corner within its pixel.
        offset_br: The same.
        mask: (B, K) bool, True in rows with an object.
        empty: (B,) int64, number of boxes left out because they have no area within the image.
        surplus: (B,) int64, number of boxes left out because the image has more than K.
    """

    heat_tl: Tensor
    heat_br: Tensor
    cell_tl: Tensor
    cell_br: Tensor
    offset_tl: Tensor
    offset_br: Tensor
    mask: Tensor
    empty: Tensor
    surplus: Tensor


class CornerLosses(NamedTuple):
    """The weighted total to minimise, and its terms without their weights; all are scalars, means over stacks."""

    total: Tensor
    heat: Tensor
    pull: Tensor
    push: Tensor
    offset: Tensor


def corner_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """CornerNet's variant of focal loss, which penalises pixels near a corner less.

    With p the probability, clamped to [1e-4, 1 - 1e-4], and y the target:

        -(sum over y = 1 of (1 - p)^2 log p  +  sum over y < 1 of (1 - y)^4 p^2 log(1 - p)) / count of y = 1

    The count is over the whole batch, and 1 if it is zero.

    Args:
        logits: Any shape, floating-point.
        target: The same shape, from 0 to 1.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is not a floating-point tensor.
        ValueError: If the shapes or devices differ.
    """
    name = "corner_focal_loss"
    check_floating(name, "logits", logits)
    check_floating(name, "target", target)
    _check_like(name, "target", target, "logits", logits, tuple(logits.shape))
    p = _wide(logits).sigmoid().clamp(_EPS, 1 - _EPS)
    is_corner = target == 1
    at_corner = (1 - p).square() * p.log()
    elsewhere = (1 - target).pow(4) * p.square() * (1 - p).log()
    return -torch.where(is_corner, at_corner, elsewhere).sum() / is_corner.sum().clamp(min=1)


def corner_tag_loss(tag_tl: Tensor, tag_br: Tensor, mask: Tensor, form: str = "exact") -> tuple[Tensor, Tensor]:
    """The pull term, which draws the tags of a box's corners together, and the push term, which separates boxes.

    For the N objects of an image, with e_k and e'_k the tags of object k and m_k their mean:

        pull = sum over k of ((e_k - m_k)^2 + (e'_k - m_k)^2) / (N + 1e-4)
        push = sum over j != k of max(0, 1 - |m_j - m_k|) / (N (N - 1))        0 for N < 2

    Args:
        tag_tl: (B, K), tags at the top-left corners.
        tag_br: (B, K), tags at the bottom-right corners.
        mask: (B, K) bool, True in rows with an object.
        form: ``"exact"``, or ``"original"`` for the push of the published code: it sums over all pairs including
            j = k, subtracts 1 / (N + 1e-4) from each to compensate, and divides by N (N - 1) + 1e-4. The difference is
            small except for N = 1, where the push is the constant 1.

    Returns:
        Pull and push, each the sum over the images.

    Raises:
        TypeError: If the tags are not floating-point, or mask is not bool.
        ValueError: If a shape, a device or the form does not fit.
    """
    name = "corner_tag_loss"
    check_floating(name, "tag_tl", tag_tl)
    check_floating(name, "tag_br", tag_br)
    if tag_tl.dim() != 2:
        raise ValueError(f"{name}: tag_tl must have shape (B, K), got {tuple(tag_tl.shape)}")
    _check_like(name, "tag_br", tag_br, "tag_tl", tag_tl, tuple(tag_tl.shape))
    _check_mask(name, mask, "tag_tl", tag_tl)
    check_one_of(name, "form", form, _FORMS)
    first, second = _wide(tag_tl), _wide(tag_br)
    mean = (first + second) / 2
    count = mask.sum(1).to(mean.dtype)
    apart = (first - mean).square() + (second - mean).square()
    pull = (torch.where(mask, apart, 0).sum(1) / (count + _EPS)).sum()

    near = F.relu(1 - (mean[:, :, None] - mean[:, None, :]).abs())
    pairs = mask[:, :, None] & mask[:, None, :]
    number_of_pairs = count * (count - 1)
    if form == "original":
        near, number_of_pairs = near - (1 / (count + _EPS))[:, None, None], number_of_pairs + _EPS
    else:
        pairs = pairs & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        number_of_pairs = number_of_pairs.clamp(min=1)
    push = (torch.where(pairs, near, 0).sum((1, 2)) / number_of_pairs).sum()
    return pull, push


def corner_offset_loss(offset: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Smooth L1 loss of the offsets, summed over objects, x and y, divided by (objects in the batch + 1e-4).

    Args:
        offset: (B, K, 2), predictions at the corners.
        target: (B, K, 2).
        mask: (B, K) bool, True in rows with an object.

    Returns:
        A scalar.

    Raises:
        TypeError: If the offsets are not floating-point, or mask is not bool.
        ValueError: If a shape or a device does not fit.
    """
    name = "corner_offset_loss"
    check_floating(name, "offset", offset)
    check_floating(name, "target", target)
    if offset.dim() != 3 or offset.shape[2] != 2:
        raise ValueError(f"{name}: offset must have shape (B, K, 2), got {tuple(offset.shape)}")
    _check_like(name, "target", target, "offset", offset, tuple(offset.shape))
    _check_mask(name, mask, "offset", offset)
    distance = F.smooth_l1_loss(_wide(offset), _wide(target), reduction="none")
    return torch.where(mask[:, :, None], distance, 0).sum() / (mask.sum().to(distance.dtype) + _EPS)


class CornerLoss(nn.Module):
    """CornerNet's loss: heat + pull_weight pull + push_weight push + offset_weight offset, averaged over stacks.

    Heat and offset are summed over both kinds of corner. See :func:`corner_focal_loss`, :func:`corner_tag_loss` and
    :func:`corner_offset_loss`.

    Args:
        pull_weight: Not negative.
        push_weight: Not negative.
        offset_weight: Not negative.
        form: How push is computed, ``"exact"`` or ``"original"``.
    """

    def __init__(
        self,
        pull_weight: float = 0.1,
        push_weight: float = 0.1,
        offset_weight: float = 1.0,
        *,
        form: str = "exact",
    ) -> None:
        super().__init__()
        check_not_negative("CornerLoss", "pull_weight", pull_weight)
        check_not_negative("CornerLoss", "push_weight", push_weight)
        check_not_negative("CornerLoss", "offset_weight", offset_weight)
        check_one_of("CornerLoss", "form", form, _FORMS)
        self.pull_weight, self.push_weight, self.offset_weight = pull_weight, push_weight, offset_weight
        self.form = form

    def forward(self, stacks: Sequence[CornerMaps], targets: CornerTargets) -> CornerLosses:
        """Compare the maps of every stack with the targets.

        Raises:
            TypeError: If a map is not floating-point, an index is not an integer, or the mask is not bool.
            ValueError: If shapes or devices do not fit.
        """
        check_integers("CornerLoss", "targets.cell_tl", targets.cell_tl)
        check_integers("CornerLoss", "targets.cell_br", targets.cell_br)
        heat, pull, push, offset = (
            torch.stack(terms).mean() for terms in zip(*(self._terms(maps, targets) for maps in stacks), strict=True)
        )
        total = heat + self.pull_weight * pull + self.push_weight * push + self.offset_weight * offset
        return CornerLosses(total, heat, pull, push, offset)

    def _terms(self, maps: CornerMaps, targets: CornerTargets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The heat, pull, push and offset terms of one stack."""
        heat = corner_focal_loss(maps.heat_tl, targets.heat_tl) + corner_focal_loss(maps.heat_br, targets.heat_br)
        tag_tl = _at_pixels(maps.tag_tl, targets.cell_tl).squeeze(2)
        tag_br = _at_pixels(maps.tag_br, targets.cell_br).squeeze(2)
        pull, push = corner_tag_loss(tag_tl, tag_br, targets.mask, self.form)
        offset_tl, offset_br = _at_pixels(maps.offset_tl, targets.cell_tl), _at_pixels(maps.offset_br, targets.cell_br)
        offset = corner_offset_loss(offset_tl, targets.offset_tl, targets.mask)
        offset = offset + corner_offset_loss(offset_br, targets.offset_br, targets.mask)
        return heat, pull, push, offset

    def extra_repr(self) -> str:
        """The weights and the form."""
        weights = f"pull_weight={self.pull_weight}, push_weight={self.push_weight}, offset_weight={self.offset_weight}"
        return f"{weights}, form={self.form!r}"


def _at_pixels(maps: Tensor, index: Tensor) -> Tensor:
    """Values (B, K, C) of maps (B, C, H, W) at flat pixel indices (B, K)."""
    values = maps.flatten(2).transpose(1, 2)
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_like(name: str, argument: str, value: Tensor, first: str, other: Tensor, shape: tuple[int, ...]) -> None:
    check_beside(name, argument, value, first, other)
    if tuple(value.shape) != shape:
        raise ValueError(f"{name}: {argument} must have shape {shape} as {first}, got {tuple(value.shape)}")


def _check_mask(name: str, mask: Tensor, first: str, other: Tensor) -> None:
    check_tensor(name, "mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"{name}: mask must be bool, got {mask.dtype}")
    _check_like(name, "mask", mask, first, other, tuple(other.shape[:2]))
