"""Source, target and mask, checked, placed, and cropped to what a method has to touch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import torch
from torch import Tensor

from pydlx._autograd import clipped
from pydlx._checks import check_flag, check_number, whole, whole_pair
from pydlx.blending import guidance
from pydlx.blending.feather import soften
from pydlx.blending.images import (
    Image,
    as_planes,
    check_finite,
    convert,
    dtype_name,
    full_scale,
    is_finite,
    luma,
    split_alpha,
)
from pydlx.blending.masks import decode_mask
from pydlx.blending.placement import Box, bounding_boxes, box_of, crop, offset_for_centre
from pydlx.files.colours import ImageWarning


@dataclass(frozen=True)
class Window:
    """A part of the canvas: all that a solver sees.

    Attributes:
        source: (N or 1, C, h, w) in working precision; where the source image does not reach, its nearest pixel.
            0 where `hidden` holds. Finite under the mask and beside it.
        target_pixels: (N, C, h, w) in the target's own dtype. A hard mask reads only those along its rim.
        weight: (N or 1, 1, h, w) in [0, 1]; 0 where the source image does not reach.
        box: where on the canvas the part lies.
        hidden: (N or 1, 1, h, w) bool, true where the source is fully transparent, or NaN or infinite away from the
            mask; None where it nowhere is.
    """

    source: Tensor
    target_pixels: Tensor
    weight: Tensor
    box: Box
    hidden: Tensor | None = None

    @cached_property
    def target(self) -> Tensor:
        """The target's pixels in working precision, all of them finite."""
        return self.target_where(None)

    @cached_property
    def target_near_mask(self) -> Tensor:
        """The target in working precision, finite under the mask and beside it."""
        return self.target_where(self.near_mask)

    @property
    def near_mask(self) -> Tensor:
        """The pixels of positive weight and their neighbours, (N or 1, 1, h, w): no other edge has a weight."""
        inside = self.weight > 0
        return inside | guidance.beside(inside)

    def target_where(self, read: Tensor | None) -> Tensor:
        """The target in working precision, refused if it is not finite where `read` holds, None for everywhere.

        Elsewhere NaN and infinities become 0, so that they do not spread through products with weights of 0.
        """
        target = convert(self.target_pixels, self.target_pixels.dtype, self.source.dtype)
        if not self.target_pixels.is_floating_point() or is_finite(target):
            return target
        if read is not None:
            target = target.masked_fill(~read, 0)
        check_finite("target", target)
        return target

    @property
    def source_gradient(self) -> guidance.Field:
        """The source's gradient; 0 on edges that end in a hidden pixel, as on those beyond the source image."""
        field = guidance.gradient(self.source)
        if self.hidden is None:
            return field
        across, down = (~(p | q) for p, q in guidance.edge_pairs(self.hidden))
        return guidance.scale(field, (across, down))


