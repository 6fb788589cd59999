"""The network of GP-GAN at work: a pasted picture of few pixels, recoloured.

The network takes squares. A picture of other proportions lies in the middle of one, and around it the target goes on
mirrored: nearest to what a larger photograph would show there. Repeated border pixels would be streaks, and a constant
an edge, such as no photograph has. The pasted object is not mirrored along, or a second one without a mask would lie
there. What the network makes of the surroundings is cut off.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pydlx._autograd import clipped
from pydlx.blending.coarse_to_fine import Light
from pydlx.blending.placement import Box, crop

if TYPE_CHECKING:  # the networks are imported when they are used
    from pydlx.models.gan import BlendingGAN

Network = Any  # a BlendingGAN, the path of a checkpoint, or None


def find_network(network: Network, device: torch.device) -> BlendingGAN:
    """The network that is meant, to be left as it is: a module, what a checkpoint holds, or the one that is shipped."""
    from pydlx.models import load_model
    from pydlx.models.gan import BlendingGAN, shipped_blending_gan

    if isinstance(network, BlendingGAN):
        return network
    if not (network is None or isinstance(network, (str, os.PathLike))):
        raise TypeError(f"blend: network must be a BlendingGAN, a checkpoint or None, got {type(network).__name__}")
    try:
        found: Any = shipped_blending_gan(device) if network is None else load_model(network)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).partition(": ")[2]
        kind = type(error) if type(error) in (OSError, FileNotFoundError, TypeError) else ValueError
        raise kind(f"blend: network cannot be loaded: {reason}") from error
    if not isinstance(found, BlendingGAN):
        raise ValueError(f"blend: network must be the checkpoint of a BlendingGAN, got {found.model_name}")
    return found


def check_channels(network: BlendingGAN, channels: int) -> None:
    """Refuses a network for other pictures; one for three channels serves grey pictures too."""
    if network.channels != channels and (network.channels, channels) != (3, 1):
        raise ValueError(
            f"blend: network must take pictures of {channels} channels like the target, got {network.channels}"
        )


def frozen(network: BlendingGAN, device: torch.device) -> BlendingGAN:
    """The same network on a device, in evaluation mode and without gradients for its weights, which it shares.

    The network that was given stays as it is, whatever mode it is in.
    """
    part = network.generator
    known: dict[int, Any] = {id(x): x.detach().to(device) for x in (*part.parameters(), *part.buffers())}
    return copy.deepcopy(network, known | {id(network.critic): None}).eval()  # what is known is not copied


def recolour(network: BlendingGAN, picture: Tensor, mask: Tensor) -> Tensor:
    """G: squares (N, C, S, S) in [0, 1] to squares in [0, 1], with masks (N, 1, S, S), differentiable in both.

    Grey pictures go through a network for three channels as three equal ones, whose mean is the result.
    """
    like = next(network.generator.parameters(), picture)
    given = (2 * picture - 1).to(like.dtype).expand(-1, network.channels, -1, -1)
    made = network(given, mask.to(like.dtype)) if network.mask_input else network(given)
    return _as_picture(_finite(made), picture)


def light_of(network: BlendingGAN, picture: Tensor, mask: Tensor, white: float) -> Light:
    """The change of light that a network finds in squares (N, C, S, S) in [0, 1] for what was pasted there.

    It changes planes of full scale `white`. What they have beyond [0, white] is added again.
    """
    from pydlx.models.gan import transformed

    like = next(network.generator.parameters(), picture)
    given = (2 * picture - 1).to(like.dtype).expand(-1, network.channels, -1, -1)
    transform = _finite(network.transform(given, mask.to(like.dtype))).to(picture.dtype)

    def light(planes: Tensor) -> Tensor:
        within = clipped(planes, 0, white)
        colours = (2 / white * within - 1).expand(len(transform), network.channels, -1, -1)
        return white * _as_picture(transformed(colours, transform), planes) + (planes - within)

    return light


def draw(network: BlendingGAN, picture: Tensor, seen: Box, iterations: int, seed: int) -> Tensor:
    """The squares G(z) that come closest to squares (N, C, S, S) in [0, 1] inside a box, in mean squared error.

    L-BFGS searches for z, picture by picture, from a start drawn with the seed. The result has no gradient.
    """
    like = next(network.generator.parameters(), picture)
    with torch.inference_mode(False), torch.enable_grad():
        wanted = (2 * picture.detach().clone() - 1).to(like.dtype).expand(-1, network.channels, -1, -1)
        made = torch.cat([_closest(network, one[None], seen, iterations, seed) for one in wanted])
    return _as_picture(_finite(made), picture)


def _closest(network: BlendingGAN, wanted: Tensor, seen: Box, iterations: int, seed: int) -> Tensor:
    assert network.noise is not None
    drawn = torch.randn(1, network.noise, generator=torch.Generator().manual_seed(seed))
    z = drawn.to(wanted).requires_grad_()
    _finite(network(z))  # or the search would fail in words of its own
    search = torch.optim.LBFGS([z], max_iter=iterations, max_eval=2 * iterations, line_search_fn="strong_wolfe")

    def error() -> Tensor:
        search.zero_grad()
        loss = (seen.of(network(z)) - seen.of(wanted)).square().mean()
        loss.backward()
        return loss

    search.step(error)
    return network(z).detach()


def _finite(made: Tensor) -> Tensor:
    """What a network made. It was given finite pictures: NaN or infinity can come from its weights alone."""
    if not bool(made.isfinite().all()):
        raise ValueError("blend: network must make finite pictures, got NaN or infinity; its weights hold them")
    return made


def _as_picture(made: Tensor, like: Tensor) -> Tensor:
    """What the network made, [-1, 1], as a picture in [0, 1] of the channels and dtype of another."""
    picture = clipped((made.to(like.dtype) + 1) / 2, 0, 1)
    return picture if picture.shape[1] == like.shape[1] else picture.mean(1, keepdim=True)


def centred(size: tuple[int, int], side: int) -> Box:
    """The box of a picture of `size` in the middle of a square."""
    top, left = ((side - length) // 2 for length in size)
    return Box(top, left, top + size[0], left + size[1])


def mirrored(planes: Tensor, box: Box, side: int) -> Tensor:
    """Squares in which planes (N, C, h, w) lie in a box and go on mirrored, over and over where they are narrow."""
    for axis, length, before in ((-2, planes.shape[-2], box.top), (-1, planes.shape[-1], box.left)):
        place = (torch.arange(side, device=planes.device) - before) % (2 * length)
        planes = planes.index_select(axis, torch.minimum(place, 2 * length - 1 - place))
    return planes


def framed(planes: Tensor, box: Box, side: int, beyond: str) -> Tensor:
    """Squares in which planes (N, C, h, w) lie in a box; `beyond` says what is around them, as in `crop`."""
    return crop(planes, Box(-box.top, -box.left, side - box.top, side - box.left), beyond)
