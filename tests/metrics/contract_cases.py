"""An entry for every metric class: how it is made, and data for it. Spawned processes import this file too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from pydlx.metrics import (
    MAE,
    MSE,
    MSSSIM,
    PSNR,
    RMSE,
    SSIM,
    BleuScore,
    BoxAP,
    CmrcScore,
    ConfusionMetrics,
    EntityScore,
    KeypointAP,
    MaskAP,
    RelationScore,
    RougeLScore,
    SquadScore,
)


class Case(NamedTuple):
    """A metric and what it is tested with."""

    make: Callable[..., Any]
    batches: list[tuple[Any, Any]]  # preds, target
    empty: tuple[Any, Any]
    other: dict[str, Any]  # options that change what update keeps, or nothing


def _maps(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    preds, target = (torch.randint(0, 3, (2, 6, 7), generator=generator) for _ in range(2))
    return preds, target


def _images(side: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(3):
        target = torch.rand(2, 1, side, side + 1, generator=generator)
        pairs.append((target + 0.1 * torch.randn(target.shape, generator=generator), target))
    return pairs


def _boxes(seed: int) -> tuple[list[dict], list[dict]]:
    generator = torch.Generator().manual_seed(seed)

    def rows(count: int) -> torch.Tensor:
        corner = torch.rand(count, 2, generator=generator) * 200
        return torch.cat([corner, corner + 20 + 60 * torch.rand(count, 2, generator=generator)], 1)

    boxes = [rows(3), rows(2)]
    target = [{"boxes": each, "labels": torch.arange(len(each)) % 2} for each in boxes]
    preds = [
        {
            "boxes": torch.cat([each + 4 * torch.randn(each.shape, generator=generator), rows(1)]),
            "scores": torch.rand(len(each) + 1, generator=generator),
            "labels": torch.cat([torch.arange(len(each)) % 2, torch.tensor([1])]),
        }
        for each in boxes
    ]
    return preds, target


def _masks(seed: int) -> tuple[list[dict], list[dict]]:
    preds, target = _boxes(seed)
    for image in (*preds, *target):
        across, down = torch.arange(300.0), torch.arange(300.0)[:, None]
        image["masks"] = torch.stack(
            [
                (left <= across) & (across < right) & (top <= down) & (down < low)
                for left, top, right, low in image["boxes"]
            ]
        )
        del image["boxes"]
    return preds, target


def _poses(seed: int) -> tuple[list[dict], list[dict]]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(2, 3, 4, 2, generator=generator) * 100
    visible = torch.full((3, 4, 1), 2.0)
    target = [{"keypoints": torch.cat([each, visible], 2), "area": torch.full((3,), 5000.0)} for each in points]
    noise = torch.randn(points.shape, generator=generator) * 8
    preds = [{"keypoints": each, "scores": torch.rand(3, generator=generator)} for each in (points + noise).unbind()]
    return preds, target


def _bools(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    preds, target = (torch.rand(5, 3, generator=generator) > 0.4 for _ in range(2))
    return preds, target


_ANSWERS = [
    (["a red dog", "一二三"], [["red", "red dog"], ["一二"]]),
    (["blue"], [["the blue sky", "green"]]),
    (["green grass", "dog"], [["green"], ["the dog"]]),
]
_ENTITIES = [
    ([[("A", 0, 1)], [("B", 2, 2), ("A", 2, 2)]], [[("A", 0, 1)], [("A", 2, 2)]]),
    ([[]], [[("B", 0, 0)]]),
    ([[("B", 1, 4)]], [[("B", 1, 4)]]),
]
_NO_MAPS = torch.zeros(0, 6, 7, dtype=torch.int64), torch.zeros(0, 6, 7, dtype=torch.int64)
_NO_IMAGES = torch.zeros(0, 1, 16, 17), torch.zeros(0, 1, 16, 17)
_NO_BOOLS = torch.zeros(0, 3, dtype=torch.bool), torch.zeros(0, 3, dtype=torch.bool)
_THREE = range(3)


def _with(kind: type, **options: Any) -> Callable[..., Any]:
    return lambda **others: kind(**{**options, **others})


CASES: dict[str, Case] = {
    "BleuScore": Case(BleuScore, _ANSWERS, ([], []), {}),
    "BoxAP": Case(BoxAP, [_boxes(seed) for seed in _THREE], ([], []), {}),
    "CmrcScore": Case(_with(CmrcScore, words="builtin"), _ANSWERS, ([], []), {"words": None}),
    "ConfusionMetrics": Case(
        _with(ConfusionMetrics, num_classes=3, class_names=["road", "sky", "car"]),
        [_maps(seed) for seed in _THREE],
        _NO_MAPS,
        {"ignore_index": 1},
    ),
    "ConfusionMetrics by image": Case(
        _with(ConfusionMetrics, num_classes=3, level="image"), [_maps(seed) for seed in _THREE], _NO_MAPS, {}
    ),
    "EntityScore": Case(_with(EntityScore, types=["A", "B"]), _ENTITIES, ([], []), {}),
    "KeypointAP": Case(_with(KeypointAP, sigmas=[0.1] * 4), [_poses(seed) for seed in _THREE], ([], []), {}),
    "MAE": Case(MAE, _images(16), _NO_IMAGES, {}),
    "MaskAP": Case(MaskAP, [_masks(seed) for seed in _THREE], ([], []), {}),
    "MSE": Case(MSE, _images(16), _NO_IMAGES, {}),
    "MSSSIM": Case(
        _with(MSSSIM, data_range=1.0, kernel_size=5, weights=[0.5, 0.5]), _images(16), _NO_IMAGES, {"data_range": 2.0}
    ),
    "PSNR": Case(_with(PSNR, data_range=1.0), _images(16), _NO_IMAGES, {"data_range": 2.0}),
    "PSNR by image": Case(_with(PSNR, data_range=1.0, level="image"), _images(16), _NO_IMAGES, {}),
    "RMSE": Case(RMSE, _images(16), _NO_IMAGES, {"level": "image"}),
    "RelationScore": Case(
        _with(RelationScore, relations=["Na", "P1", "P2"], frequent=["P2"]),
        [_bools(seed) for seed in _THREE],
        _NO_BOOLS,
        {},
    ),
    "RougeLScore": Case(RougeLScore, _ANSWERS, ([], []), {}),
    "SSIM": Case(_with(SSIM, data_range=1.0), _images(16), _NO_IMAGES, {"convention": "skimage"}),
    "SquadScore": Case(SquadScore, _ANSWERS, ([], []), {"version": "2.0"}),
}
IDLE = ("no update", "empty updates")


def filled(name: str, batches: list[tuple[Any, Any]] | None = None, **options: Any) -> Any:
    """The metric of an entry, with all of its batches or others."""
    case = CASES[name]
    metric = case.make(**options)
    for preds, target in case.batches if batches is None else batches:
        metric.update(preds, target)
    return metric
