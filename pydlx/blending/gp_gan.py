"""GP-GAN as a whole: a network gives the coarsest level its colours, Gaussian-Poisson solves bring them to the finest.

(Wu et al., arXiv 1703.07195; `recolour` has the network, `coarse_to_fine` the solves.) A network that tells a change of
light in place of colours puts the source under that light on every level, so that the gradients are right, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pydlx._autograd import clipped
from pydlx._checks import check_flag, whole
from pydlx.blending.coarse_to_fine import Light, composite, decode_beta, solve_coarse_to_fine
from pydlx.blending.equation import GaussianPoisson
from pydlx.blending.images import Image, full_scale
from pydlx.blending.placement import Box
from pydlx.blending.pyramid import PYRAMIDS, Size, resize, resize_weights
from pydlx.blending.recolour import (
    Network,
    centred,
    check_channels,
    draw,
    find_network,
    framed,
    frozen,
    light_of,
    mirrored,
    recolour,
)
from pydlx.blending.scene import Scene, Window
from pydlx.blending.solution import Solution

if TYPE_CHECKING:
    from pydlx.models.gan import BlendingGAN


def gp_gan(
    scene: Scene,
    measure: bool,
    *,
    beta: float | Image | None = None,
    sigma: float = 0.5,
    formulation: str = "official",
    taps: str = "upstream",
    network: Network = None,
    official_pyramid: bool = False,
    iterations: int = 1000,
    seed: int = 0,
) -> Solution:
    """The pipeline of the paper at any resolution.

    Args:
        scene: the composition.
        measure: whether to compute the residual.
        beta: weight of the colours, a number or a map (H, W) of the target's size; None is the paper's: 1, and 0.1 with
            an unsupervised network; or 0.01 with one that tells a change of light.
        sigma: as for ``gaussian-poisson``.
        formulation: likewise.
        taps: likewise.
        network: a BlendingGAN of ``create_model("blending_gan")``, the path of a checkpoint that holds one, or None for
            the small one that comes with the package. It is used in evaluation mode on the target's device and not
            changed. A path is read at every call. Pictures come to it as shares of full scale, clipped to [0, 1]; what
            floating pictures have beyond is added to its colours again.
        official_pyramid: whether all levels but the finest are squares, the network's too, as in the authors' program.
            Otherwise all levels have the picture's proportions, see `recolour`.
        iterations: an unsupervised network (`noise`) makes the picture that comes closest to the composite, by so many
            steps of L-BFGS at most. A supervised one needs none.
        seed: of the search's start.

    The gradient goes through the solves and through the network with respect to source, target and mask, not to the
    network's weights. Colours of an unsupervised network count as constant.
    """
    check_flag("blend", "official_pyramid", official_pyramid)
    iterations = whole("blend", "iterations", iterations, 1)
    seed = whole("blend", "seed", seed, 0)
    model = find_network(network, scene.target.device)
    check_channels(model, scene.target.shape[1])
    model = frozen(model, scene.target.device)
    weight = _default_beta(model) if beta is None else decode_beta(scene, beta)
    equation = GaussianPoisson(weight, sigma, formulation, taps)
    pyramid = PYRAMIDS["square" if official_pyramid else "aspect"]
    sizes = pyramid.sizes(scene.canvas.size, model.image_size)

    def seen(window: Window) -> Size:
        return pyramid.lower_size(window.box.size, model.image_size)

    def start(window: Window) -> Tensor:
        return _recoloured(scene, model, window, seen(window), iterations, seed)

    def find_light(window: Window) -> Light:
        picture, mask, _ = _squares(scene, window, seen(window), model.image_size)
        return light_of(model, picture, mask, full_scale(scene.target.dtype))

    if model.makes_transforms:
        return solve_coarse_to_fine(scene, equation, pyramid, sizes, composite, measure, find_light)
    return solve_coarse_to_fine(scene, equation, pyramid, sizes, start, measure)


def _default_beta(network: BlendingGAN) -> float:
    """The paper's weights. The gradients of a source under the right light need little of its colours."""
    if network.makes_transforms:
        return 0.01
    return 1.0 if network.noise is None else 0.1


def _squares(scene: Scene, window: Window, size: Size, side: int) -> tuple[Tensor, Tensor, Box]:
    """What the network sees of a level: the composite in [0, 1], the mask, and the box in which they lie in `size`."""
    white = full_scale(scene.target.dtype)
    box = centred(size, side)
    source, target = (resize(x, size) / white for x in (window.source, window.target))
    mask = framed(resize_weights(window.weight, size), box, side, "zero")
    pasted = torch.lerp(mirrored(target, box, side), framed(source, box, side, "replicate"), mask)
    return clipped(pasted, 0, 1), mask.expand(len(pasted), -1, -1, -1), box


def _recoloured(scene: Scene, network: BlendingGAN, window: Window, size: Size, iterations: int, seed: int) -> Tensor:
    """The composite of the coarsest level in the network's colours; the network sees it in `size`.

    That is the level's own size, but of pictures that are smaller than the network's: they are enlarged for it.
    """
    white = full_scale(scene.target.dtype)
    pasted, mask, box = _squares(scene, window, size, network.image_size)
    if network.noise is not None:
        made = draw(network, pasted, box, iterations, seed)
    else:
        made = recolour(network, pasted, mask)
    colours = resize(box.of(made), window.box.size)
    if scene.limits is None:  # high dynamic range
        given = composite(window) / white
        colours = colours + (given - clipped(given, 0, 1))
    return colours * white
