"""The generators and discriminators of LAPGAN's levels; see `pydlx.models.gan.lapgan`.

Those of the coarsest level are fully connected. Those of finer levels are convolutional: ``small`` for the paper's
CIFAR and STL experiments (``refinement="cifar"``), ``large`` for its LSUN experiments.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LARGE_GENERATOR_CHANNELS = 64, 368, 128, 224  # of its hidden layers
_LARGE_DISCRIMINATOR_CHANNELS = 48, 448, 416


class ClassMap(nn.Module):
    """A label as a map (N, 1, S, S): a linear layer of its one-hot vector, then ReLU.

    Args:
        num_classes: Number of classes.
        size: S, the side of the map in pixels.
    """

    def __init__(self, num_classes: int, size: int) -> None:
        super().__init__()
        self.num_classes, self.size = num_classes, size
        self.linear = nn.Linear(num_classes, size * size)

    def forward(self, labels: Tensor) -> Tensor:
        """Return the maps of labels (N,)."""
        plane = F.relu(self.linear(one_hot(labels, self.num_classes, self.linear.weight)))
        return plane.view(-1, 1, self.size, self.size)


class BaseGenerator(nn.Module):
    """The coarsest level's generator: noise (N, noise) to pictures (N, channels, S, S), with two hidden layers.

    The label's one-hot vector is concatenated to the noise.
    """

    def __init__(
        self, noise: int, channels: int, size: int, units: int, num_classes: int | None, activation: str
    ) -> None:
        super().__init__()
        self.num_classes, self.shape = num_classes, (channels, size, size)
        self.layers = nn.Sequential(
            nn.Linear(noise + (num_classes or 0), units),
            nn.ReLU(),
            nn.Linear(units, units),
            nn.Sigmoid() if activation == "sigmoid" else nn.ReLU(),
            nn.Linear(units, channels * size * size),
        )
        _initialise(self, 0.05)

    def forward(self, noise: Tensor, coarse: None, labels: Tensor | None) -> Tensor:
        """Return pictures; `coarse` is None at this level."""
        x = _with_labels(noise, labels, self.num_classes)
        return self.layers(x).view(-1, *self.shape)


class BaseDiscriminator(nn.Module):
    """The coarsest level's discriminator: pictures (N, channels, S, S) to logits (N,), with two hidden layers.

    The label's one-hot vector is concatenated to the pixels.
    """

    def __init__(self, channels: int, size: int, units: int, num_classes: int | None, dropout: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = nn.Sequential(
            nn.Linear(channels * size * size + (num_classes or 0), units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, 1),
        )
        _initialise(self, 0.005)

    def forward(self, picture: Tensor, coarse: None, labels: Tensor | None) -> Tensor:
        """Return logits, high for real pictures; `coarse` is None at this level."""
        return self.layers(_with_labels(picture.flatten(1), labels, self.num_classes)).squeeze(1)


class Generator(nn.Module):
    """A finer level's generator: noise (N, 1, S, S) and the upsampled coarser picture to a difference.

    The difference is (N, channels, S, S). The first layer's input channels are noise, the label's map and the coarser
    picture, in this order.

    Args:
        layers: Layers from 1 + channels maps, or one more with labels, to `channels` maps.
        num_classes: Number of classes, or None.
        size: S, the side of the pictures in pixels.
    """

    def __init__(self, layers: nn.Sequential, num_classes: int | None, size: int) -> None:
        super().__init__()
        self.class_map = None if num_classes is None else ClassMap(num_classes, size)
        self.layers = layers

    def forward(self, noise: Tensor, coarse: Tensor, labels: Tensor | None) -> Tensor:
        """Return the difference to the upsampled coarser picture."""
        label_map = [] if self.class_map is None or labels is None else [self.class_map(labels)]
        return self.layers(torch.cat([noise, *label_map, coarse], 1))


class Discriminator(nn.Module):
    """A finer level's discriminator: the sum of the difference and the upsampled coarser picture to logits (N,).

    Args:
        layers: Layers from `channels` maps, or one more with labels, to (N, 1).
        num_classes: Number of classes, or None.
        size: S, the side of the pictures in pixels.
    """

    def __init__(self, layers: nn.Sequential, num_classes: int | None, size: int) -> None:
        super().__init__()
        self.class_map = None if num_classes is None else ClassMap(num_classes, size)
        self.layers = layers

    def forward(self, difference: Tensor, coarse: Tensor, labels: Tensor | None) -> Tensor:
        """Return logits, high for real differences."""
        x = difference + coarse
        if self.class_map is not None and labels is not None:
            x = torch.cat([x, self.class_map(labels)], 1)
        return self.layers(x).squeeze(1)


class ChannelLPPool(nn.Module):
    """The Euclidean norm of every two neighbouring channels: (N, 2C, H, W) to (N, C, H, W).

    The small constant keeps the gradient finite where both are zero, as is common after a ReLU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pool x (N, 2C, H, W) to (N, C, H, W)."""
        return (x.unflatten(1, (-1, 2)).square().sum(2) + 1e-12).sqrt()


def small_generator(inputs: int, channels: int, width: int) -> nn.Sequential:
    """Return three convolutions that keep the size."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 7, padding=3),
        nn.ReLU(),
        nn.Conv2d(width, width, 7, padding=3),
        nn.ReLU(),
        nn.Conv2d(width, channels, 5, padding=2),
    )


