"""The confusion matrix against NumPy's, torchmetrics' and stock PyTorch's, on label maps and from logits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pydlx import ops
from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    REFERENCE,
    Candidate,
    Case,
    Setting,
    Target,
    at_least,
    copying,
    installed,
    on_reference,
    shape_text,
)
from pydlx.benchmarks.pictures import label_maps

FAST_HIST = "numpy fast_hist"
BINCOUNT = "numpy bincount"
TORCHMETRICS = "torchmetrics"
TORCH_BINCOUNT = "torch.bincount"
ARGMAX = "argmax + bincount"
IGNORED = 255

_SHAPE, _CLASSES = (1024, 2048), 19
_LABEL_TARGETS = (at_least(5, FAST_HIST), at_least(50, TORCHMETRICS))

Maps = tuple[Tensor, Tensor]


def cases(setting: Setting) -> Iterator[Case]:
    """Label maps of either kind and type, then logits in either order of memory."""
    on_cpu = setting.device.type == "cpu"
    for kind in ("regions", "random"):
        for dtype in (torch.int64, torch.uint8):
            targets: tuple[Target, ...] = _LABEL_TARGETS if on_cpu else ()
            label = f"{kind} {shape_text(_SHAPE)} {_name(dtype)}"
            yield Case(label, partial(_label_candidates, kind, dtype, setting), targets)
    for dtype, channels_last in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False)):
        targets = (at_least(5, ARGMAX),) if on_cpu else ()
        label = f"logits {shape_text((1, _CLASSES, *_SHAPE))} {_name(dtype)}{' channels-last' if channels_last else ''}"
        yield Case(label, partial(_logit_candidates, dtype, channels_last, setting), targets)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _label_candidates(kind: str, dtype: torch.dtype, setting: Setting) -> dict[str, Candidate | None]:
    pred, target = (labels.to(setting.device, dtype) for labels in maps(kind, _SHAPE, _CLASSES))
    counters = label_counters(pred, target, _CLASSES)
    return {**counters, REFERENCE: on_reference(_required(counters)), COPY: copying(torch.stack((pred, target)))}


def _logit_candidates(dtype: torch.dtype, channels_last: bool, setting: Setting) -> dict[str, Candidate | None]:
    shape = (1, _CLASSES, *_SHAPE)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(setting.device, dtype)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    target = maps("regions", _SHAPE, _CLASSES)[1].to(setting.device)[None]
    counters = logit_counters(logits, target, _CLASSES)
    return {**counters, REFERENCE: on_reference(_required(counters)), COPY: copying(logits)}


def _required(counters: dict[str, Candidate | None]) -> Candidate:
    native = counters[NATIVE]
    assert native is not None
    return native


def maps(kind: str, shape: tuple[int, int], classes: int) -> Maps:
    """Prediction and truth (H, W), int64, a twentieth of the truth ignored."""
    if kind == "regions":
        return label_maps(shape, classes, IGNORED, seed=0)
    generator = torch.Generator().manual_seed(0)
    pred, target = (torch.randint(0, classes, shape, generator=generator) for _ in range(2))
    return pred, torch.where(torch.rand(shape, generator=generator) < 0.05, IGNORED, target)


def label_counters(pred: Tensor, target: Tensor, classes: int) -> dict[str, Candidate | None]:
    """Every way to count label maps on one device; NumPy's on the CPU only, torchmetrics' where it is installed."""
    found: dict[str, Candidate | None] = {NATIVE: lambda: ops.confusion_matrix(pred, target, classes, IGNORED)}
    if pred.device.type == "cpu":
        arrays = pred.numpy(), target.numpy()
        found[FAST_HIST] = lambda: fast_hist(*arrays, classes)
        found[BINCOUNT] = lambda: bincount(*arrays, classes)
    else:
        found[TORCH_BINCOUNT] = lambda: masked_bincount(pred, target, classes)
    peer = installed("torchmetrics.functional.classification")
    found[TORCHMETRICS] = peer and (
        lambda: peer.multiclass_confusion_matrix(pred, target, classes, ignore_index=IGNORED)
    )
    return found


def logit_counters(logits: Tensor, target: Tensor, classes: int) -> dict[str, Candidate | None]:
    """From logits (N, C, H, W): the fused op, and stock PyTorch."""
    return {
        NATIVE: lambda: ops.confusion_matrix(logits, target, classes, IGNORED),
        ARGMAX: lambda: masked_bincount(logits.argmax(1), target, classes),
    }


def fast_hist(pred: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """The definition that came with FCN and is in most evaluation scripts."""
    valid = target < classes
    pairs = classes * target[valid].astype(np.int64) + pred[valid]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def bincount(pred: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Faster for being told that predictions are classes and targets not negative: what is ignored ends up behind."""
    pairs = classes * target.astype(np.uint16 if target.dtype == np.uint8 else np.int64, copy=False) + pred
    return np.bincount(pairs.ravel(), minlength=classes * classes)[: classes * classes].reshape(classes, classes)


def masked_bincount(pred: Tensor, target: Tensor, classes: int) -> Tensor:
    """The same definition in stock PyTorch."""
    valid = target < classes
    pairs = classes * target[valid] + pred[valid]
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes)
