"""Composites have the requested parts, follow from the seed, and paste only inside the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pydlx.data import AnnotationWarning, Light, RandomComposites, RandomRegions, ScenePairs, random_light
from pydlx.files import write_image

pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """Writes masks: a disc with values 0 and 255, a bar with 0 and 1 (files have both), and an empty mask."""
    folder = tmp_path_factory.mktemp("masks")
    y, x = np.mgrid[:50, :70]
    write_image(folder / "disc.png", np.where((y - 20) ** 2 + (x - 30) ** 2 < 200, 255, 0).astype(np.uint8))
    write_image(folder / "bar.png", ((x > 10) & (x < 60) & (y > 20) & (y < 30)).astype(np.uint8))
    write_image(folder / "empty.png", np.zeros((5, 5), np.uint8))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def regions(masks):
    with pytest.warns(AnnotationWarning, match=r"1 masks are empty and are left out \(files empty.png\)"):
        return RandomRegions("masks", masks)


def photograph(height=40, width=60):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_light_is_the_formula():
    x = torch.rand(3, 4, 5, dtype=torch.float64)
    lit = Light((1.2, 1.0, 0.5), 1.3, 0.6)(x).numpy()
    gained = x.numpy() ** 1.3 * np.array([1.2, 1.0, 0.5])[:, None, None]
    grey = np.tensordot([0.299, 0.587, 0.114], gained, 1)
    assert_allclose(lit, np.clip(grey + 0.6 * (gained - grey), 0, 1), atol=1e-7)
    assert torch.equal(Light((1.0, 1.0, 1.0), 1.0, 1.0)(x), x)


def test_light_stays_within_its_bounds():
    torch.manual_seed(0)
    lights = [random_light() for _ in range(2000)]
    greens = [light.gains[1] for light in lights]
    assert 0.45 < min(greens) < 0.52 and 1.9 < max(greens) < 2.2
    ratios = [light.gains[0] / light.gains[2] for light in lights]
    assert 0.64 < min(ratios) < 0.65 and 1.55 < max(ratios) < 1.5626
    assert all(1 / 1.4 <= light.gamma <= 1.4 and 1 / 1.5 <= light.saturation <= 1.5 for light in lights)
    assert random_light(0.0) == Light((1.0, 1.0, 1.0), 1.0, 1.0)


@pytest.mark.parametrize("size", [(64, 64), (30, 90), (4, 7)])
def test_masks_keep_their_shape_and_lie_inside(regions, size):
    torch.manual_seed(1)
    for _ in range(30):
        region = regions(size)
        assert region.shape == (1, *size)
        assert region.min() >= 0 and region.max() <= 1 and region.sum() > 0
        if min(size) < 20:
            continue
        rows, columns = (region[0].amax(axis).nonzero().numel() for axis in (1, 0))
        assert min(size) / 3 - 3 <= max(rows, columns) <= 0.9 * min(size) + 3
        # The disc's box is 28 pixels square, the bar's 9 by 49.
        assert max(rows, columns) / min(rows, columns) == pytest.approx(1, abs=0.2) or columns > 3 * rows


def test_rectangles_and_the_centre():
    torch.manual_seed(2)
    for _ in range(30):
        region = RandomRegions("rectangles")((40, 80))[0]
        rows, columns = (region.amax(axis).nonzero().numel() for axis in (1, 0))
        assert region.sum() == rows * columns
        assert 8 <= rows <= 30 and 16 <= columns <= 60
    centre = RandomRegions("centre")((64, 64))[0]
    assert centre[16:48, 16:48].all() and centre.sum() == 32 * 32


def test_a_composite_is_the_target_but_for_the_mask(regions):
    torch.manual_seed(3)
    pasted, target, mask = RandomComposites(regions, 32, zoom=1.5)((picture := photograph(), picture))
    assert pasted.shape == target.shape == (3, 32, 32) and mask.shape == (1, 32, 32)
    outside = (mask == 0).expand_as(target)
    assert pasted[outside].equal(target[outside])
    assert not pasted[~outside].allclose(target[~outside], atol=0.01)


def test_two_exposures_are_cut_alike():
    """Both exposures are cut at the same window: pasting from an identical copy leaves the scene unchanged."""
    torch.manual_seed(4)
    picture = photograph()
    pasted, target, _ = RandomComposites(RandomRegions("centre"), 16, zoom=2, light=0, scene_light=1)(
        (picture.copy(), picture)
    )
    assert pasted.equal(target)
    other = np.full_like(picture, 7)
    pasted, target, mask = RandomComposites(RandomRegions("centre"), 16, light=0)((other, picture))
    assert_allclose(pasted[mask.expand_as(pasted) == 1].numpy(), 7 / 255, atol=1e-6)


def test_without_zoom_the_largest_square_is_taken():
    torch.manual_seed(5)
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, ::2] = 200
    target = RandomComposites(RandomRegions("centre"), 10, light=0)((stripes, stripes)).target
    assert set((255 * target).round().unique().tolist()) == {0, 200}  # no pixel was mixed with another


def test_scenes_are_paired_within_themselves(tmp_path):
    for scene in range(21):
        (tmp_path / f"scene {scene:02}").mkdir()
        for shot in range(3):
            write_image(tmp_path / f"scene {scene:02}" / f"{shot}.png", np.full((8, 9, 3), 10 * scene + shot, np.uint8))
    (tmp_path / "lonely").mkdir()
    with pytest.warns(AnnotationWarning, match="1 scenes have fewer than two pictures and are left out"):
        pairs = ScenePairs(tmp_path, 200, part="train")
    assert len(pairs) == 200
    shades = [(int(source[0, 0, 0]), int(target[0, 0, 0])) for source, target in pairs]
    assert all(a // 10 == b // 10 and a != b for a, b in shades)
    assert {a // 10 for a, _ in shades} == set(range(1, 21))  # the first 5 % are for validation
    with pytest.warns(AnnotationWarning):
        again, other, val = (
            ScenePairs(tmp_path, 200, seed=s, part=p) for s, p in ((0, "train"), (1, "train"), (0, "val"))
        )
    assert again.pairs == pairs.pairs != other.pairs
    assert {int(source[0, 0, 0]) // 10 for source, _ in val} == {0}


def test_wrong_arguments_are_refused(tmp_path, masks, regions):
    with pytest.raises(FileNotFoundError, match="RandomRegions: no such folder: 'nowhere'"):
        RandomRegions("masks", "nowhere")
    with pytest.raises(ValueError, match="RandomRegions: masks must be a folder with kind='masks' alone, got None"):
        RandomRegions("masks")
    with pytest.raises(FileNotFoundError, match="holds no masks"):
        RandomRegions("masks", tmp_path)
    with pytest.raises(FileNotFoundError, match="ScenePairs: no such folder: 'nowhere'"):
        ScenePairs("nowhere", 3)
    with pytest.raises(FileNotFoundError, match="has no folder with two pictures for part='all'"):
        ScenePairs(tmp_path, 3)
    with pytest.raises(ValueError, match=r"source must have the target's size \(40, 60\), got \(41, 60\)"):
        RandomComposites(regions)((photograph(41), photograph()))
    for shot in range(2):
        (tmp_path / "scene").mkdir(exist_ok=True)
        write_image(tmp_path / "scene" / f"{shot}.png", np.zeros((8, 8 + shot, 3), np.uint8))
    with pytest.raises(ValueError, match=r"ScenePairs: '.*' must have the size of '.*'"):
        ScenePairs(tmp_path, 3)[0]


@pytest.mark.parametrize("kind", ["green", "alpha", "opaque"])
def test_masks_of_any_colour_or_alpha(tmp_path, kind):
    """Masks are read as by `blend`: from alpha if it varies, and otherwise from any colour."""
    pixels = np.zeros((20, 20, 3 if kind == "green" else 4), np.uint8)
    pixels[5:15, 5:10, 3 if kind == "alpha" else 1] = 255
    if kind == "opaque":
        pixels[..., 3] = 255
    write_image(tmp_path / "mask.png", pixels)
    assert [tuple(shape.shape) for shape in RandomRegions("masks", tmp_path).shapes] == [(10, 5)]