@dataclass(frozen=True)
class Scene:
    """One composition: what `blend` was given, as checked views.

    Attributes:
        source: (N or 1, C, h, w), in its own dtype, alpha taken off.
        target: (N, C, H, W), in its own dtype, alpha taken off.
        weight: (N or 1, 1, h, w), the mask in the working dtype, the source's alpha multiplied in.
        hidden: (N or 1, 1, h, w) bool, true where the source's alpha is 0, whose colours mean nothing; None where it
            nowhere is.
        offset: row and column of the target where the source's top-left pixel lands.
        mask_box: the smallest box of the canvas that holds every pixel of positive weight inside the canvas.
        clip: whether floating results are to be clipped to [0, 1].
    """

    source: Tensor
    target: Tensor
    weight: Tensor
    hidden: Tensor | None
    offset: tuple[int, int]
    mask_box: Box
    clip: bool

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the solvers work in."""
        return self.weight.dtype

    @property
    def limits(self) -> tuple[int, int] | None:
        """Darkest and brightest allowed value; None for floating images that are not clipped."""
        if self.target.is_floating_point() and not self.clip:
            return None
        return 0, full_scale(self.target.dtype)

    @property
    def canvas(self) -> Box:
        """The box of the whole target."""
        return box_of(self.target)

    def window(self, box: Box) -> Window:
        """Crops everything to a box inside the canvas, which has to meet the source."""
        on_source = box.shift(-self.offset[0], -self.offset[1])
        reach = on_source.intersect(box_of(self.source))
        # Crop in the images' own dtype first: only what is read is converted.
        source = convert(reach.of(self.source), self.target.dtype, self.dtype)
        around = on_source.shift(-reach.top, -reach.left)
        source, hidden = crop(source, around, "replicate"), None
        if self.hidden is not None:
            hidden = crop(reach.of(self.hidden).to(self.dtype), around, "replicate").bool()
            source = source.masked_fill(hidden, 0)
        window = Window(source, box.of(self.target), crop(self.weight, on_source, "zero"), box, hidden)
        return window if not self.target.is_floating_point() or is_finite(source) else _without_holes(window)

    def decode_colour(self, colour: Image) -> Tensor:
        """A further image on the canvas, (N or 1, C, any height, any width), in working precision."""
        planes = _on_device("colour", as_planes("colour", colour), colour, self.target.device)
        if planes.shape[1] != self.target.shape[1]:
            planes, _ = split_alpha(planes)
        planes = _match("colour", planes, self.target)
        values = convert(planes, self.target.dtype, self.dtype)
        check_finite("colour", values)
        return values


def _without_holes(window: Window) -> Window:
    """The window with source pixels that are NaN or infinite hidden; they are refused where the mask needs them."""
    hole = ~window.source.detach().isfinite().all(1, keepdim=True)
    source = window.source.masked_fill(hole & ~window.near_mask, 0)
    check_finite("source", source)
    return replace(window, source=source, hidden=hole if window.hidden is None else hole | window.hidden)


def build_scene(
    source: Image,
    target: Image,
    mask: Image,
    offset: tuple[int, int] | None,
    *,
    center: tuple[int, int] | None,
    threshold: float | None,
    feather: int,
    alpha: bool,
    clip: bool,
) -> Scene:
    """Checks and places what `blend` was given."""
    check_flag("blend", "alpha", alpha)
    feather = whole("blend", "feather", feather, 0)
    target_planes = as_planes("target", target)
    source_planes = _on_device("source", as_planes("source", source), source, target_planes.device)
    if isinstance(mask, Tensor):
        _on_device("mask", mask, mask, target_planes.device)
    opacity = None
    if alpha:
        target_planes, _ = split_alpha(target_planes)
        source_planes, opacity = split_alpha(source_planes)
    source_planes = _match("source", source_planes, target_planes)

    dtype = torch.float64 if torch.float64 in (source_planes.dtype, target_planes.dtype) else torch.float32
    limit = _check_threshold(threshold)
    size, canvas = box_of(source_planes).size, box_of(target_planes)
    weight = decode_mask(mask, size, canvas.size, len(target_planes), target_planes.device, dtype)
    offset = _place(weight, size, offset, center, limit)
    landing = Box(0, 0, *size).shift(*offset)
    _check_landing(landing, canvas, offset)
    if weight.shape[-2:] != size:
        weight = crop(weight, landing, "zero")
    hidden = None
    if opacity is not None:
        weight = weight * clipped(opacity.to(dtype) / full_scale(opacity.dtype), 0, 1)
        transparent = opacity.detach().to(dtype) <= 0
        hidden = transparent if bool(transparent.any()) else None
    if threshold is not None:
        weight = (weight > threshold).to(dtype)
    mask_box = _find_mask(weight.detach(), landing, canvas, offset)
    if feather:
        weight = soften(weight, feather, landing, canvas)
    return Scene(source_planes, target_planes, weight, hidden, offset, mask_box, clip)


def _check_threshold(threshold: float | None) -> float:
    """What weights must exceed to count, 0 without a threshold."""
    if threshold is None:
        return 0.0
    check_number("blend", "threshold", threshold)
    if not 0 <= threshold < 1:
        raise ValueError(f"blend: threshold must lie in [0, 1), got {threshold}")
    return float(threshold)


def _place(
    weight: Tensor,
    size: tuple[int, int],
    offset: tuple[int, int] | None,
    center: tuple[int, int] | None,
    threshold: float,
) -> tuple[int, int]:
    """Row and column of the target where the source's top-left pixel lands."""
    if center is None:
        return (0, 0) if offset is None else whole_pair("blend", "offset", offset, "(row, column)")
    x, y = whole_pair("blend", "center", center, "(x, y)")
    if offset is not None:
        raise ValueError(f"blend: offset and center both say where the source lands, got {offset} and {center}")
    if weight.shape[-2:] != size:
        raise ValueError(
            f"blend: center goes with a mask of the source's size {size}; one of the target's size "
            f"{tuple(weight.shape[-2:])} says itself where it lies"
        )
    return offset_for_centre(weight.detach() > threshold, x, y)


