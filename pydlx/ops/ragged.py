"""Checks of ragged batches: the rows of all groups are concatenated, and group i has those of
``range(offsets[i], offsets[i + 1])``."""

from __future__ import annotations

import torch
from torch import Tensor

from pydlx import _autograd
from pydlx._checks import check_tensor


def check_offsets(name: str, argument: str, offsets: Tensor, rows: int) -> None:
    """Require non-decreasing int64 offsets from 0 to `rows`."""
    check_tensor(name, argument, offsets)
    if offsets.dtype != torch.int64 or offsets.dim() != 1 or not len(offsets):
        raise ValueError(
            f"{name}: {argument} must be int64 of shape (n + 1,), got {offsets.dtype} of {tuple(offsets.shape)}"
        )
    if offsets.is_meta:
        raise ValueError(f"{name}: {argument} must hold numbers, got a tensor on the meta device")
    if torch.compiler.is_compiling():
        raise RuntimeError(f"{name}: cannot be compiled or exported, because it looks at the values of {argument}")
    if _autograd.is_batched(offsets):
        raise RuntimeError(f"{name}: {argument} must be the same for all entries of torch.vmap, got different ones")
    if int(offsets[0]) != 0 or int(offsets[-1]) != rows or (offsets.diff() < 0).any():
        raise ValueError(f"{name}: {argument} must rise from 0 to the number of rows, {rows}")


def check_same_groups(name: str, first: Tensor, truth_offsets: Tensor) -> None:
    """Require as many groups of truths as of detections."""
    if len(first) != len(truth_offsets):
        raise ValueError(
            f"{name}: truth_offsets must be of the other offsets' length, {len(first)}, got {len(truth_offsets)}"
        )


def check_rows(name: str, argument: str, rows: Tensor, dtype: torch.dtype, *shape: int | None) -> None:
    """Require a tensor on the CPU of this dtype and shape, where None stands for any size."""
    check_tensor(name, argument, rows)
    if not rows.is_cpu:
        raise ValueError(f"{name}: {argument} must be on the CPU, got {rows.device}")
    if rows.dtype != dtype or not (rows.shape == shape or _fits(rows.shape, shape)):
        wanted = str(tuple("*" if size is None else size for size in shape)).replace("'", "")
        raise ValueError(f"{name}: {argument} must be {dtype} of {wanted}, got {rows.dtype} of {tuple(rows.shape)}")


def _fits(sizes: torch.Size, shape: tuple[int | None, ...]) -> bool:
    for size, wanted in zip(sizes, shape, strict=False):
        if wanted is not None and size != wanted:
            return False
    return len(sizes) == len(shape)
