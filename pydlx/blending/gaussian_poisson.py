"""Gaussian-Poisson blending: the gradients of source and target, the colours of a colour image, on the whole canvas.

`coarse_to_fine` says how the levels follow each other, `equation` what is solved on one.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pydlx._checks import check_one_of, whole
from pydlx.blending.coarse_to_fine import composite, decode_beta, solve_coarse_to_fine
from pydlx.blending.equation import GaussianPoisson
from pydlx.blending.images import Image
from pydlx.blending.pyramid import PYRAMIDS, Size, resize
from pydlx.blending.scene import Scene, Window
from pydlx.blending.solution import Solution


def modified_poisson(
    scene: Scene, measure: bool, *, beta: float | Image = 1e-8, colour: Image | None = None
) -> Solution:
    """Poisson blending on the whole canvas, held by a faint pull towards a colour image (Tanaka et al. 2012).

    `beta` is the pull, a number or a map of the target's size; `colour` defaults to the copy-paste composite.
    """
    equation = GaussianPoisson(beta=decode_beta(scene, beta), sigma=0.0)
    sizes = [scene.canvas.size]
    return solve_coarse_to_fine(scene, equation, PYRAMIDS["aspect"], sizes, _colours_of(scene, colour), measure)


def gaussian_poisson(
    scene: Scene,
    measure: bool,
    *,
    beta: float | Image = 1.0,
    sigma: float = 0.5,
    formulation: str = "official",
    taps: str = "upstream",
    pyramid: str = "aspect",
    levels: int | None = None,
    colour: Image | None = None,
) -> Solution:
    """The multi-level blending of GP-GAN with any colour image (Wu et al., arXiv 1703.07195).

    Args:
        scene: the composition.
        measure: whether to compute the residual.
        beta: weight of the colours, a number or a map (H, W) of the target's size.
        sigma: standard deviation of the equation's Gaussian; 0 leaves the colours unsmoothed.
        formulation: ``"official"``, ``"paper"`` or ``"screened"``, see `equation`.
        taps: ``"upstream"`` or ``"normalised"``, see `equation`.
        pyramid: ``"aspect"`` keeps the picture's proportions, ``"square"`` has GP-GAN's square levels.
        levels: number of levels counted from the top; 1 solves the full picture only, None takes all.
        colour: colour image of any size for the coarsest level; the copy-paste composite by default.
    """
    check_one_of("blend", "pyramid", pyramid, PYRAMIDS)
    equation = GaussianPoisson(decode_beta(scene, beta), sigma, formulation, taps)
    sizes = _chosen_sizes(PYRAMIDS[pyramid].sizes(scene.canvas.size), levels)
    return solve_coarse_to_fine(scene, equation, PYRAMIDS[pyramid], sizes, _colours_of(scene, colour), measure)


def _colours_of(scene: Scene, colour: Image | None) -> Callable[[Window], Tensor]:
    """Makes the colours of the coarsest level: plain pasting, or the image that was given."""
    if colour is None:
        return composite
    values = scene.decode_colour(colour)
    return lambda window: resize(values, window.box.size).expand_as(window.target)


def _chosen_sizes(sizes: list[Size], levels: int | None) -> list[Size]:
    if levels is None:
        return sizes
    levels = whole("blend", "levels", levels)
    if not 1 <= levels <= len(sizes):
        raise ValueError(f"blend: levels must lie in 1..{len(sizes)} for a target of size {sizes[-1]}, got {levels}")
    return sizes[-levels:]
