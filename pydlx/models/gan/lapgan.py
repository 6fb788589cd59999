"""LAPGAN: pictures are generated from coarse to fine, with a generator and a discriminator per level of a pyramid.

Denton, Chintala, Szlam and Fergus, "Deep generative image models using a Laplacian pyramid of adversarial networks",
arXiv 1506.05751, with the layers of the authors' code. I_0 is the finest picture; d(.) and u(.) rescale bilinearly to
the next coarser and finer size, without a Gaussian filter.

    pyramid   I_{k+1} = d(I_k),  l_k = u(I_{k+1}),  h_k = I_k - l_k
    sampling  I_K = G_K(z_K),  then  I_k = l_k + G_k(z_k, l_k)  up to I_0
    training  D_K tells I_K from G_K(z_K); D_k tells l_k + h_k from l_k + G_k(z_k, l_k), with l_k of real pictures

As each level is trained with real coarser pictures, levels can be trained independently. In this module they are
counted from coarse to fine: level 0 is K. The networks take pictures with zero mean and unit variance in each channel;
`mean` and `std` convert from and to pictures in [0, 1]. Discriminators return logits; the loss applies the sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import (
    check_flag,
    check_floating,
    check_integers,
    check_number,
    check_one_of,
    check_type,
    described,
    listed,
    whole,
    whole_or_none,
)
from pydlx.models.gan.lapgan_parts import (
    BaseDiscriminator,
    BaseGenerator,
    Discriminator,
    Generator,
    large_discriminator,
    large_generator,
    small_discriminator,
    small_generator,
)
from pydlx.models.registry import register_model


class PyramidLevel(NamedTuple):
    """One level of a batch's pyramid, its pictures standardised."""

    image: Tensor  # (N, channels, S, S), I_k
    coarse: Tensor | None  # (N, channels, S, S), l_k: the next coarser picture enlarged; None at the coarsest level
    difference: Tensor  # (N, channels, S, S), h_k = I_k - l_k; the picture itself at the coarsest level


