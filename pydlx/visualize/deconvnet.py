"""What in an image excites a feature map: projection through a deconvolutional network.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", arXiv 1311.2901. One activation of a layer is
kept, all others are set to zero, and the signal runs back to the pixels:

    convolution     the transposed filters, no bias
    max pooling     to the cells that were the maxima (the switches)
    ReLU            a ReLU again, of the signal itself
    average pooling, batch normalisation    their transposes; normalisation scales, by its running statistics
    SoftPool        the pooling weights, as soft switches

All but the ReLU is what the backward pass does, so this is the backward pass with another rule at ReLUs: the gradient
keeps the signal where the forward input was positive, the deconvnet where the signal is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_type
from pydlx.nn import SoftPool2d
from pydlx.ops import soft_pool2d
from pydlx.visualize.chain import Chain, module_chain

Layers = Sequence[tuple[str, nn.Module]]
Position = tuple[int, int] | str


class Deconvnet:
    """Projects activations of a network back to its input.

    The network may be any module, as long as it runs its image through a plain chain of modules up to the layer asked
    for: a ``torch.nn.Sequential``, or one with parts such as ``features``. It is run in evaluation mode and left as it
    was.

    Args:
        model: A network on (N, C, H, W), of Conv2d, ReLU, MaxPool2d, AvgPool2d, SoftPool2d, BatchNorm2d, Dropout and
            Identity.
    """

    def __init__(self, model: nn.Module) -> None:
        check_type("Deconvnet", "model", model, nn.Module, "a module")
        self.model = model

    def layers(self, images: Tensor) -> list[str]:
        """Names of the layers that can be asked for, from the image on."""
        return [name for name, _ in self.chain(images).layers]

    def chain(self, images: Tensor) -> Chain:
        """The network's layers in the order in which the first of these images passes them."""
        if images.dim() != 4 or not images.is_floating_point() or len(images) == 0:
            raise ValueError(
                f"deconvnet: images must be floating-point of shape (N, C, H, W), N not 0, "
                f"got {images.dtype} of shape {tuple(images.shape)}"
            )
        return module_chain(self.model, images[:1].detach())

    def project(
        self, images: Tensor, layer: str, channel: int | str = "strongest", position: Position = "strongest"
    ) -> Tensor:
        """What in each image caused an activation of a layer.

        Args:
            images: (N, C, H, W).
            layer: Name of the layer, as in ``model.named_modules()``.
            channel: Feature map, or ``"strongest"`` for the one with each image's largest activation.
            position: (row, column) in it, ``"strongest"`` for each image's largest activation, or ``"all"`` to keep the
                whole map.

        Returns:
            The projections, of the shape of `images`.

        Raises:
            ValueError: If the layer is not on the network's chain, something before it cannot be projected through, or
                the channel or position is outside of its output.
        """
        return project_through(self.chain(images).up_to(layer), images, channel, position)


def project_through(layers: Layers, images: Tensor, channel: int | str, position: Position) -> Tensor:
    """:meth:`Deconvnet.project` for the last of these layers."""
    with torch.inference_mode(False), torch.enable_grad():
        pixels = images.detach().clone().requires_grad_()
        maps = feature_maps(layers, pixels)
        kept = torch.where(_chosen(maps.detach(), channel, position), maps.detach(), 0)
        (projection,) = torch.autograd.grad(maps, pixels, kept)
    return projection


def feature_maps(layers: Layers, images: Tensor) -> Tensor:
    """The last layer's output; its backward pass is the projection."""
    for step in [_projectable(name, layer) for name, layer in layers]:
        images = step(images)
    return images


def _chosen(maps: Tensor, channel: int | str, position: Position) -> Tensor:
    """Which activations of (N, K, H, W) are kept: True at one of each image, or at a whole map."""
    batch, channels, height, width = maps.shape
    flat = maps.flatten(2)
    if channel == "strongest":
        channel_of = flat.amax(2).argmax(1)
    elif isinstance(channel, int) and 0 <= channel < channels:
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
        and all(isinstance(at, int) and 0 <= at < n for at, n in zip(position, (height, width), strict=True))
    )


class _RectifySignal(torch.autograd.Function):
    """ReLU, whose backward pass is a ReLU too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.relu()

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        return signal.relu()


def _projectable(name: str, layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The layer's function in evaluation mode, with the deconvnet's rule for its backward pass."""
    if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)) and not getattr(layer, "return_indices", False):
        return layer
    if isinstance(layer, nn.ReLU):
        return _RectifySignal.apply
    if isinstance(layer, (nn.Identity, nn.modules.dropout._DropoutNd)):
        return lambda x: x
    if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
        return partial(
            F.batch_norm,
            running_mean=layer.running_mean,
            running_var=layer.running_var,
            weight=layer.weight,
            bias=layer.bias,
            eps=layer.eps,
        )
    if isinstance(layer, SoftPool2d):
        window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
        return lambda x: soft_pool2d(x, *window, gradient="paper")
    raise ValueError(
        f"deconvnet: layer {name!r} must be one that can be projected through (Conv2d, ReLU, MaxPool2d, AvgPool2d, "
        f"SoftPool2d, BatchNorm2d with running statistics, Dropout, Identity), got {layer}"
    )
