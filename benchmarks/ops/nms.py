"""Suppression against its definition in PyTorch, row by row; on a GPU hard suppression also against torchvision's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from pydlx import ops
from pydlx.benchmarks.case import NATIVE, REFERENCE, Candidate, Case, Setting, installed, on_reference

TORCHVISION = "torchvision"

_REFERENCE_UP_TO = 1000  # it waits for the device at every row
_SIGMAS = torch.linspace(0.025, 0.107, 17)


def cases(setting: Setting) -> Iterator[Case]:
    """Boxes that each overlap some dozens of others; and 200 poses."""
    for method in ("gaussian", "hard"):
        for count in (300, 2000, 10000) if setting.device.type == "cuda" else (1000,):
            yield Case(f"{method} {count} boxes", partial(_boxes, method, count, setting), floors=())
    yield Case("gaussian 200 poses", partial(_poses, setting), floors=())


def _boxes(method: str, count: int, setting: Setting) -> dict[str, Candidate | None]:
    boxes, scores = (x.to(setting.device) for x in draw_boxes(count))
    native = partial(ops.soft_nms, boxes, scores, method=method)
    found: dict[str, Candidate | None] = {NATIVE: native}
    if count <= _REFERENCE_UP_TO:
        found[REFERENCE] = on_reference(native)
    if method == "hard" and setting.device.type == "cuda":
        peer = installed("torchvision.ops")
        found[TORCHVISION] = peer and (lambda: peer.nms(boxes, scores, 0.5))
    return found


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
