"""What in an image excites a feature map: projection through a deconvolutional network.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", arXiv 1311.2901. One activation of a layer is
kept, all others are set to zero, and the signal runs back to the pixels: through convolutions by the transposed filters
and without bias, through max pooling to the elements that were the maxima, and at each ReLU through a ReLU again, of
the signal itself.

All but the last is what the backward pass does, so this is the backward pass with another rule at ReLUs: the gradient
keeps the signal where the forward input was positive, the deconvnet where the signal is. The network runs as it is,
shortcuts and all; `pydlx.visualize.rules` has the rule of each operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_type, is_whole
from pydlx.visualize.regions import seen_region
from pydlx.visualize.rules import follow_rules, path, soft_switches
from pydlx.visualize.running import layer_names, layer_output

Position = tuple[int, int] | str


class Deconvnet:
    """Projects activations of a network back to its input.

    The network is any module that takes images (N, C, H, W): a plain chain of layers, one with shortcuts, skips and
    branches, with functions beside modules, with modules that run twice. It is run in evaluation mode and left as it
    was.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        check_type("Deconvnet", "model", model, nn.Module, "a module")
        self.model = model

    def layers(self, images: Tensor) -> list[str]:
        """Names of the layers that can be asked for, in the order in which they return.

        A layer that runs twice has its second run as ``name:2``.
        """
        check_images(images)
        with torch.no_grad():
            return layer_names(self.model, images[:1].detach().clone())

    def project(
        self, images: Tensor, layer: str, channel: int | str = "strongest", position: Position = "strongest"
    ) -> Tensor:
        """What in each image caused an activation of a layer.

        Args:
            images: (N, C, H, W).
            layer: Name of the layer, as in ``model.named_modules()``. Of a layer that returns vectors (N, K), each
                number is a feature map of size (1, 1).
            channel: Feature map, or ``"strongest"`` for the one with each image's largest activation.
            position: (row, column) in it, ``"strongest"`` for each image's largest activation, or ``"all"`` to keep the
                whole map.

        Returns:
            The projections, of the shape of `images`.

        Raises:
            ValueError: If the network has no such layer, the layer does not depend on the image, there is no rule for
                an operation before it, or the channel or position is outside of its output.
        """
        run = Recording(self.model, images, layer)
        return run.project(_chosen(run.maps, channel, position))


class Recording:
    """A network's run up to a layer, from which signal can be sent back any number of times.

    Attributes:
        maps: (N, K, H, W), the layer's output.
    """

    def __init__(self, model: nn.Module, images: Tensor, layer: str) -> None:
        check_images(images)
        with torch.inference_mode(False), torch.enable_grad():
            self._pixels = images.detach().clone().requires_grad_()
            image = self._pixels.clone()  # which the network may change in place
            start: Any = image.grad_fn
            with soft_switches(model):
                output = layer_output(model, image, layer)
        self._output = output
        self._nodes = path(output, start)
        if not self._nodes:
            raise ValueError(f"deconvnet: layer must depend on the image, got {layer!r}")
        follow_rules(self._nodes)
        self.maps = output.detach()

    def project(self, chosen: Tensor) -> Tensor:
        """What the activations where `chosen` is True have in the images, of the images' shape."""
        kept = torch.where(chosen, self.maps, 0)
        (projection,) = torch.autograd.grad(self._output, self._pixels, kept, retain_graph=True)
        return projection

    def region(self, position: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the images from which signal can reach a place of the feature maps."""
        (height, width), (rows, columns) = self.maps.shape[2:], self._pixels.shape[2:]
        return seen_region(self._nodes, (height, width), position, (rows, columns))


def check_images(images: Tensor) -> None:
    """Require images (N, C, H, W), at least one."""
    if images.dim() != 4 or not images.is_floating_point() or len(images) == 0:
        raise ValueError(
            f"deconvnet: images must be floating-point of shape (N, C, H, W), N not 0, "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )


def _chosen(maps: Tensor, channel: int | str, position: Position) -> Tensor:
    """Which activations of (N, K, H, W) are kept: True at one of each image, or at a whole map."""
    batch, channels, height, width = maps.shape
    flat = maps.flatten(2)
    if channel == "strongest":
        channel_of = flat.amax(2).argmax(1)
    elif is_whole(channel) and 0 <= channel < channels:
        channel_of = torch.full((batch,), channel, device=maps.device)
    else:
        raise ValueError(f'deconvnet: channel must be 0 to {channels - 1} or "strongest", got {channel!r}')
    each = torch.arange(batch, device=maps.device)
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    if position == "all":
        chosen[each, channel_of] = True
    elif position == "strongest":
        chosen[each, channel_of, flat[each, channel_of].argmax(1)] = True
    elif _inside(position, height, width):
        chosen[each, channel_of, int(position[0]) * width + int(position[1])] = True
    else:
        raise ValueError(
            f'deconvnet: position must lie inside of {(height, width)}, or be "strongest" or "all", got {position!r}'
        )
    return chosen.view_as(maps)


def _inside(position: Any, height: int, width: int) -> bool:
    return (
        isinstance(position, Sequence)
        and len(position) == 2
        and all(is_whole(at) and 0 <= at < n for at, n in zip(position, (height, width), strict=True))
    )
