"""The images that excite a feature map most, and what in them does."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_type, is_whole, listed, whole
from pydlx.nn import Geometry, layer_geometry
from pydlx.visualize.deconvnet import Deconvnet, Layers, feature_maps, project_through


@dataclass(frozen=True)
class Excitation:
    """One image's strongest activation of a feature map.

    Attributes:
        value: The activation.
        image: The image's number, in the order in which they came.
        position: (row, column) of the activation in the feature map.
        region: Rows and columns of the image that the activation sees; at the border, those that exist.
        patch: (C, h, w), that part of the image.
        projection: (C, h, w), that part of the projection back to pixels. It is zero outside of the region.
    """

    value: float
    image: int
    position: tuple[int, int]
    region: tuple[slice, slice]
    patch: Tensor
    projection: Tensor


Excitations = Mapping[int, Sequence[Excitation]]


@dataclass(frozen=True, order=True)
class _Candidate:
    """Sorts by value, and of equal ones the earlier image first."""

    value: float
    minus_image: int
    place: int
    pixels: Tensor


def top_activations(
    model: nn.Module | Deconvnet,
    images: Tensor | Iterable[Tensor | Sequence[Tensor]],
    layer: str,
    channels: Iterable[int] | None = None,
    k: int = 9,
    *,
    progress: Callable[[str], None] | None = None,
) -> dict[int, list[Excitation]]:
    """The images with the k strongest activations of each feature map, at most one an image, with their projections.

    Args:
        model: The network; see :class:`Deconvnet`.
        images: (N, C, H, W), or batches of such, as a data loader gives them; of a batch that is a list or tuple the
            first entry is taken. Sizes may differ from batch to batch. They are passed once, and only those that
            are among the strongest are kept.
        layer: Name of the layer.
        channels: Feature maps; by default all.
        k: Images for each.
        progress: Called with a line that says how far it is, such as ``print``.

    Returns:
        By feature map, its excitations from the strongest on.

    Raises:
        ValueError: If there are no images, the layer cannot be projected through, it has no such channels, or its
            activations are not finite.
    """
    name = "top_activations"
    check_type(name, "model", model, (nn.Module, Deconvnet), "a module")
    check_type(name, "layer", layer, str, "the name of a layer")
    k = whole(name, "k", k, 1)
    if progress is not None and not callable(progress):
        raise TypeError(f"{name}: progress must be a function, got {progress!r}")
    net = model if isinstance(model, Deconvnet) else Deconvnet(model)
    wanted = None if channels is None else listed(name, "channels", channels, "whole numbers")
    best: dict[int, list[_Candidate]] = {}
    layers: Layers = ()
    seen = 0
    for batch in _batches(images):
        layers = layers or net.chain(batch).up_to(layer)
        with torch.no_grad():
            maps = feature_maps(layers, batch)
        if not maps.isfinite().all():
            raise ValueError(f"top_activations: activations must be finite, got NaN or infinity at {layer!r}")
        for channel in _existing(wanted, maps.shape[1]):
            _keep_strongest(best.setdefault(channel, []), maps[:, channel].flatten(1), batch, seen, k)
        seen += len(batch)
        if progress is not None:
            progress(f"{seen} images seen")
    if not seen:
        raise ValueError("top_activations: images must not be empty")
    geometry = functools.cache(lambda *size: layer_geometry(layers, size))
    found = {}
    for channel, candidates in best.items():
        ranked = sorted(candidates, reverse=True)
        found[channel] = [_excitation(layers, geometry(*c.pixels.shape[1:]), channel, c) for c in ranked]
        if progress is not None:
            progress(f"{len(found)} of {len(best)} feature maps projected")
    return found


def _batches(images: Tensor | Iterable[Tensor | Sequence[Tensor]]) -> Iterator[Tensor]:
    wanted = "tensors (N, C, H, W)"
    check_type("top_activations", "images", images, Iterable, wanted)
    for given in [images] if isinstance(images, Tensor) else images:
        batch: Any = given[0] if isinstance(given, (list, tuple)) else given
        check_type("top_activations", "images", batch, Tensor, wanted)
        if len(batch):
            yield batch


def _existing(wanted: list[int] | None, channels: int) -> Sequence[int]:
    if wanted is None:
        return range(channels)
    if not all(is_whole(channel) and 0 <= channel < channels for channel in wanted):
        raise ValueError(f"top_activations: channels must be 0 to {channels - 1}, got {wanted}")
    return wanted


def _keep_strongest(best: list[_Candidate], activations: Tensor, batch: Tensor, seen: int, k: int) -> None:
    """Add a batch's images to a heap of at most k, the weakest of which is first."""
    values, places = activations.max(1)
    for n, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
        if len(best) < k:
            heapq.heappush(best, _Candidate(value, -seen - n, place, batch[n].clone()))
        elif value > best[0].value:
            heapq.heapreplace(best, _Candidate(value, -seen - n, place, batch[n].clone()))


def _excitation(layers: Layers, geometry: Geometry, channel: int, candidate: _Candidate) -> Excitation:
    last = geometry[-1]
    position = divmod(candidate.place, last.size[1])
    rows, columns = geometry.seen_by(last.name, position)
    (projection,) = project_through(layers, candidate.pixels.unsqueeze(0), channel, position)
    return Excitation(
        value=candidate.value,
        image=-candidate.minus_image,
        position=position,
        region=(rows, columns),
        patch=candidate.pixels[:, rows, columns],
        projection=projection[:, rows, columns],
    )
