"""GP-GAN as a whole: a network gives the coarsest level its colours, Gaussian-Poisson solves bring them to the finest.

(Wu et al., arXiv 1703.07195; `recolour` has the network, `coarse_to_fine` the solves.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pydlx._autograd import clipped
from pydlx._checks import check_flag, whole
from pydlx.blending.coarse_to_fine import composite, decode_beta, solve_coarse_to_fine
from pydlx.blending.equation import GaussianPoisson
from pydlx.blending.images import Image, full_scale
from pydlx.blending.pyramid import PYRAMIDS, Size, resize, resize_weights
from pydlx.blending.recolour import (
    Network,
    centred,
    check_channels,
    draw,
    find_network,
    framed,
    frozen,
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
            an unsupervised network.
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
    equation = GaussianPoisson(1.0 if beta is None else decode_beta(scene, beta), sigma, formulation, taps)
    device = scene.target.device
    model = find_network(network, device)
    check_channels(model, scene.target.shape[1])
    if beta is None and model.noise is not None:
        equation = GaussianPoisson(0.1, sigma, formulation, taps)
    model = frozen(model, device)
    pyramid = PYRAMIDS["square" if official_pyramid else "aspect"]

    def start(window: Window) -> Tensor:
        seen = pyramid.lower_size(window.box.size, model.image_size)
        return _recoloured(scene, model, window, seen, iterations, seed)

    sizes = pyramid.sizes(scene.canvas.size, model.image_size)
    return solve_coarse_to_fine(scene, equation, pyramid, sizes, start, measure)


def _recoloured(scene: Scene, network: BlendingGAN, window: Window, size: Size, iterations: int, seed: int) -> Tensor:
    """The composite of the coarsest level in the network's colours; the network sees it in `size`.

    That is the level's own size, but of pictures that are smaller than the network's: they are enlarged for it.
    """
    white, side = full_scale(scene.target.dtype), network.image_size
    box = centred(size, side)
    source, target = (resize(x, size) / white for x in (window.source, window.target))
    mask = framed(resize_weights(window.weight, size), box, side, "zero")
    pasted = torch.lerp(mirrored(target, box, side), framed(source, box, side, "replicate"), mask)
    pasted = clipped(pasted, 0, 1)
    if network.noise is not None:
        made = draw(network, pasted, box, iterations, seed)
    else:
        made = recolour(network, pasted, mask.expand(len(pasted), -1, -1, -1))
    colours = resize(box.of(made), window.box.size)
    if scene.limits is None:  # high dynamic range
        given = composite(window) / white
        colours = colours + (given - clipped(given, 0, 1))
    return colours * white
