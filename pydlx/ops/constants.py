"""Small constant tensors, cached per device."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from pydlx import _autograd


def constant(values: Tensor | Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The values as a tensor. On a GPU, tensors made from sequences are cached, because the copy would wait for it."""
    if isinstance(values, Tensor) or device.type != "cuda" or not _autograd.is_plain_eager():
        return torch.as_tensor(values, dtype=dtype, device=device)
    return _kept(tuple(values), dtype, device)


@functools.lru_cache(maxsize=64)
def _kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)
