"""Soft edges: weights that rise from the rim of a mask inwards."""

from __future__ import annotations

import torch
from torch import Tensor

from pydlx.blending.placement import Box, crop


def soften(weight: Tensor, pixels: int, landing: Box, canvas: Box) -> Tensor:
    """Multiplies weights by a ramp from the mask's rim inwards: min(1, d / (pixels + 1)).

    d is the Euclidean distance to the nearest pixel of the target that is outside of the mask, so it is 1 at the
    outermost pixels. Pixels without weight stay so: nothing outside of the mask is ever read. Where the target ends
    the mask has no rim. The gradient takes the ramp as given.

    Args:
        weight: (N, 1, h, w) in [0, 1].
        pixels: how many to soften.
        landing: where the weights lie on the canvas, which they may leave.
        canvas: the box of the target.
    """
    visible = landing.intersect(canvas)
    inside = visible.shift(-landing.top, -landing.left).of(weight.detach()) > 0
    around = visible.grow(1).intersect(canvas)  # one more pixel of the target, outside of the mask, where there is one
    outside = crop((~inside).to(weight.dtype) - 1, around.shift(-visible.top, -visible.left), "zero") + 1 > 0
    ramp = (squared_distance(outside, pixels + 1).sqrt() / (pixels + 1)).clamp_(max=1).to(weight.dtype)
    return weight * crop(ramp, landing.shift(-around.top, -around.left), "zero")


def squared_distance(outside: Tensor, limit: int) -> Tensor:
    """Squared Euclidean distances to the nearest pixel where `outside` (N, 1, h, w) holds, limit² at the most.

    In float32. First along the rows, then along the columns over the `limit` nearest rows.
    """
    width = outside.shape[-1]
    place = torch.arange(width, dtype=torch.float32, device=outside.device)
    before = torch.where(outside, place, -float(limit)).cummax(-1).values
    after = torch.where(outside, place, float(width + limit)).flip(-1).cummin(-1).values.flip(-1)
    along = torch.minimum(place - before, after - place).clamp_(max=limit).square_()
    nearest = along.clone()
    for rows in range(1, min(limit, along.shape[-2])):
        lower, upper = nearest[..., rows:, :], nearest[..., :-rows, :]
        torch.minimum(lower, along[..., :-rows, :] + rows * rows, out=lower)
        torch.minimum(upper, along[..., rows:, :] + rows * rows, out=upper)
    return nearest
