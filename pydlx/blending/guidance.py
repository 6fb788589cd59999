"""Fields on the edges between neighbouring pixels.

A field is a pair ``(across, down)`` of tensors: ``across (..., H, W-1)`` holds the edges from each pixel to its right
neighbour, ``down (..., H-1, W)`` those to its lower neighbour. An edge past the border of the canvas does not exist,
which is the natural (Neumann) boundary, so the discrete Laplacian below is exactly

    (L u)[p] = Σ over the neighbours q that exist of (u[p] − u[q]) = −div ∇u.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pydlx.blending.images import check_finite

Field: TypeAlias = "tuple[Tensor, Tensor]"


def edge_pairs(x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Views of both ends of every edge: ``(left, right)`` of the edges across, ``(upper, lower)`` of those down."""
    return (x[..., :-1], x[..., 1:]), (x[..., :-1, :], x[..., 1:, :])


def gradient(x: Tensor) -> Field:
    """Forward differences of ``x (..., H, W)`` on all edges."""
    (left, right), (upper, lower) = edge_pairs(x)
    return right - left, lower - upper


def negative_divergence(field: Field) -> Tensor:
    """B[p] = across[p − 1 column] + down[p − 1 row] − across[p] − down[p], which sums to 0 over the canvas."""
    across, down = field
    result = across.new_zeros(*across.shape[:-1], down.shape[-1])
    result[..., 1:] += across
    result[..., :-1] -= across
    result[..., 1:, :] += down
    result[..., :-1, :] -= down
    return result


def laplacian(x: Tensor) -> Tensor:
    """L x, the positive 5-point Laplacian with Neumann boundary."""
    return negative_divergence(gradient(x))


def beside(where: Tensor) -> Tensor:
    """The pixels of a mask (..., h, w) that have a neighbour in it."""
    framed = F.pad(where, (1, 1, 1, 1))
    return framed[..., 1:-1, :-2] | framed[..., 1:-1, 2:] | framed[..., :-2, 1:-1] | framed[..., 2:, 1:-1]


def pull_of_rim(source: Tensor, target: Tensor, unknown: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Minus the sum of S − T over each unknown pixel's known neighbours; 0 on known pixels.

    Such neighbours form the rim, and nothing else is read, except where the source is hidden: there the unknown pixel's
    own S takes the place of its neighbour's, so that the source has no gradient between the two. No pixel occurs twice
    in one assignment, so neither results nor gradients depend on the order of work.

    Args:
        source: (N or 1, C, h, w), in the dtype of the result.
        target: (N, C, h, w), of any dtype.
        unknown: (N or 1, 1, h, w), bool.
        hidden: (N or 1, 1, h, w), bool; None for nowhere.
    """
    framed = F.pad(unknown.squeeze(1), (1, 1, 1, 1))  # nothing beyond the canvas is unknown
    mask, row, column = torch.nonzero((beside(unknown) & ~unknown).squeeze(1), as_tuple=True)

    result = source.new_zeros(target.shape)
    images_per_mask = len(target) // len(unknown)
    s, t, pull = (x.unflatten(0, (-1, images_per_mask)) for x in (source.expand_as(target), target, result))
    known = t[mask, :, :, row, column].to(source.dtype)
    check_finite("target", known)
    difference = s[mask, :, :, row, column] - known
    if hidden is not None:
        covered = hidden.expand(len(target), -1, -1, -1).unflatten(0, (-1, images_per_mask))[mask, :, :, row, column]
    steps = ((0, 1), (0, -1), (1, 0), (-1, 0))
    hits = torch.stack([framed[mask, row + 1 + down, column + 1 + right] for down, right in steps])
    # Counted once for all directions: the host waits for the device wherever a size depends on values.
    found = torch.nonzero(hits)[:, 1].split(hits.sum(1).tolist())
    for (down, right), hit in zip(steps, found, strict=True):
        place = (mask[hit], slice(None), slice(None), row[hit] + down, column[hit] + right)
        pulling = difference[hit]
        if hidden is not None:
            pulling = torch.where(covered[hit], s[place] - known[hit], pulling)
        pull[place] -= pulling
    return result


def largest_weight(weight: Tensor) -> Field:
    """Edge weight max(m[p], m[q]): edges that cross the rim of a hard mask count in full, as in Poisson editing."""
    across, down = edge_pairs(weight)
    return torch.maximum(*across), torch.maximum(*down)


def mean_weight(weight: Tensor) -> Field:
    """Edge weight (m[p] + m[q]) / 2: edges that cross the rim of a hard mask count half, as in GP-GAN."""
    (left, right), (upper, lower) = edge_pairs(weight)
    return (left + right) / 2, (upper + lower) / 2


def scale(field: Field, weight: Field) -> Field:
    """The field times one weight for each edge."""
    return field[0] * weight[0], field[1] * weight[1]


def stronger_source(source: Field, target: Field) -> Field:
    """1 on the edges where the source's gradient is the stronger one, 0 elsewhere; a tie goes to the source.

    An edge's strength is the Euclidean norm of its difference over all channels (Pérez et al. 2003, eq. 13, taken for
    colours as vectors). The channels switch together, so no colour fringes arise. Compared in float64, which holds the
    square of every float32.
    """
    across, down = ((_strength(s) >= _strength(t)).to(s.dtype) for s, t in zip(source, target, strict=True))
    return across, down


def _strength(differences: Tensor) -> Tensor:
    return differences.detach().double().square().sum(1, keepdim=True)
