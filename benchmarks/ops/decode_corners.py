"""CornerNet's decoding against the usual implementation in stock PyTorch: max pooling, ``topk``, pairing, ``topk``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    at_least,
    on_reference,
    shape_text,
)

EAGER = "eager"

_SHAPE = (1, 80, 128, 128)  # of CornerNet at 511 x 511
_TOP_K, _ROWS, _TAG_THRESHOLD = 100, 1000, 0.5


def cases(setting: Setting) -> Iterator[Case]:
    """Maps of an image with some objects, and of noise, which has the most peaks."""
    targets = (at_least(5, EAGER),) if setting.device.type == "cpu" else ()
    for kind, dtype in (("objects", torch.float32), ("noise", torch.float32), ("objects", torch.bfloat16)):
        extra = "" if dtype == torch.float32 else " bfloat16"
        build = partial(_build, kind, dtype, setting)
        yield Case(f"{kind} {shape_text(_SHAPE)}{extra}", build, targets if not extra else ())


def _build(kind: str, dtype: torch.dtype, setting: Setting) -> dict[str, Candidate | None]:
    maps = [x.to(setting.device, dtype) for x in draw_maps(kind, _SHAPE)]
    native = partial(ops.decode_corners, *maps)
    copies = [torch.empty_like(x) for x in maps[:2]]

    def copy() -> list[Tensor]:
        return [to.copy_(x) for to, x in zip(copies, maps[:2], strict=True)]

    return {NATIVE: native, EAGER: partial(eager_decode, *maps), REFERENCE: on_reference(native), COPY: copy}


def draw_maps(kind: str, shape: tuple[int, ...]) -> list[Tensor]:
    """Heat maps, tags and offsets in the order of the op; ``"objects"`` or ``"noise"``."""
    generator = torch.Generator().manual_seed(0)
    batch, classes, height, width = shape

    def heat() -> Tensor:
        if kind == "noise":
            return torch.rand(shape, generator=generator)
        logits = torch.randn(shape, generator=generator) - 5
        places = [torch.randint(0, size, (60,), generator=generator) for size in (classes, height, width)]
        logits[:, places[0], places[1], places[2]] = 3 * torch.rand(60, generator=generator)
        return logits.sigmoid()

    tags = [torch.randn(batch, 1, height, width, generator=generator) for _ in range(2)]
    return [heat(), heat(), *tags, *(torch.rand(batch, 2, height, width, generator=generator) for _ in range(2))]


def eager_decode(
    heat_tl: Tensor, heat_br: Tensor, tag_tl: Tensor, tag_br: Tensor, offset_tl: Tensor, offset_br: Tensor
) -> tuple[Tensor, ...]:
    """The usual implementation; ties are in any order."""
    score_tl, label_tl, x_tl, y_tl, tags_tl = (x.unsqueeze(2) for x in _corners(heat_tl, tag_tl, offset_tl))
    score_br, label_br, x_br, y_br, tags_br = (x.unsqueeze(1) for x in _corners(heat_br, tag_br, offset_br))
    rejected = (label_tl != label_br) | ((tags_tl - tags_br).abs() > _TAG_THRESHOLD) | (x_br < x_tl) | (y_br < y_tl)
    scores, pairs = ((score_tl + score_br) / 2).masked_fill(rejected, -1).flatten(1).topk(_ROWS)

    def of_rows(values: Tensor) -> Tensor:
        return values.expand(-1, _TOP_K, _TOP_K).flatten(1).gather(1, pairs)

    boxes = torch.stack([of_rows(x) for x in (x_tl, y_tl, x_br, y_br)], -1)
    return boxes, scores, torch.stack([of_rows(score_tl), of_rows(score_br)], -1), of_rows(label_tl)


def _corners(heat: Tensor, tag: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
    plane, width = heat.shape[2] * heat.shape[3], heat.shape[3]
    peaks = heat * (F.max_pool2d(heat, 3, 1, 1) == heat)
    scores, cells = peaks.flatten(1).topk(_TOP_K)
    place = cells % plane
    x, y = (part.flatten(1).gather(1, place) for part in (offset[:, 0], offset[:, 1]))
    return scores, cells // plane, place % width + x, place // width + y, tag.flatten(1).gather(1, place)
