"""Calls of the losses of entities. The limits are those at which the kernels in csrc go another way."""

from __future__ import annotations

import math
from typing import Any

import torch

from random_calls.call import Call
from random_calls.draw import FLOATS, Draw

_CHUNK, _BATCH = 192, 128  # of a row on the emulator, and cells that a warp loads at once
_TILE = 64  # tokens
_PLAIN = ("contiguous", "sliced", "stepped", "transposed", "unaligned", "flipped", "negated", "channels_last")


def zlpr_loss(draw: Draw) -> Call:
    """Hard and soft labels, over one dimension or two; what lies under the mask is NaN."""
    shape = draw.sizes(9000, (4,), (5,), (40, 16, 32, _BATCH, _CHUNK, 1024))
    dtype, dim = draw.choice(FLOATS), draw.choice((-1, 2, (1, 2), (0, 2), (2, 0, 1)))
    scores = draw.numbers("scores", shape, dtype, special=(math.nan, math.inf, -math.inf))
    labels = draw.true(shape, draw.choice((1.01, 2, 30)))
    if draw.chance(3):
        labels = torch.where(labels, 1.0, draw.uniform(shape)).to(draw.choice(FLOATS))
    arguments: dict[str, Any] = {"labels": draw.laid_out("labels", labels, _PLAIN)}
    if draw.chance(2):
        arguments["mask"] = draw.true([size if draw.chance(2) else 1 for size in shape], 1.3)
        scores = scores.masked_fill(~arguments["mask"], math.nan)
    arguments |= {"scores": scores, "dim": dim, "reduction": draw.choice(("mean", "sum", "none"))}
    return Call("zlpr_loss", arguments, draw.layouts, ("scores",), slack=4.0, least=0.1, **draw.gradient())


def global_pointer_loss(draw: Draw) -> Call:
    """A head for each type, with biases or without, or one for all; what lies in the padding is NaN."""
    batch, types, length = draw.sizes(300, (3,), (3,), (40, 16, 32, _TILE, 2 * _TILE))
    size = draw.size(8, 16, 32, 64, 128)
    shared, biased = draw.chance(3), draw.chance(3)
    rotary = size % 2 == 0 and not draw.chance(3)
    dtype, triangle = draw.choice(FLOATS), not draw.chance(3)
    arguments: dict[str, Any] = {}
    vectors = (batch, 1 if shared else types, length, size)
    for name in ("query", "key"):
        arguments[name] = draw.laid_out(name, (3 * draw.uniform(vectors, -1)).to(dtype), _PLAIN)
    if shared or biased:
        for name in ("start_bias", "end_bias"):
            x = 4 * draw.uniform((batch, types, length), -1)
            arguments[name] = draw.laid_out(name, x.to(draw.choice((dtype, torch.float32))), _PLAIN)
    points = tuple(arguments)
    if draw.chance(2):
        arguments["mask"] = mask = draw.true((batch, length), draw.choice((1.2, 3)))
        for name in points:
            padding = ~mask[:, None, :, None] if name in ("query", "key") else ~mask[:, None]
            arguments[name] = arguments[name].masked_fill(padding, math.nan)
    count = draw.size(6, length * length, least=0)
    ends = draw.labels((count, 2), 0, length)
    rows = [draw.labels((count, 1), 0, limit) for limit in (batch, types)]
    arguments["spans"] = torch.cat([*rows, ends.sort(1).values if triangle else ends], 1)
    arguments |= {"rotary": rotary, "triangle": triangle, "reduction": draw.choice(("mean", "sum", "none"))}
    if draw.chance(3):
        arguments["scale"] = draw.choice((1.0, 0.1, -0.5))
    # Gradients are sums of many slopes, of which half precision rounds the result.
    return Call("global_pointer_loss", arguments, draw.layouts, points, slack=4.0, least=0.1, **draw.gradient())