class LAPGAN(nn.Module):
    """The networks of all levels; built by ``create_model("lapgan_cifar10")``, ``"lapgan_stl10"`` or ``"lapgan_lsun"``.

    Attributes:
        sizes: Sides of the pictures in pixels, from coarse to fine.
        channels: Channels of the pictures.
        num_classes: Number of classes that the networks are conditioned on; None for none.
        noise: Size of the noise vector of the coarsest level.
        generators: From coarse to fine; each takes (noise, coarse, labels).
        discriminators: From coarse to fine; each takes (difference, coarse, labels) and returns logits (N,).
        mean: (channels,), subtracted from pictures in [0, 1].
        std: (channels,), by which they are divided afterwards.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        sizes: list[int],
        channels: int,
        noise: int,
        num_classes: int | None,
        generators: list[nn.Module],
        discriminators: list[nn.Module],
    ) -> None:
        super().__init__()
        self.sizes, self.channels, self.noise, self.num_classes = sizes, channels, noise, num_classes
        self.generators, self.discriminators = nn.ModuleList(generators), nn.ModuleList(discriminators)
        self.register_buffer("mean", torch.full((channels,), 0.5))
        self.register_buffer("std", torch.full((channels,), 0.5))

    def standardise(self, pictures: Tensor) -> Tensor:
        """Standardise pictures (N, channels, H, W) in [0, 1] for the networks."""
        return (pictures - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)

    def pictures(self, x: Tensor) -> Tensor:
        """Invert `standardise`, clipping to [0, 1]."""
        return (x * self.std.view(-1, 1, 1) + self.mean.view(-1, 1, 1)).clamp(0, 1)

    def pyramid(self, pictures: Tensor) -> list[PyramidLevel]:
        """Return the pyramid, from coarse to fine, of pictures (N, channels, S, S) in [0, 1] of the finest size.

        Raises:
            TypeError: If pictures is no floating-point tensor.
            ValueError: If it has another shape.
        """
        check_floating("lapgan", "pictures", pictures)
        shape = (self.channels, self.sizes[-1], self.sizes[-1])
        if pictures.dim() != 4 or pictures.shape[1:] != shape:
            raise ValueError(
                f"lapgan: pictures must have shape (N, {shape[0]}, {shape[1]}, {shape[2]}), got {tuple(pictures.shape)}"
            )
        image = self.standardise(pictures)
        levels = []
        for size in self.sizes[-2::-1]:
            smaller = rescale(image, size)
            coarse = rescale(smaller, image.shape[-1])
            levels.append(PyramidLevel(image, coarse, image - coarse))
            image = smaller
        return [PyramidLevel(image, None, image), *reversed(levels)]

    def noise_shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of the noise for one picture at a level: (noise,) at level 0, (1, S, S) at others."""
        return (self.noise,) if level == 0 else (1, self.sizes[level], self.sizes[level])

    def draw_noise(self, level: int, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw noise for `count` pictures at a level, uniform in [-1, 1).

        Args:
            level: Index of the level, from coarse to fine.
            count: Number of pictures.
            generator: Source of random numbers, on any device; by default torch's.
        """
        device = self.mean.device if generator is None else generator.device
        noise = torch.rand(count, *self.noise_shape(level), generator=generator, device=device)
        return (2 * noise - 1).to(self.mean)

    def generate(self, level: int, noise: Tensor, coarse: Tensor | None, labels: Tensor | None = None) -> Tensor:
        """Return the output of a level's generator, standardised: at level 0 pictures, otherwise differences."""
        return self.generators[level](noise, coarse, labels)

    def discriminate(
        self, level: int, difference: Tensor, coarse: Tensor | None, labels: Tensor | None = None
    ) -> Tensor:
        """Return logits (N,) of a level's discriminator, high for real differences (at level 0, pictures)."""
        return self.discriminators[level](difference, coarse, labels)

    def take_level(self, level: int, other: LAPGAN) -> None:
        """Copy both networks of a level from another LAPGAN, as levels can be trained independently.

        Raises:
            TypeError: If the other is no LAPGAN.
            ValueError: If there is no such level, or the other has other options or another mean or std.
        """
        check_type("lapgan", "other", other, LAPGAN, "a LAPGAN")
        level = whole("lapgan", "level", level, 0)
        if level >= len(self.sizes):
            raise ValueError(f"lapgan: level must be from 0 to {len(self.sizes) - 1}, got {level}")
        own, others = self.state_dict(), other.state_dict()
        shapes, others_shapes = ({name: x.shape for name, x in state.items()} for state in (own, others))
        statistics = all(torch.equal(own[name].cpu(), others[name].cpu()) for name in ("mean", "std"))
        # Shapes do not show the sizes of the levels, nor the activations of the coarsest generator.
        unlike = self.sizes != other.sizes or _activations(self) != _activations(other)
        if shapes != others_shapes or unlike or not statistics:
            raise ValueError("lapgan: other must have the options, the mean and the std of this network, got others")
        self.generators[level].load_state_dict(other.generators[level].state_dict())
        self.discriminators[level].load_state_dict(other.discriminators[level].state_dict())

    def forward(self, noises: list[Tensor], labels: Tensor | None = None) -> list[Tensor]:
        """Generate pictures from noise.

        Args:
            noises: Noise of each level, as `draw_noise` returns it, from coarse to fine.
            labels: (N,) integers, required with `num_classes`.

        Returns:
            The pictures of every level, from coarse to fine, each (N, channels, S, S) in [0, 1].

        Raises:
            TypeError: If labels are no integers.
            ValueError: If labels are missing, superfluous, too many or out of range, or noises has another length.
        """
        if len(noises) != len(self.sizes):
            raise ValueError(f"lapgan: noises must be one for each of {len(self.sizes)} levels, got {len(noises)}")
        self._check_labels(labels, len(noises[0]))
        image = self.generate(0, noises[0], None, labels)
        chain = [image]
        for level, size in enumerate(self.sizes[1:], 1):
            coarse = rescale(image, size)
            image = coarse + self.generate(level, noises[level], coarse, labels)
            chain.append(image)
        return [self.pictures(picture) for picture in chain]

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> list[Tensor]:
        """Generate random pictures. Put the model into evaluation mode first, as ``load_model`` does.

        Args:
            n: Number of pictures.
            labels: (n,) integers; by default random ones if the network has classes.
            generator: Source of random numbers; by default torch's.

        Returns:
            The pictures of every level, from coarse to fine, each (n, channels, S, S) in [0, 1].

        Raises:
            TypeError: If n is no whole number, or labels are no integers.
            ValueError: If n is not positive, or labels are superfluous, not n, or out of range.
        """
        n = whole("lapgan", "n", n, 1)
        check_type("lapgan", "generator", generator, (torch.Generator, type(None)), "a torch.Generator or None")
        if labels is None and self.num_classes is not None:
            device = self.mean.device if generator is None else generator.device
            labels = torch.randint(self.num_classes, (n,), generator=generator, device=device)
        self._check_labels(labels, n)
        labels = None if labels is None else labels.to(self.mean.device, torch.int64)
        return self([self.draw_noise(level, n, generator) for level in range(len(self.sizes))], labels)

    def _check_labels(self, labels: Tensor | None, count: int) -> None:
        if self.num_classes is None:
            if labels is not None:
                raise ValueError(f"lapgan: labels must be None without num_classes, got {described(labels)}")
            return
        check_integers("lapgan", "labels", labels)
        assert labels is not None
        if labels.shape != (count,):
            raise ValueError(f"lapgan: labels must have shape ({count},), got {tuple(labels.shape)}")
        if labels.is_meta or not count:
            return
        least, most = int(labels.min()), int(labels.max())
        if least < 0 or most >= self.num_classes:
            wanted = f"from 0 to {self.num_classes - 1}"
            raise ValueError(f"lapgan: labels must be {wanted}, got {least if least < 0 else most}")


def _activations(model: LAPGAN) -> list[type[nn.Module]]:
    """Return the types of the coarsest generator's layers, which include its activations."""
    return [type(layer) for layer in model.generators[0].modules()]


def rescale(x: Tensor, size: int) -> Tensor:
    """d(.) and u(.): rescale (N, C, H, W) to (N, C, size, size) bilinearly; halving the size averages 2x2 pixels."""
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def _registered(name: str, its_sizes: list[int], its_refinement: str) -> Callable[..., LAPGAN]:
    """Return and register the builder of one LAPGAN; builders differ in their defaults only."""

    @register_model(name)
    def build(
        *,
        sizes: list[int] = its_sizes,
        channels: int = 3,
        num_classes: int | None = None,
        noise: int = 100,
        base_units: int = 8000,
        base_discriminator_units: int = 1600,
        base_activation: str = "sigmoid",
        refinement: str = its_refinement,
        width: int = 64,
        discriminator_width: int | None = None,
        dropout: float = 0.5,
        output_norm: bool = True,
    ) -> LAPGAN:
        """Build a LAPGAN.

        Args:
            sizes: Sides of the pictures in pixels, increasing; the paper's text has 8, 14 and 28 for CIFAR-10.
            channels: Channels of the pictures.
            num_classes: Number of classes that condition all networks; None for none. At the coarsest level the label
                is a one-hot vector, concatenated to the noise and to the pixels; at finer levels it is one more map.
            noise: Size of the noise vector of the coarsest level.
            base_units: Units of the coarsest generator's two hidden layers; the paper's text has 1200.
            base_discriminator_units: Units of the coarsest discriminator's; the paper's text has 600.
            base_activation: Activation after the coarsest generator's second hidden layer: ``"sigmoid"``, or ``"relu"``
                as in the authors' code with labels. After the first it is always ReLU.
            refinement: Networks of the finer levels: ``"cifar"``, with three convolutions in generators and two in
                discriminators, or ``"large"``, with five and three. Convolutions of a discriminator are padded where
                its level is too small for their kernels.
            width: Channels of the hidden layers of ``"cifar"`` generators.
            discriminator_width: The same for their discriminators, `width` by default.
            dropout: Of all discriminators except ``"large"`` ones, and of the channels of ``"large"`` generators.
            output_norm: Whether the last layer of ``"large"`` generators is batch norm without parameters, as in the
                authors' code, which gives differences unit variance.

        Raises:
            TypeError: If an option has the wrong type.
            ValueError: If an option is out of range, or sizes do not increase.
        """
        sides = _checked_sizes(sizes)
        _check_counts(
            num_classes,
            discriminator_width,
            channels=channels,
            noise=noise,
            base_units=base_units,
            base_discriminator_units=base_discriminator_units,
            width=width,
        )
        check_one_of("lapgan", "base_activation", base_activation, ("sigmoid", "relu"))
        check_one_of("lapgan", "refinement", refinement, ("cifar", "large"))
        check_flag("lapgan", "output_norm", output_norm)
        check_number("lapgan", "dropout", dropout)
        if not 0 <= dropout < 1:
            raise ValueError(f"lapgan: dropout must be at least 0 and below 1, got {dropout}")
        generators: list[nn.Module] = [
            BaseGenerator(noise, channels, sides[0], base_units, num_classes, base_activation)
        ]
        discriminators: list[nn.Module] = [
            BaseDiscriminator(channels, sides[0], base_discriminator_units, num_classes, dropout)
        ]
        maps = channels + (num_classes is not None)  # the label is one more map
        for size in sides[1:]:
            if refinement == "cifar":
                generator = small_generator(1 + maps, channels, width)
                discriminator = small_discriminator(maps, size, discriminator_width or width, dropout)
            else:
                generator = large_generator(1 + maps, channels, dropout, output_norm=output_norm)
                discriminator = large_discriminator(maps, size)
            generators.append(Generator(generator, num_classes, size))
            discriminators.append(Discriminator(discriminator, num_classes, size))
        return LAPGAN(sides, channels, noise, num_classes, generators, discriminators)

    return build


lapgan_cifar10 = _registered("lapgan_cifar10", [8, 16, 32], "cifar")
lapgan_stl10 = _registered("lapgan_stl10", [8, 16, 32, 64, 96], "cifar")
lapgan_lsun = _registered("lapgan_lsun", [4, 8, 16, 32, 64], "large")


def _checked_sizes(sizes: list[int]) -> list[int]:
    sides = [whole("lapgan", "sizes", size, 2) for size in listed("lapgan", "sizes", sizes, "a list of whole numbers")]
    if not sides or sides != sorted(set(sides)):
        raise ValueError(f"lapgan: sizes must grow from the first to the last, got {sides}")
    return sides


def _check_counts(num_classes: int | None, discriminator_width: int | None, **counts: int) -> None:
    for name, value in counts.items():
        whole("lapgan", name, value, 1)
    whole_or_none("lapgan", "num_classes", num_classes, 1)
    whole_or_none("lapgan", "discriminator_width", discriminator_width, 1)