def small_discriminator(inputs: int, size: int, width: int, dropout: float) -> nn.Sequential:
    """Return two convolutions, the second of stride 2, and a linear layer."""
    padded = size < 9  # smaller than the receptive field of both kernels
    left = -(-size // 2) if padded else (size - 4 - 5) // 2 + 1
    return nn.Sequential(
        nn.Conv2d(inputs, width, 5, padding=2 if padded else 0),
        nn.ReLU(),
        nn.Conv2d(width, width, 5, 2, padding=2 if padded else 0),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width * left * left, 1),
    )


def large_generator(inputs: int, channels: int, dropout: float, *, output_norm: bool) -> nn.Sequential:
    """Return five convolutions that keep the size; the middle ones are grouped."""
    first, second, third, fourth = _LARGE_GENERATOR_CHANNELS
    layers = nn.Sequential(
        *_normalised(nn.Conv2d(inputs, first, 7, padding=3)),
        *_normalised(nn.Conv2d(first, second, 7, padding=3, groups=4)),
        nn.Dropout2d(dropout),
        *_normalised(nn.Conv2d(second, third, 7, padding=3, groups=4)),
        ChannelLPPool(),
        *_normalised(nn.Conv2d(third // 2, fourth, 5, padding=2, groups=2)),
        nn.Dropout2d(dropout),
        nn.Conv2d(fourth, channels, 7, padding=3),
    )
    if output_norm:
        layers.append(nn.BatchNorm2d(channels, affine=False))
    return layers


def large_discriminator(inputs: int, size: int) -> nn.Sequential:
    """Return three convolutions and a linear layer."""
    first, second, third = _LARGE_DISCRIMINATOR_CHANNELS
    padded = size < 13
    left = size if padded else size - 12
    return nn.Sequential(
        nn.Conv2d(inputs, first, 3, padding=1 if padded else 0),
        nn.ReLU(),
        nn.Conv2d(first, second, 5, padding=2 if padded else 0, groups=4),
        nn.ReLU(),
        nn.Conv2d(second, third, 7, padding=3 if padded else 0, groups=16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(third * left * left, 1),
    )


def one_hot(labels: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """Return one-hot vectors (N, num_classes) of labels (N,), in another tensor's dtype."""
    return F.one_hot(labels.long(), num_classes).to(like.dtype)


def _with_labels(x: Tensor, labels: Tensor | None, num_classes: int | None) -> Tensor:
    """Append the labels' one-hot vectors to vectors (N, n)."""
    if labels is None or num_classes is None:
        return x
    return torch.cat([x, one_hot(labels, num_classes, x)], 1)


def _normalised(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.ReLU(), nn.BatchNorm2d(convolution.out_channels, affine=False)


def _initialise(network: nn.Module, deviation: float) -> None:
    """Initialise linear layers: weights by N(0, deviation), biases by 0. Convolutions keep torch's default."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, deviation)
            nn.init.zeros_(layer.bias)
