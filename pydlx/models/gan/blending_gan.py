"""The Blending GAN of GP-GAN: a network that gives a pasted picture of 64x64 pixels natural colours.

Wu, Zheng, Zhang and Huang, "GP-GAN: towards realistic high-resolution image blending", arXiv 1703.07195, section 3.2,
with the layers of the authors' code. Pictures are in [-1, 1].

    encoder   picture (3, 64, 64) - 64 - 128 - 256 - 512 channels, each half as large - bottleneck (4000, 1, 1)
    decoder   bottleneck - 512 - 256 - 128 - 64 channels, each twice as large - picture (3, 64, 64)
    critic    picture (3, 64, 64) - 64 - 128 - 256 - 512 channels - one number, low for what looks real

The convolution to the bottleneck covers all remaining 4x4 pixels: it is the paper's fully connected layer. In the
unsupervised variant the decoder alone makes pictures, from noise.

As everything passes through the bottleneck, the decoder must learn to draw whole pictures, which takes many
photographs. Three options that are not in the paper make a small network good with few: `skips`, `output` and
`mask_input`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pydlx._autograd import clipped
from pydlx._checks import check_flag, check_floating, check_one_of, described, whole, whole_or_none
from pydlx.models.registry import register_model


class _ConvToOnePixel(nn.Conv2d):
    """A convolution of 4x4 pixels to one pixel, computed as a matrix product, in a twentieth of the time."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight.flatten(1))[..., None, None]


class _ConvFromOnePixel(nn.ConvTranspose2d):
    """A transposed convolution of one pixel to 4x4 pixels, computed as a matrix product."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return (x.flatten(1) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])


class Encoder(nn.Module):
    """A picture (N, inputs, S, S) to features with sides of S/2, S/4, ... 4 and 1 pixels.

    Args:
        inputs: Channels of the picture.
        widths: Channels after each downsampling.
        outputs: Channels of the last convolution, which covers the remaining 4x4 pixels.
        bottleneck: Whether batch norm and an activation follow it, as in the generator, or nothing, as in the critic.
    """

    def __init__(self, inputs: int, widths: list[int], outputs: int, *, bottleneck: bool) -> None:
        super().__init__()
        stages = [nn.Sequential(_halving(inputs, widths[0]), nn.LeakyReLU(0.2))]
        for before, after in pairwise(widths):
            stages.append(nn.Sequential(_halving(before, after), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)))
        stages.append(nn.Sequential(_ConvToOnePixel(widths[-1], outputs, 4, bias=False)))
        if bottleneck:
            stages[-1].extend([nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)])
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of every stage, from fine to coarse."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """A code (N, inputs, 1, 1) to a picture (N, outputs, S, S), through features with sides of 4, 8, ... S/2 pixels.

    Args:
        inputs: Channels of the code.
        widths: Channels before each upsampling, from coarse to fine.
        outputs: Channels of the picture.
        skips: Whether to concatenate the encoder's features of the same size at each stage, as in a U-Net.
    """

    def __init__(self, inputs: int, widths: list[int], outputs: int, *, skips: bool = False) -> None:
        super().__init__()
        beside = 2 if skips else 1
        first = _ConvFromOnePixel(inputs, widths[0], 4, bias=False)
        stages = [nn.Sequential(first, nn.BatchNorm2d(widths[0]), nn.ReLU())]
        for before, after in pairwise(widths):
            stages.append(nn.Sequential(_doubling(beside * before, after), nn.BatchNorm2d(after), nn.ReLU()))
        stages.append(nn.Sequential(_doubling(beside * widths[-1], outputs)))
        self.stages = nn.ModuleList(stages)

    def forward(self, code: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """Return the picture before tanh or clipping; `features` are the encoder's, from coarse to fine."""
        x = code
        for number, stage in enumerate(self.stages):
            if features and number > 0:
                x = torch.cat([x, features[number - 1]], 1)
            x = stage(x)
        return x


OUTPUTS = ("picture", "change", "transform")


