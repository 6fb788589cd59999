"""Small random pictures and masks for the blending tests."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def untrained():
    """A small Blending GAN in evaluation mode; it sees the mask."""
    import pydlx  # not before tests/conftest.py has chosen the kernels

    torch.manual_seed(0)
    return pydlx.create_model("blending_gan", width=4, bottleneck=6, mask_input=True, critic=False).eval()


@pytest.fixture(autouse=True)
def instead_of_shipped(untrained, monkeypatch):
    """The untrained network in the place of the one that is shipped, so that tests hang on no weights."""
    from pydlx.models.gan import shipped

    monkeypatch.setattr(shipped, "_loaded", {torch.device("cpu"): untrained})


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