def _check_landing(landing: Box, canvas: Box, offset: tuple[int, int]) -> None:
    if min(landing.intersect(canvas).size) <= 0:
        raise ValueError(
            f"blend: the source lies wholly outside the target: a source of size {landing.size} at offset {offset} "
            f"and a target of size {canvas.size}"
        )


def _find_mask(weight: Tensor, landing: Box, canvas: Box, offset: tuple[int, int]) -> Box:
    """The box of the canvas around the positive weights of all images, each of which has to have some there."""
    visible = landing.intersect(canvas)
    boxes = []
    for index, box in enumerate(bounding_boxes(visible.shift(-landing.top, -landing.left).of(weight).bool())):
        if box is None:
            name = "mask" if len(weight) == 1 else f"mask of image {index}"
            if bool((weight[index] > 0).any()):
                raise ValueError(f"blend: {name} lies wholly outside the target at offset {offset}")
            raise ValueError(
                f"blend: {name} is empty: no pixel of the source at offset {offset} has a positive weight "
                "(the source's alpha multiplies it)"
            )
        boxes.append(box)
    return reduce(Box.join, boxes).shift(visible.top, visible.left)


def _on_device(name: str, planes: Tensor, given: Image, device: torch.device) -> Tensor:
    """NumPy arrays follow the target to its device; tensors have to be there already."""
    if isinstance(given, Tensor) and planes.device != device:
        raise ValueError(f"blend: {name} is on {planes.device} and target on {device}, move them to one device")
    return planes.to(device)


def _match(name: str, image: Tensor, target: Tensor) -> Tensor:
    """Checks that an image fits the target's batch, channels and kind of dtype; grey and colours follow the target."""
    if image.is_floating_point() != target.is_floating_point():
        raise TypeError(
            f"blend: {name} and target must both be integer or both be floating images, got "
            f"{dtype_name(image.dtype)} and {dtype_name(target.dtype)}; convert one of them, for example {name} / 255"
        )
    if len(image) not in (1, len(target)):
        expected = "one image" if len(target) == 1 else f"one image or {len(target)}, one for each target"
        raise ValueError(f"blend: {name} must be {expected}, got {len(image)}")
    channels = target.shape[1]
    if image.shape[1] == 3 and channels == 1:
        return _as_grey(name, image)
    if image.shape[1] not in (1, channels):
        expected = "1 channel" if channels == 1 else f"1 or {channels} channels"
        layout = "; arrays are (H, W, C), tensors (C, H, W)" if max(channels, image.shape[1]) > 4 else ""
        raise ValueError(f"blend: {name} must have {expected} like the target, got {image.shape[1]}{layout}")
    return image.expand(-1, channels, -1, -1)


def _as_grey(name: str, image: Tensor) -> Tensor:
    warnings.warn(
        f"blend: {name} has colours and the target is grey, so it is blended as grey", ImageWarning, stacklevel=6
    )
    if image.is_floating_point():
        return luma(image)
    return luma(image.float()).round_().to(image.dtype)
