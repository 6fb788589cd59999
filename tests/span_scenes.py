"""Inputs of GlobalPointer's loss with gold spans, and the loss by its definition."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pydlx.ops import global_pointer_loss

POINTS = ("query", "key", "start_bias", "end_bias")


class Scene(NamedTuple):
    query: Tensor
    key: Tensor
    spans: Tensor
    mask: Tensor | None = None
    start_bias: Tensor | None = None
    end_bias: Tensor | None = None
    rotary: bool = True
    triangle: bool = True
    scale: float | None = None

    def losses(self, **options):
        """The op's losses, (B, C)."""
        return global_pointer_loss(**self._asdict(), **{"reduction": "none"} | options)

    @property
    def points(self):
        """The tensors that get a gradient."""
        return [x for x in (getattr(self, name) for name in POINTS) if x is not None]

    def changed(self, change, *names):
        """The scene with the tensors of these names, or all that get a gradient, replaced."""
        chosen = {name: getattr(self, name) for name in names or POINTS}
        return self._replace(**{name: change(x) for name, x in chosen.items() if x is not None})


def draw(
    batch, types, length, size, *, shared=False, biased=False, masked=True, gold=9, dtype=torch.float64, **options
):
    """A scene whose scores fit into float16; every other mask is a prefix, the first one is empty."""
    generator = torch.Generator().manual_seed(length + size)

    def numbers(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    query, key = numbers(2, batch, 1 if shared else types, length, size).unbind()
    biases = numbers(2, batch, types, length).unbind() if shared or biased else (None, None)
    mask = torch.rand(batch, length, generator=generator) < 0.8
    prefix = torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=generator)
    mask = torch.where((torch.arange(batch) % 2 == 0).unsqueeze(1), prefix, mask)
    mask[: batch // 3] = False
    ends = torch.randint(length, (gold, 2), generator=generator)
    ends = ends.sort(1).values if options.get("triangle", True) else ends
    rows = (torch.randint(limit, (gold, 1), generator=generator) for limit in (batch, types))
    spans = torch.cat([*rows, ends], 1)
    spans = torch.cat([spans, spans[:2]])  # some twice
    return Scene(query, key, spans, mask if masked else None, *biases, **options)


def turned(x):
    """Rotary embedding: every pair as a complex number, times e^(i angle)."""
    length, size = x.shape[-2:]
    angle = torch.outer(torch.arange(length).double(), 10000 ** (-torch.arange(0, size, 2).double() / size))
    return torch.view_as_real(
        torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(angle), angle)
    ).flatten(-2)


def dense(scene):
    """The definition in float64: all scores, and both sums over them; without a mask's padding or repeated spans."""
    batch, _, length, size = scene.query.shape
    mask = torch.ones(batch, length, dtype=torch.bool) if scene.mask is None else scene.mask
    q, k = (torch.where(mask[:, None, :, None], x.double(), 0) for x in (scene.query, scene.key))
    if scene.rotary:
        q, k = turned(q), turned(k)
    scores = torch.einsum("bhmd,bhnd->bhmn", q, k) * (1 / math.sqrt(size) if scene.scale is None else scene.scale)
    if scene.start_bias is not None:
        start, end = (torch.where(mask[:, None], x.double(), 0) for x in (scene.start_bias, scene.end_bias))
        scores = scores + start[..., :, None] + end[..., None, :]
    counts = mask[:, None, :, None] & mask[:, None, None, :] & (scores != -math.inf)
    if scene.triangle:
        counts = counts & torch.ones(length, length, dtype=torch.bool).triu()
    gold = torch.zeros(scores.shape, dtype=torch.bool)
    gold[tuple(scene.spans.unbind(1))] = True
    zero = scores.new_zeros(*scores.shape[:2], 1)
    parts = [
        torch.cat([zero, torch.where(counts & inside, x, -math.inf).flatten(2)], 2).logsumexp(2)
        for inside, x in ((gold, -scores), (~gold, scores))
    ]
    return sum(parts)
