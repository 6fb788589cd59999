"""The images that excite a feature map most, and what in them does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_type, is_whole, listed, whole
from pydlx.visualize.deconvnet import Deconvnet, Recording, check_images
from pydlx.visualize.running import layer_output

_AT_ONCE = 32  # images of one tensor that are passed through the network together


@dataclass(frozen=True)
class Excitation:
    """One image's strongest activation of a feature map.

    Attributes:
        value: The activation.
        image: The image's number, in the order in which they came.
        position: (row, column) of the activation in the feature map.
        region: Rows and columns of the image that the activation sees, at the border those that exist; all of the image
            behind operations that mix all places. Gates and the image's own statistics count as constants.
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
            first entry is taken. Sizes may differ from batch to batch. They are passed once, 32 of a tensor together.
            What stays in memory of them is k numbers for each feature map, and each image that is among the strongest
            of any feature map, once.
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
    best = _Strongest(k)
    seen = 0
    for batch in _batches(images):
        with torch.no_grad():
            maps = layer_output(net.model, batch.clone(), layer)
        if not maps.isfinite().all():
            raise ValueError(f"{name}: activations must be finite, got NaN or infinity at {layer!r}")
        wanted = _existing(wanted, maps.shape[1])
        best.add(maps[:, wanted], batch, seen)
        seen += len(batch)
        if progress is not None:
            progress(f"{seen} images seen")
    if not seen or wanted is None:
        raise ValueError(f"{name}: images must not be empty")
    return _excitations(net.model, layer, wanted, best, progress)


def _batches(images: Tensor | Iterable[Tensor | Sequence[Tensor]]) -> Iterator[Tensor]:
    wanted = "tensors (N, C, H, W)"
    check_type("top_activations", "images", images, Iterable, wanted)
    for given in images.split(_AT_ONCE) if isinstance(images, Tensor) and images.dim() else images:
        batch: Any = given[0] if isinstance(given, (list, tuple)) else given
        check_type("top_activations", "images", batch, Tensor, wanted)
        check_images(batch)
        if len(batch):
            yield batch


def _existing(wanted: list[int] | None, channels: int) -> list[int]:
    if wanted is None:
        return list(range(channels))
    if not all(is_whole(channel) and 0 <= channel < channels for channel in wanted):
        raise ValueError(f"top_activations: channels must be 0 to {channels - 1}, got {wanted}")
    return list(dict.fromkeys(wanted))


class _Strongest:
    """The k strongest activations of each of K feature maps so far, and the images that they are in.

    Attributes:
        values: (K, up to k), from the strongest on; of equal ones the earlier image first.
        images: (K, up to k), the numbers of their images.
        places: (K, up to k, 2), row and column of each.
        pixels: By number, each image that is among them, once.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.values = self.images = self.places = torch.empty(0)
        self.pixels: dict[int, Tensor] = {}

    def add(self, maps: Tensor, batch: Tensor, seen: int) -> None:
        """Compare a batch's maps (n, K, H, W), after so many images that were seen before."""
        values, places = (found.t().cpu() for found in maps.flatten(2).max(2))  # (K, n)
        numbers = torch.arange(seen, seen + len(batch)).expand_as(places)
        width = maps.shape[3]
        places = torch.stack([places // width, places % width], 2)
        if seen:
            values, numbers = torch.cat([self.values, values], 1), torch.cat([self.images, numbers], 1)
            places = torch.cat([self.places, places], 1)
        order = values.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        self.values, self.images = values.gather(1, order), numbers.gather(1, order)
        self.places = places.gather(1, order[..., None].expand(-1, -1, 2))
        kept = set(self.images.flatten().tolist())
        self.pixels = {number: image for number, image in self.pixels.items() if number in kept}
        for number in sorted(kept - self.pixels.keys()):
            self.pixels[number] = batch[number - seen].clone()


def _excitations(
    model: nn.Module, layer: str, channels: list[int], best: _Strongest, progress: Callable[[str], None] | None
) -> dict[int, list[Excitation]]:
    """The projections of the strongest activations; each image runs through the network once."""
    found: dict[tuple[int, int], Excitation] = {}
    for done, (image, pixels) in enumerate(best.pixels.items(), 1):
        run = Recording(model, pixels[None], layer)
        for index, rank in (best.images == image).nonzero().tolist():
            row, column = best.places[index, rank].tolist()
            chosen = torch.zeros_like(run.maps, dtype=torch.bool)
            chosen[0, channels[index], row, column] = True
            rows, columns = run.region((row, column))
            found[index, rank] = Excitation(
                value=best.values[index, rank].item(),
                image=image,
                position=(row, column),
                region=(rows, columns),
                patch=pixels[:, rows, columns],
                projection=run.project(chosen)[0, :, rows, columns].clone(),
            )
        if progress is not None:
            progress(f"{done} of {len(best.pixels)} images projected")
    ranks = range(best.values.shape[1])
    return {channel: [found[index, rank] for rank in ranks] for index, channel in enumerate(channels)}
