"""Rows of many groups, one behind the other: group i holds the rows ``range(offsets[i], offsets[i + 1])``."""

from __future__ import annotations

import torch
from torch import Tensor

from pydlx import _autograd


def check_offsets(name: str, argument: str, offsets: Tensor, rows: int) -> None:
    """Require that offsets cut so many rows into groups."""
    if offsets.dtype != torch.int64 or offsets.dim() != 1 or not len(offsets):
        raise ValueError(
            f"{name}: {argument} must be int64 of shape (n + 1,), got {offsets.dtype} of {tuple(offsets.shape)}"
        )
    if torch.compiler.is_compiling():
        raise RuntimeError(f"{name}: cannot be compiled or exported, because it looks at the values of {argument}")
    if _autograd.is_batched(offsets):
        raise RuntimeError(f"{name}: {argument} must be the same for all entries of torch.vmap, got different ones")
    if int(offsets[0]) != 0 or int(offsets[-1]) != rows or (offsets.diff() < 0).any():
        raise ValueError(f"{name}: {argument} must rise from 0 to the number of rows, {rows}")


def check_same_groups(name: str, first: Tensor, second: Tensor) -> None:
    """Require that two sides have as many groups."""
    if len(first) != len(second):
        raise ValueError(f"{name}: both offsets must be of one length, got {len(first)} and {len(second)}")


def check_rows(name: str, argument: str, rows: Tensor, dtype: torch.dtype, *shape: int) -> None:
    """Require a dtype and a shape."""
    if rows.dtype != dtype or rows.shape != shape:
        raise ValueError(f"{name}: {argument} must be {dtype} of {shape}, got {rows.dtype} of {tuple(rows.shape)}")
