"""What the tests of metrics share: either base class, and two processes that each see a part of the data."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
from torch import distributed, multiprocessing


def maps_of_conventions() -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and truth (4, 32, 32) of three classes; no class but 0 in image 0, no class 2 in image 1's truth."""
    target, pred = (torch.randint(0, 3, (4, 32, 32), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    target[0] = pred[0] = 0
    target[1][target[1] == 2] = 1
    return pred, target


def segmentation_on(base: str) -> ModuleType:
    """``pydlx.metrics.segmentation`` on torchmetrics' base class or on the stand-in."""
    from pydlx.metrics import segmentation, standalone

    if base == "torchmetrics":
        return segmentation
    name = "segmentation_on_standalone"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, segmentation.__file__)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, {"pydlx.metrics.metric": standalone}):
            spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def computed_by_two(base: str, folder: Path) -> list[dict]:
    """What each of two processes computes, one of which saw image 0, the other images 1 to 3."""
    multiprocessing.spawn(_compute, (base, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _compute(rank: int, base: str, folder: Path) -> None:
    if base == "standalone":
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # as if it were not installed
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    from pydlx.metrics import ConfusionMetrics

    assert ConfusionMetrics.__mro__[1].__module__.startswith("torchmetrics" if base == "torchmetrics" else "pydlx")
    part = slice(0, 1) if rank == 0 else slice(1, 4)
    pred, target = (maps[part] for maps in maps_of_conventions())
    found = {}
    for level in ("dataset", "image"):
        metrics = ConfusionMetrics(3, level=level)
        batch = metrics(pred, target)
        found[level] = {"joined": metrics.compute(), "own matrix": metrics.matrix, "batch": batch}
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()
