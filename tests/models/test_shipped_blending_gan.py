"""The packaged network: small, licensed, and useful on images that it was not trained on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import pydlx
from pydlx.blending import blend
from pydlx.data import Light
from pydlx.models.gan import shipped_blending_gan

FOLDER = Path(pydlx.__file__).parent / "weights"


def test_the_packaged_network_is_small_and_predicts_transforms():
    network = shipped_blending_gan()
    assert (FOLDER / "blending_gan.pt").stat().st_size < 10e6
    assert network.makes_transforms and network.mask_input and network.critic is None and not network.training
    assert shipped_blending_gan() is network


def test_its_card_names_every_photograph_and_its_licence():
    card = (FOLDER / "blending_gan.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| (CC BY [24]\.0|CC0 1\.0) \| (\S.*) \|$", card, re.M)
    assert len(rows) == len({name for name, _, _ in rows}) == 38


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_it_brings_back_the_light_of_photographs_it_never_saw(name):
    """Restores an ellipse whose light was changed better than copy-paste and blending without a network."""
    data = pytest.importorskip("skimage.data")
    truth = getattr(data, name)()[::2, ::2]
    light = Light((0.7, 0.75, 0.8), 0.9, 1.2)
    source = light(torch.from_numpy(truth).movedim(2, 0) / 255).movedim(0, 2)
    source = (255 * source).round().byte().numpy()
    y, x = (np.linspace(-1, 1, side) for side in truth.shape[:2])
    mask = ((y[:, None] / 0.5) ** 2 + (x / 0.6) ** 2 < 1).astype(np.uint8)

    def psnr(picture):
        error = (picture.astype(float) - truth)[mask > 0]
        return 10 * np.log10(255**2 / np.mean(error**2))

    made = {
        method: blend(source, truth, mask, method=method)
        for method in ("copy-paste", "gaussian-poisson", "poisson", "gp-gan")
    }
    assert psnr(made["gp-gan"]) > psnr(made["copy-paste"]) + 3
    assert psnr(made["gp-gan"]) > max(psnr(made["gaussian-poisson"]), psnr(made["poisson"]))
