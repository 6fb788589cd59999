"""Small random pictures and masks for the blending tests."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def picture(rng):
    """Makes a random float64 picture in [0, 1] of the given shape."""
    return lambda *shape: rng.random(shape)


@pytest.fixture
def blob(rng):
    """Makes a ragged hard mask of the given size that covers about half of it, with single pixels and holes."""

    def make(height, width):
        mask = rng.random((height, width)) > 0.5
        mask[height // 2, width // 2] = True
        return mask

    return make