class Generator(nn.Module):
    """The generator: from a pasted picture x to a picture y with natural colours.

    The option `output` says how y is made from the decoder's last features f:

        picture     y = tanh f                       f has 3 channels
        change      y = x + f                        f has 3 channels
        transform   y = x + A (x, x^2) + b           f has 21 channels; (A, b), 3x7, is its mean over the pasted pixels

    A transform is thus one change of colour for all pasted pixels, which can be applied at any resolution. If the mask
    m is given, pixels outside it stay: y becomes m y + (1 - m) x, for the last two.

    Args:
        channels: Channels of a picture.
        widths: Channels after each downsampling.
        bottleneck: Channels of the code.
        skips, output, mask_input: See :func:`blending_gan`.
    """

    def __init__(
        self, channels: int, widths: list[int], bottleneck: int, *, skips: bool, output: str, mask_input: bool
    ) -> None:
        super().__init__()
        self.skips, self.output, self.channels = skips, output, channels
        self.encoder = Encoder(channels + mask_input, widths, bottleneck, bottleneck=True)
        features = channels * (2 * channels + 1) if output == "transform" else channels
        self.decoder = Decoder(bottleneck, widths[::-1], features, skips=skips)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Recolour x (N, channels, S, S), given its mask (N, 1, S, S) in [0, 1] if built with `mask_input`."""
        if self.output == "transform":
            y = transformed(x, self.transform(x, mask))
        else:
            made = self._features(x, mask)
            y = torch.tanh(made) if self.output == "picture" else clipped(x + made, -1, 1)
        return y if mask is None or self.output == "picture" else torch.lerp(x, y, mask)

    def transform(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (A, b) of :func:`transformed` for every picture, (N, channels, 2 channels + 1)."""
        made = self._features(x, mask)
        share = torch.ones_like(x[:, :1]) if mask is None else mask
        mean = (made * share).sum((2, 3)) / share.sum((2, 3)).clamp(min=1)
        return mean.unflatten(1, (self.channels, 2 * self.channels + 1))

    def _features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        *features, code = self.encoder(x if mask is None else torch.cat([x, 2 * mask - 1], 1))
        return self.decoder(code, features[::-1] if self.skips else None)


def transformed(x: Tensor, transform: Tensor) -> Tensor:
    """Apply a colour transform: x + A (x, x^2) + b, clipped to [-1, 1].

    Args:
        x: (N, C, H, W) in [-1, 1], of any size.
        transform: (N, C, 2 C + 1), the matrix A and the vector b of every picture.

    Returns:
        (N, C, H, W).
    """
    terms = torch.cat([x, x.square(), torch.ones_like(x[:, :1])], 1)
    return clipped(x + torch.einsum("nck,nkhw->nchw", transform, terms), -1, 1)


