"""Average precision of boxes: what it costs to have as many categories as LVIS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pydlx.benchmarks.case import NATIVE, Candidate, Case, Setting, at_most, installed

if TYPE_CHECKING:
    from pydlx.metrics import BoxAP

_IMAGES, _DETECTIONS, _TRUTHS = 5_000, 200_000, 50_000
_CATEGORIES, _FEW = 1_203, 12
_FEW_CATEGORIES = f"{_FEW} categories"


def cases(setting: Setting) -> Iterator[Case]:
    """As many detections, of many categories and of few."""
    if setting.device.type == "cpu" and installed("torchmetrics"):
        label = f"{_DETECTIONS} detections, {_CATEGORIES} categories"
        yield Case(label, candidates, (at_most(2, _FEW_CATEGORIES),), floors=(_FEW_CATEGORIES,))


def candidates() -> dict[str, Candidate | None]:
    """Matching and curves of what is in memory."""
    return {NATIVE: _filled(_CATEGORIES).curves, _FEW_CATEGORIES: _filled(_FEW).curves}


def _filled(categories: int) -> BoxAP:
    """A metric that has seen every detection near a truth of its category, in random order."""
    from pydlx.metrics import BoxAP

    generator = torch.Generator().manual_seed(0)
    corner = 500 * torch.rand(_TRUTHS, 2, generator=generator)
    boxes = torch.cat([corner, corner + 10 + 150 * torch.rand(_TRUTHS, 2, generator=generator)], 1)
    labels = torch.randint(categories, (_TRUTHS,), generator=generator)
    of = torch.randint(_TRUTHS, (_DETECTIONS,), generator=generator)
    found = boxes[of] + 4 * torch.randn(_DETECTIONS, 4, generator=generator)
    scores = torch.rand(_DETECTIONS, generator=generator)
    metric = BoxAP()
    metric.update(
        _by_image(of % _IMAGES, boxes=found, scores=scores, labels=labels[of]),
        _by_image(torch.arange(_TRUTHS) % _IMAGES, boxes=boxes, labels=labels),
    )
    return metric


def _by_image(images: Tensor, **columns: Tensor) -> list[dict[str, Tensor]]:
    order, counts = images.argsort(stable=True), torch.bincount(images, minlength=_IMAGES).tolist()
    split = {name: column[order].split(counts) for name, column in columns.items()}
    return [{name: parts[image] for name, parts in split.items()} for image in range(_IMAGES)]
