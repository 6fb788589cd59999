"""The Blending GAN of GP-GAN: a network that gives a pasted picture of 64x64 pixels natural colours.

Wu, Zheng, Zhang and Huang, "GP-GAN: towards realistic high-resolution image blending", arXiv 1703.07195, section 3.2,
with the layers of the authors' program. Pictures are in [-1, 1].

    encoder   picture (3, 64, 64) - 64 - 128 - 256 - 512 channels, each half as large - bottleneck (4000, 1, 1)
    decoder   bottleneck - 512 - 256 - 128 - 64 channels, each twice as large - picture (3, 64, 64)
    critic    picture (3, 64, 64) - 64 - 128 - 256 - 512 channels - one number, low for what looks real

The convolution onto the bottleneck sees all of a picture at once: it is the fully connected layer of the paper. In the
unsupervised variant the decoder alone makes pictures, from noise.

What is squeezed through a bottleneck has to be drawn again by the decoder, which takes many photographs to learn. Three
options, none of them in the paper, make a small network good with few: `skips`, `output` and `mask_input`.
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


class _Whole(nn.Conv2d):
    """A convolution of 4x4 pixels onto one: a matrix product, at a twentieth of the time of a convolution's."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight.flatten(1))[..., None, None]


class _FromOne(nn.ConvTranspose2d):
    """A transposed convolution of one pixel to 4x4: a matrix product likewise."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return (x.flatten(1) @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])


class Encoder(nn.Module):
    """A picture (N, inputs, S, S) to features of S/2, S/4, ... 4 and 1 pixels.

    Args:
        inputs: Channels of the picture.
        widths: Channels after each halving.
        outputs: Channels of the last convolution, which covers the 4x4 pixels that are left.
        bottleneck: Whether batch norm and an activation follow on it, as in a generator, or nothing, as in a critic.
    """

    def __init__(self, inputs: int, widths: list[int], outputs: int, *, bottleneck: bool) -> None:
        super().__init__()
        stages = [nn.Sequential(_halving(inputs, widths[0]), nn.LeakyReLU(0.2))]
        for before, after in pairwise(widths):
            stages.append(nn.Sequential(_halving(before, after), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)))
        stages.append(nn.Sequential(_Whole(widths[-1], outputs, 4, bias=False)))
        if bottleneck:
            stages[-1].extend([nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)])
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The features of every stage, from fine to coarse."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """A code (N, inputs, 1, 1) to a picture (N, outputs, S, S), by features of 4, 8, ... S/2 pixels.

    Args:
        inputs: Channels of the code.
        widths: Channels before each doubling, from coarse to fine.
        outputs: Channels of the picture.
        skips: Whether an encoder's features of equal size are put beside those made here.
    """

    def __init__(self, inputs: int, widths: list[int], outputs: int, *, skips: bool = False) -> None:
        super().__init__()
        beside = 2 if skips else 1
        first = _FromOne(inputs, widths[0], 4, bias=False)
        stages = [nn.Sequential(first, nn.BatchNorm2d(widths[0]), nn.ReLU())]
        for before, after in pairwise(widths):
            stages.append(nn.Sequential(_doubling(beside * before, after), nn.BatchNorm2d(after), nn.ReLU()))
        stages.append(nn.Sequential(_doubling(beside * widths[-1], outputs)))
        self.stages = nn.ModuleList(stages)

    def forward(self, code: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """The picture before its values are bounded; `features` are the encoder's, from coarse to fine."""
        x = code
        for number, stage in enumerate(self.stages):
            if features and number > 0:
                x = torch.cat([x, features[number - 1]], 1)
            x = stage(x)
        return x


OUTPUTS = ("picture", "change", "transform")


class Generator(nn.Module):
    """The network that recolours: a pasted picture to one of natural colours.

    The decoder's last features f make the picture y of the pasted picture x:

        picture     y = tanh f                       f of 3 channels
        change      y = x + f                        f of 3 channels
        transform   y = x + A (x, x^2) + b           (A, b) of 3x7 numbers, the mean of f over what was pasted

    so that a transform is one change of light for all that was pasted, the same at any resolution. A known mask m keeps
    the rest: y becomes m y + (1 - m) x for the last two.

    Args:
        channels: Of a picture.
        widths: Channels after each halving.
        bottleneck: Channels of the code.
        skips: As in :func:`blending_gan`.
        output: Likewise.
        mask_input: Likewise.
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
        """(N, channels, S, S), with a mask (N, 1, S, S) in [0, 1] if so built, to (N, channels, S, S)."""
        if self.output == "transform":
            y = transformed(x, self.transform(x, mask))
        else:
            made = self._features(x, mask)
            y = torch.tanh(made) if self.output == "picture" else clipped(x + made, -1, 1)
        return y if mask is None or self.output == "picture" else torch.lerp(x, y, mask)

    def transform(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(A, b) of :func:`transformed` for every picture, (N, channels, 2 channels + 1)."""
        made = self._features(x, mask)
        share = torch.ones_like(x[:, :1]) if mask is None else mask
        mean = (made * share).sum((2, 3)) / share.sum((2, 3)).clamp(min=1)
        return mean.unflatten(1, (self.channels, 2 * self.channels + 1))

    def _features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        *features, code = self.encoder(x if mask is None else torch.cat([x, 2 * mask - 1], 1))
        return self.decoder(code, features[::-1] if self.skips else None)


