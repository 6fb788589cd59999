"""Confusion matrices of label maps: how many pixels of one class were taken for another.

    counts[t, p] = number of pixels with target t and prediction p

Predictions may be logits, whose arg-max is then taken in the same pass and never stored. Counting has no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pydlx import _autograd, _native
from pydlx._checks import check_device, check_flag, check_one_of, check_tensor, whole, whole_or_none

LABEL_DTYPES = (torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64, torch.bool)
MOST_CLASSES = 32767

_NAME = "confusion_matrix"
_INVALID = ("error", "ignore")


def confusion_matrix(
    pred: Tensor,
    target: Tensor,
    num_classes: int,
    ignore_index: int | None = None,
    *,
    invalid: str = "error",
    per_image: bool = False,
) -> Tensor:
    """Counts the pixels of each pair of classes; rows are the truth.

    On CUDA the call waits for the device to learn of invalid labels, unless `invalid` is ``"ignore"``: that form does
    not wait, and can be captured in a CUDA graph.

    Args:
        pred: Labels of target's shape, or floating-point logits (N, C, ...) for a target of (N, ...): the class of the
            largest counts, the first of equal ones, and the first NaN over any number, as in ``torch.argmax``. Logits
            are read as they lie in memory where that is contiguous or channels-last.
        target: (N, ...) labels. Labels are bool, uint8, uint16, int16, int32 or int64, in each map its own.
        num_classes: C, at most 32767.
        ignore_index: Pixels with this target are left out, whatever their prediction.
        invalid: What becomes of other labels outside of [0, C), in either map: ``"error"`` raises, ``"ignore"`` leaves
            their pixels out. Under ``torch.compile`` ``"error"`` raises RuntimeError, without the place.
        per_image: Give a matrix for each image instead of one for all.

    Returns:
        (C, C) int64, or (N, C, C) with `per_image`. Zeros where there is nothing to count.

    Raises:
        TypeError: If a dtype is none of these.
        ValueError: If shapes or devices do not fit, or a label is invalid.
    """
    if type(num_classes) is not int or not 1 <= num_classes <= MOST_CLASSES:
        num_classes = whole(_NAME, "num_classes", num_classes, 1, MOST_CLASSES)
    if ignore_index is not None:
        ignore_index = whole_or_none(_NAME, "ignore_index", ignore_index)
    if type(invalid) is not str or invalid not in _INVALID:
        check_one_of(_NAME, "invalid", invalid, _INVALID)
    if type(per_image) is not bool:
        check_flag(_NAME, "per_image", per_image)
    _check_maps(pred, target, num_classes, per_image)
    run = _op if _native.use_native(target, _NAME) else confusion_matrix_reference
    values = pred.detach() if pred.requires_grad else pred
    counts, first_invalid = run(values, target, num_classes, ignore_index, per_image)
    if invalid == "error":
        _require_valid(first_invalid, pred, target, num_classes)
    return counts


def _check_maps(pred: Tensor, target: Tensor, num_classes: int, per_image: bool) -> None:
    name = _NAME
    if not (isinstance(pred, Tensor) and isinstance(target, Tensor)):
        check_tensor(name, "pred", pred)
        check_tensor(name, "target", target)
    if target.dtype not in LABEL_DTYPES:
        raise TypeError(
            f"{name}: target must hold labels (bool, uint8, uint16, int16, int32, int64), got {target.dtype}"
        )
    if not (pred.is_cpu and target.is_cpu):
        check_device(name, "pred", pred, "target", target)
    if per_image and target.dim() == 0:
        raise ValueError(f"{name}: target must have a batch dimension with per_image, got 0 dimensions")
    if pred.is_floating_point():
        wanted = (*target.shape[:1], num_classes, *target.shape[1:])
        if target.dim() == 0 or pred.shape != wanted:
            raise ValueError(
                f"{name}: pred must have shape (N, C, ...) for logits, here {wanted}, got {tuple(pred.shape)}"
            )
    elif pred.dtype not in LABEL_DTYPES:
        raise TypeError(
            f"{name}: pred must hold labels (bool, uint8, uint16, int16, int32, int64) or floating-point logits, "
            f"got {pred.dtype}"
        )
    elif pred.shape != target.shape:
        raise ValueError(f"{name}: pred must have the shape of target, {tuple(target.shape)}, got {tuple(pred.shape)}")


def _require_valid(first_invalid: Tensor, pred: Tensor, target: Tensor, num_classes: int) -> None:
    """Raises if there is a place in `first_invalid` (target, pred); -1 says that there is none."""
    if torch.compiler.is_compiling():
        text = f"confusion_matrix: target or pred holds labels outside of [0, {num_classes})"
        torch._assert_async((first_invalid < 0).all(), text)
        return
    try:
        places = first_invalid.tolist()
    except RuntimeError as error:
        if _autograd.is_batched(first_invalid):
            raise RuntimeError('confusion_matrix: invalid must be "ignore" under torch.vmap, got "error"') from error
        raise
    if places == [-1, -1]:
        return
    for name, labels, place in zip(("target", "pred"), (target, pred), places, strict=True):
        if place >= 0:
            at = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), target.shape))
            raise ValueError(
                f"confusion_matrix: {name} must hold labels in [0, {num_classes}), got {labels[at].item()} at {at}"
            )


def confusion_matrix_reference(
    pred: Tensor, target: Tensor, num_classes: int, ignore_index: int | None, per_image: bool
) -> tuple[Tensor, Tensor]:
    """The counts, and the places in the flattened maps of the first invalid target and prediction, or -1."""
    images = target.shape[0] if per_image else 1
    labels = pred.argmax(1) if pred.is_floating_point() else pred
    pixels = target.numel() // max(1, images)
    p, t = labels.long().reshape(images, pixels), target.long().reshape(images, pixels)
    kept = torch.ones_like(t, dtype=torch.bool) if ignore_index is None else t != ignore_index
    known = kept & (t >= 0) & (t < num_classes)
    counted = known & (p >= 0) & (p < num_classes)
    bins = num_classes * num_classes  # and one for what is not counted
    pairs = torch.where(counted, t * num_classes + p, bins)
    counts = t.new_zeros(images, bins + 1).scatter_add_(1, pairs, torch.ones_like(pairs))[:, :-1]
    shape = (images, num_classes, num_classes) if per_image else (num_classes, num_classes)
    first_invalid = torch.stack([_first(kept & ~known), _first(known & ~counted)])
    return counts.reshape(shape), first_invalid


def _first(found: Tensor) -> Tensor:
    """The place of the first True in the flattened tensor, or -1."""
    with_end = torch.cat((found.flatten(), found.new_ones(1)))
    place = with_end.byte().argmax()
    return torch.where(place == found.numel(), -1, place)


def _fake(
    pred: Tensor, target: Tensor, num_classes: int, ignore_index: int | None, per_image: bool
) -> tuple[Tensor, Tensor]:
    shape = (target.shape[0], num_classes, num_classes) if per_image else (num_classes, num_classes)
    return target.new_empty(shape, dtype=torch.int64), target.new_empty((2,), dtype=torch.int64)


_op = _native.register(
    "confusion_matrix(Tensor pred, Tensor target, SymInt num_classes, int? ignore_index, bool per_image) -> "
    "(Tensor, Tensor)",
    reference=confusion_matrix_reference,
    fake=_fake,
)
