"""The strongest activations over a set of images, and the picture of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

import pydlx
from pydlx.data import write_image
from pydlx.visualize import Deconvnet, Excitation, grid, top_activations


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU())


@pytest.fixture
def images():
    return torch.rand(12, 3, 16, 18, generator=torch.Generator().manual_seed(0))


def test_the_strongest_are_found_in_order(model, images):
    maps = model(images).detach()
    found = top_activations(model, images, "4", channels=[3, 0], k=4)
    assert list(found) == [3, 0]
    for channel, excitations in found.items():
        values, order = maps[:, channel].flatten(1).amax(1).sort(descending=True, stable=True)
        assert [e.image for e in excitations] == order[:4].tolist()
        assert [e.value for e in excitations] == pytest.approx(values[:4].tolist())
        for e in excitations:
            assert maps[e.image, channel][e.position] == pytest.approx(e.value)
    assert len(top_activations(model, images, "4")[1]) == 9


def test_patch_and_projection_lie_where_the_activation_sees(model, images):
    for channel, excitations in top_activations(model, images, "4", k=3).items():
        for e in excitations:
            seen = (slice(None), *e.region)
            whole = Deconvnet(model).project(images[e.image : e.image + 1], "4", channel, e.position)[0]
            assert torch.equal(e.patch, images[e.image][seen])
            assert torch.equal(e.projection, whole[seen])
            outside = whole.clone()
            outside[seen] = 0
            assert not outside.any()
            assert e.patch.shape[1] <= 8 and e.patch.shape[2] <= 8  # 3, then 4, then 8 cells


def test_loaders_give_the_same(model, images):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.arange(12)), batch_size=5)
    lines = []
    from_loader = top_activations(model, loader, "4", k=5, progress=lines.append)
    for channel, expected in top_activations(model, images, "4", k=5).items():
        assert [e.image for e in from_loader[channel]] == [e.image for e in expected]
    assert lines[:3] == ["5 images seen", "10 images seen", "12 images seen"]
    assert (
        lines[3].endswith("images projected") and lines[-1] == f"{len(lines) - 3} of {len(lines) - 3} images projected"
    )


def test_an_image_is_kept_once_and_of_projections_their_part(model, images):
    found = [e for excitations in top_activations(model, images, "0").values() for e in excitations]
    stores = {e.patch.untyped_storage().data_ptr() for e in found}
    assert len(stores) == len({e.image for e in found}) < len(found)
    assert all(e.projection.untyped_storage().nbytes() == e.projection.nbytes for e in found)


def test_tensors_of_many_images_run_in_parts(model, monkeypatch):
    sizes = []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    many = torch.rand(70, 3, 8, 8)
    at_once = top_activations(model, [many], "Sequential", [1], k=3)[1]
    sizes.clear()
    in_parts = top_activations(model, many, "Sequential", [1], k=3)[1]
    assert sizes[:3] == [32, 32, 6]
    assert [(e.image, e.position) for e in in_parts] == [(e.image, e.position) for e in at_once]


def test_equal_activations_keep_the_first_images(model):
    excitations = top_activations(model, torch.ones(5, 3, 12, 12), "4", [0], k=2)[0]
    assert [e.image for e in excitations] == [0, 1]


def test_sizes_may_differ(model):
    batches = [torch.rand(1, 3, 12, 12), torch.rand(2, 3, 9, 30)]
    assert len(top_activations(model, batches, "4", [0])[0]) == 3


def test_bad_arguments(model, images):
    for arguments, message in (
        ((images, "4", [5]), r"channels must be 0 to 4, got \[5\]"),
        ((images, "4", [0], 0), "k must be positive, got 0"),
        (([], "4"), "images must not be empty"),
        ((images * torch.nan, "4"), "activations must be finite, got NaN or infinity at '4'"),
    ):
        with pytest.raises(ValueError, match=f"^top_activations: {message}"):
            top_activations(model, *arguments)


def test_grid_shows_projections_beside_patches(model, images):
    pytest.importorskip("PIL")
    found = top_activations(model, images, "0", [2], k=1)
    (only,) = found[2]
    picture = grid(found, tile=1)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    height, width = only.patch.shape[1:]
    assert (picture[:, :10] == 255).all() and (picture[-10:] == 255).all()  # margins are white
    block = picture[-height - 10 : -10, 10:-10]  # without margins and label
    projection, patch = block[:, :width], block[:, -width:]
    np.testing.assert_array_equal(patch, np.rint(255 * only.patch.permute(1, 2, 0).numpy()))
    signal = only.projection.permute(1, 2, 0).numpy()
    clear = np.abs(signal) > 0.02 * np.abs(signal).max()
    np.testing.assert_array_equal((projection > 128)[clear], (signal > 0)[clear])
    assert projection.max() == 255 or projection.min() <= 1


def test_grid_of_many(model, images):
    pytest.importorskip("PIL")
    grey = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2))
    found = top_activations(grey, images[:, :1], "0")
    small, large = grid(found, columns=3, tile=10), grid(found, columns=1, tile=10)
    assert small.shape[1] > large.shape[1] and small.shape[0] < large.shape[0]
    assert small.shape[1] == 2 * 10 + 3 * (2 * (3 * 10 + 2 * 2) + 6) + 2 * 10
    normalised = top_activations(model, 2 * images - 1, "4", [0], k=2)
    patches = top_activations(nn.Sequential(nn.Identity()), images, "0", [0], k=2)
    shown, other = grid(normalised, mean=0.5, std=0.5), grid(normalised)
    assert shown.shape == other.shape and (shown != other).any()
    assert grid({0: patches[0], 1: patches[0][:1]}).shape[2] == 3  # fewer of one map than of another


def test_parts_over_the_border_keep_their_place():
    """A field that misses its first row and last column is shown with these, and only these, filled up."""
    pytest.importorskip("PIL")

    def seen(rows, columns):
        size = (1, rows.stop - rows.start, columns.stop - columns.start)
        return Excitation(1.0, 0, (0, 0), (rows, columns), torch.ones(size), torch.ones(size))

    whole, cut = seen(slice(1, 4), slice(1, 4)), seen(slice(0, 2), slice(3, 5))
    picture = grid({0: [cut], 1: [whole]}, columns=1, tile=1)
    patch = picture[18:21, 19:22, 0]  # below the label, beside margin, projection and gap
    np.testing.assert_array_equal(patch, [[224, 224, 224], [255, 255, 224], [255, 255, 224]])


def test_silent_maps_are_grey(images):
    pytest.importorskip("PIL")
    layer = nn.Conv2d(3, 1, 3)
    nn.init.zeros_(layer.weight)
    picture = grid(top_activations(nn.Sequential(layer), images, "0", k=1), tile=1)
    assert (picture[-13:-10, 10:13] == 128).all()


def test_grid_is_written_as_any_picture(tmp_path, model, images):
    pillow = pytest.importorskip("PIL.Image")
    picture = grid(top_activations(model, images, "4", [0, 1]))
    write_image(tmp_path / "maps.png", picture)
    np.testing.assert_array_equal(np.asarray(pillow.open(tmp_path / "maps.png")), picture)


def test_bad_grids(model, images, monkeypatch):
    with pytest.raises(ValueError, match=r"grid: excitations must have at least one entry, got none"):
        grid({0: []})
    found = top_activations(nn.Sequential(nn.Identity()), images[:, :2], "0", [0])
    with pytest.raises(ValueError, match=r"grid: images must have 1 or 3 channels, got \[2\]"):
        grid(found)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'needs Pillow: pip install "pydlx\[images\]"'):
        grid(top_activations(model, images, "4", [0]))


def test_package_is_imported_when_used():
    assert pydlx.visualize.grid is grid