def transformed(x: Tensor, transform: Tensor) -> Tensor:
    """The picture under another light: x + A (x, x^2) + b, clipped to [-1, 1].

    Args:
        x: (N, C, H, W) in [-1, 1], of any size.
        transform: (N, C, 2 C + 1), the matrix A and the vector b of every picture.

    Returns:
        (N, C, H, W).
    """
    terms = torch.cat([x, x.square(), torch.ones_like(x[:, :1])], 1)
    return clipped(x + torch.einsum("nck,nkhw->nchw", transform, terms), -1, 1)


class BlendingGAN(nn.Module):
    """The generator, and in training the critic; built by ``create_model("blending_gan")``.

    Attributes:
        image_size: Side S of its pictures.
        channels: Of its pictures.
        noise: Numbers that a picture is made of in the unsupervised variant; None in the supervised one.
        mask_input: Whether the mask comes with the picture.
        generator: (N, channels, S, S), or (N, noise, 1, 1), to pictures.
        critic: Pictures to one number each; None if built without.
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
        """Recolour pasted pictures, or make pictures of noise.

        Args:
            x: (N, channels, S, S) in [-1, 1]; (N, noise) or (N, noise, 1, 1) in the unsupervised variant.
            mask: (N, 1, S, S) in [0, 1], 1 where it was pasted; read only with `mask_input`, and needed there.

        Returns:
            (N, channels, S, S) in [-1, 1].

        Raises:
            TypeError: If x is no floating tensor.
            ValueError: If x or mask has another shape.
        """
        if self.noise is None:
            return self.generator(*self._checked(x, mask))
        check_floating("blending_gan", "x", x)
        if x.shape[1:] not in ((self.noise,), (self.noise, 1, 1)):
            raise ValueError(f"blending_gan: x must have shape (N, {self.noise}), got {tuple(x.shape)}")
        return torch.tanh(self.generator(x.reshape(-1, self.noise, 1, 1)))

    def transform(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The change of light that a network built with ``output="transform"`` finds; see :func:`transformed`.

        Args:
            x: As of ``forward``.
            mask: Likewise.

        Returns:
            (N, channels, 2 channels + 1).

        Raises:
            TypeError: As ``forward``.
            ValueError: Likewise, and if the network has another output.
        """
        if not self.makes_transforms:
            raise ValueError("blending_gan: output must be 'transform' to find a change of light")
        return self.generator.transform(*self._checked(x, mask))

    @property
    def makes_transforms(self) -> bool:
        """Whether `transform` can be asked."""
        return isinstance(self.generator, Generator) and self.generator.output == "transform"

    def _checked(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """What the generator is given: the pictures, and the masks if it sees them."""
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
        """The critic's mean over pictures (N, channels, S, S), a scalar; low for real ones.

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
    """Build a Blending GAN; by default the supervised one of the paper: 71.1 million parameters, its critic 2.8.

    Args:
        image_size: Side of the pictures, a power of two from 8.
        channels: Of the pictures.
        width: Channels after the first halving; each further one doubles them.
        critic_width: The same of the critic, `width` by default.
        bottleneck: Numbers that a picture is squeezed into.
        noise: Builds the unsupervised variant, which makes pictures of so many numbers (100 in the paper).
        skips: Puts the encoder's features beside the decoder's of the same size, as a U-Net does.
        output: What the decoder makes: the ``"picture"``, its ``"change"``, or a ``"transform"`` of its colours, see
            :class:`Generator`.
        mask_input: The encoder sees where the picture was pasted, as a further channel.
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
    judge = None
    if critic:
        judge = Encoder(channels, [(critic_width or width) * 2**s for s in range(halvings)], 1, bottleneck=False)
    return BlendingGAN(image_size, channels, noise, mask_input, generator, judge)


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)


def _initialise(module: nn.Module) -> None:
    """Weights of convolutions N(0, .02), of batch norm N(1, .02) (DCGAN, arXiv 1511.06434)."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
