"""The picture of a chain of pictures, pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch

from pydlx.visualize import chain_grid


def test_samples_are_columns_from_coarse_to_fine():
    coarse, fine = torch.rand(3, 3, 2, 2), torch.rand(3, 3, 4, 6)
    grid = chain_grid([coarse, fine], columns=2, scale=2)
    tile, gap = (8, 12), 2
    block = 2 * (tile[0] + gap) + 3 * gap
    assert grid.shape == (gap + 2 * block, gap + 2 * (tile[1] + gap), 3) and grid.dtype == np.uint8
    seen = np.full(grid.shape, 255, np.uint8)
    for number in range(3):
        row, column = gap + number // 2 * block, gap + number % 2 * (tile[1] + gap)
        for level, (down, right) in ((coarse, (4, 6)), (fine, (2, 2))):
            pixels = (level[number] * 255).round().byte().movedim(0, 2).numpy().repeat(down, 0).repeat(right, 1)
            seen[row : row + tile[0], column : column + tile[1]] = pixels
            row += tile[0] + gap
    assert (grid == seen).all()


def test_grey_pictures_and_values_outside():
    grid = chain_grid([torch.tensor([[[[-1.0, 2.0]]]])])
    assert grid[2, 2].tolist() == [0, 0, 0] and grid[2, 3].tolist() == [255, 255, 255]
