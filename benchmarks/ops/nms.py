"""Soft suppression against its definition in PyTorch, one operation per row taken."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from pydlx import ops
from pydlx.benchmarks.case import NATIVE, REFERENCE, Candidate, Case, Setting, on_reference

_SIGMAS = torch.linspace(0.025, 0.107, 17)


def cases(setting: Setting) -> Iterator[Case]:
    """1,000 boxes, of which each overlaps some dozens; and 200 poses."""
    for method in ("gaussian", "hard"):
        yield Case(f"{method} 1000 boxes", partial(_boxes, method, setting), floors=())
    yield Case("gaussian 200 poses", partial(_poses, setting), floors=())


def _boxes(method: str, setting: Setting) -> dict[str, Candidate | None]:
    boxes, scores = (x.to(setting.device) for x in draw_boxes(1000))
    native = partial(ops.soft_nms, boxes, scores, method=method)
    return {NATIVE: native, REFERENCE: on_reference(native)}


def _poses(setting: Setting) -> dict[str, Candidate | None]:
    generator = torch.Generator().manual_seed(0)
    poses = 300 * torch.rand(20, 17, 2, generator=generator).repeat(10, 1, 1)
    poses += 10 * torch.randn(200, 17, 2, generator=generator)
    scores, area = torch.rand(200, generator=generator), torch.full((200,), 2e4)
    poses, scores, area, sigmas = (x.to(setting.device) for x in (poses, scores, area, _SIGMAS))
    native = partial(ops.soft_oks_nms, poses, scores, area, sigmas)
    return {NATIVE: native, REFERENCE: on_reference(native)}


def draw_boxes(n: int) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) of 20 to 80 pixels in an image of 500 by 500, and scores."""
    generator = torch.Generator().manual_seed(0)
    corner = 500 * torch.rand(n, 2, generator=generator)
    size = 20 + 60 * torch.rand(n, 2, generator=generator)
    return torch.cat([corner, corner + size], dim=1), torch.rand(n, generator=generator)
