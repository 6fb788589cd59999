"""Pictures of what generative networks make, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import listed, whole

_GAP, _PAPER = 2, 255


def chain_grid(chain: Sequence[Tensor], columns: int = 10, *, scale: int = 1) -> np.ndarray:
    """One picture of a chain of pictures: each sample a column, from coarse to fine downwards, all of one size.

    Args:
        chain: From coarse to fine, each (N, C, H, W) in [0, 1] with one channel or three. A single one is a plain grid.
        columns: Samples side by side; the others stand below.
        scale: By what whole factor the finest pictures are enlarged.

    Returns:
        (H, W, 3) uint8.

    Raises:
        TypeError: If chain holds no floating tensors.
        ValueError: If they have other shapes, or there is none.
    """
    levels = listed("chain_grid", "chain", chain, "a sequence of tensors")
    columns, scale = whole("chain_grid", "columns", columns, 1), whole("chain_grid", "scale", scale, 1)
    for level in levels:
        if not isinstance(level, Tensor) or not level.is_floating_point():
            raise TypeError(f"chain_grid: chain must hold floating tensors, got {type(level).__name__}")
        if level.dim() != 4 or level.shape[1] not in (1, 3) or not level.numel() or len(level) != len(levels[0]):
            shapes = [tuple(x.shape) for x in levels]
            raise ValueError(f"chain_grid: chain must be of shapes (N, 1 or 3, H, W), got {shapes}")
    if not levels:
        raise ValueError("chain_grid: chain must have at least one level, got none")
    size = (levels[-1].shape[2] * scale, levels[-1].shape[3] * scale)
    tiles = torch.stack([_enlarged(level, size) for level in levels], 1)  # (N, levels, 3, H, W)
    rows = [_side_by_side(part, columns) for part in tiles.split(columns)]
    return np.pad(np.concatenate(rows), ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=_PAPER)


def _enlarged(level: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, h, w) as (N, 3, H, W), each pixel a square."""
    return F.interpolate(level.detach().float().cpu(), size, mode="nearest-exact").clamp(0, 1).expand(-1, 3, -1, -1)


def _side_by_side(tiles: Tensor, columns: int) -> np.ndarray:
    """Samples (n, levels, 3, H, W) as one block with a gap to the right of each tile and below it."""
    pixels = F.pad((tiles * 255).round(), (0, _GAP, 0, _GAP), value=_PAPER).byte()
    block = pixels.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1).numpy()  # levels H, n W, 3
    missing = (columns - len(tiles)) * pixels.shape[-1] if len(tiles) < columns else 0
    return np.pad(block, ((0, 3 * _GAP), (0, missing), (0, 0)), constant_values=_PAPER)