class BlendingGAN(nn.Module):
    """The generator and, for training, the critic; built by ``create_model("blending_gan")``.

    Attributes:
        image_size: Side S of the pictures in pixels.
        channels: Channels of the pictures.
        noise: Size of the noise vector of the unsupervised variant; None for the supervised one.
        mask_input: Whether the generator takes the mask as well.
        generator: From (N, channels, S, S), or noise (N, noise, 1, 1), to pictures.
        critic: From pictures to one number each; None if built without.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        noise: int | None,
        mask_input: bool,
        generator: Any,
        critic: Encoder | None,
    ) -> None:
        super().__init__()
        self.image_size, self.channels, self.noise, self.mask_input = image_size, channels, noise, mask_input
        self.generator: Any = generator
        self.critic = critic
        self.apply(_initialise)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Recolour pasted pictures, or generate pictures from noise.

        Args:
            x: (N, channels, S, S) in [-1, 1]; noise (N, noise) or (N, noise, 1, 1) in the unsupervised variant.
            mask: (N, 1, S, S) in [0, 1], 1 at pasted pixels; required with `mask_input`, otherwise ignored.

        Returns:
            (N, channels, S, S) in [-1, 1].

        Raises:
            TypeError: If x is no floating-point tensor.
            ValueError: If x or mask has another shape.
        """
        if self.noise is None:
            return self.generator(*self._checked(x, mask))
        check_floating("blending_gan", "x", x)
        if x.shape[1:] not in ((self.noise,), (self.noise, 1, 1)):
            raise ValueError(f"blending_gan: x must have shape (N, {self.noise}), got {tuple(x.shape)}")
        return torch.tanh(self.generator(x.reshape(-1, self.noise, 1, 1)))

    def transform(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the colour transform of a network built with ``output="transform"``; see :func:`transformed`.

        Args:
            x, mask: As for ``forward``.

        Returns:
            (N, channels, 2 channels + 1).

        Raises:
            TypeError: If x is no floating-point tensor.
            ValueError: If x or mask has another shape, or the network has another output.
        """
        if not self.makes_transforms:
            raise ValueError("blending_gan: output must be 'transform' to find a change of light")
        return self.generator.transform(*self._checked(x, mask))

    @property
    def makes_transforms(self) -> bool:
        """Whether `transform` can be called."""
        return isinstance(self.generator, Generator) and self.generator.output == "transform"

    def _checked(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Check and return the generator's inputs: the pictures, and the masks with `mask_input`."""
        check_floating("blending_gan", "x", x)
        size = (self.image_size, self.image_size)
        if x.dim() != 4 or x.shape[1:] != (self.channels, *size):
            wanted = f"(N, {self.channels}, {size[0]}, {size[1]})"
            raise ValueError(f"blending_gan: x must have shape {wanted}, got {tuple(x.shape)}")
        if not self.mask_input:
            return [x]
        if not isinstance(mask, Tensor) or mask.shape != (len(x), 1, *size):
            raise ValueError(f"blending_gan: mask must have shape {(len(x), 1, *size)}, got {described(mask)}")
        return [x, mask.to(x)]

    def score(self, pictures: Tensor) -> Tensor:
        """Return the critic's mean over pictures (N, channels, S, S), a scalar; low for real pictures.

        Raises:
            ValueError: If the network was built without its critic.
        """
        if self.critic is None:
            raise ValueError("blending_gan: critic must be True to score pictures, got False")
        return self.critic(pictures)[-1].mean()


@register_model("blending_gan")
def blending_gan(
    *,
    image_size: int = 64,
    channels: int = 3,
    width: int = 64,
    critic_width: int | None = None,
    bottleneck: int = 4000,
    noise: int | None = None,
    skips: bool = False,
    output: str = "picture",
    mask_input: bool = False,
    critic: bool = True,
) -> BlendingGAN:
    """Build a Blending GAN; by default the paper's supervised one, with 71.1 million parameters and 2.8 in its critic.

    Args:
        image_size: Side of the pictures in pixels, a power of two from 8.
        channels: Channels of the pictures.
        width: Channels after the first downsampling; each further one doubles them.
        critic_width: The same for the critic, `width` by default.
        bottleneck: Size of the code between encoder and decoder.
        noise: Size of the noise vector (100 in the paper), for the unsupervised variant; None for the supervised one.
        skips: Whether to concatenate the encoder's features to the decoder's of the same size, as in a U-Net.
        output: What the decoder predicts: the ``"picture"``, its ``"change"``, or a ``"transform"`` of its colours, see
            :class:`Generator`.
        mask_input: Whether the encoder takes the mask of the pasted pixels as another channel.
        critic: Whether to build the critic, which only training needs.

    Raises:
        ValueError: If a number is not positive, image_size is no power of two from 8, or noise is given together with
            skips, another output or mask_input.
    """
    for name, value in (("channels", channels), ("width", width), ("bottleneck", bottleneck)):
        whole("blending_gan", name, value, 1)
    whole("blending_gan", "image_size", image_size, 8)
    if image_size & (image_size - 1):
        raise ValueError(f"blending_gan: image_size must be a power of two from 8, got {image_size}")
    whole_or_none("blending_gan", "critic_width", critic_width, 1)
    whole_or_none("blending_gan", "noise", noise, 1)
    for name, flag in (("skips", skips), ("mask_input", mask_input), ("critic", critic)):
        check_flag("blending_gan", name, flag)
    check_one_of("blending_gan", "output", output, OUTPUTS)
    if noise is not None and (skips or mask_input or output != "picture"):
        raise ValueError("blending_gan: skips, output and mask_input must be left out with noise, which has no encoder")
    halvings = int(math.log2(image_size)) - 2
    widths = [width * 2**stage for stage in range(halvings)]
    generator: nn.Module
    if noise is not None:
        generator = Decoder(noise, widths[::-1], channels)
    else:
        generator = Generator(channels, widths, bottleneck, skips=skips, output=output, mask_input=mask_input)
    built_critic = None
    if critic:
        built_critic = Encoder(channels, [(critic_width or width) * 2**s for s in range(halvings)], 1, bottleneck=False)
    return BlendingGAN(image_size, channels, noise, mask_input, generator, built_critic)


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)


def _initialise(module: nn.Module) -> None:
    """Initialise weights of convolutions by N(0, .02), of batch norm by N(1, .02) (DCGAN, arXiv 1511.06434)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
