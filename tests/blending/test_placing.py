"""Where a blend lands and how its edge fades: masks of either size, centres, feathering."""

import numpy as np
import pytest
import torch

from pydlx.blending import METHODS, blend, evaluate_blend
from pydlx.blending.feather import soften
from pydlx.blending.placement import Box


@pytest.fixture
def scene(picture, blob):
    """Source, target and hard mask in float64."""
    return picture(9, 8, 3), picture(13, 14, 3), blob(9, 8)


class TestMaskOfTheTargetsSize:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("offset", [(2, 3), (-3, 4), (7, -2)])
    def test_equals_the_same_mask_cut_to_the_source(self, scene, picture, method, offset):
        source, target, _ = scene
        wide = picture(13, 14) * (picture(13, 14) > 0.4)
        cut = np.pad(wide, 20)[20 + offset[0] :, 20 + offset[1] :][:9, :8]
        np.testing.assert_array_equal(
            blend(source, target, wide, offset, method), blend(source, target, cut, offset, method)
        )

    def test_has_no_effect_where_no_source_lands(self, scene):
        source, target, _ = scene
        result = blend(source, target, np.ones((13, 14)), (2, 3))
        np.testing.assert_array_equal(result[:2], target[:2])
        assert (result[2:11, 3:11] != target[2:11, 3:11]).any()

    def test_of_equal_sizes_the_mask_goes_with_the_source(self, picture, blob):
        source, target, mask = picture(9, 8), picture(9, 8), blob(9, 8)
        moved = blend(source, target, mask, (0, 2), "copy-paste")
        assert ((moved != target) == np.pad(mask, ((0, 0), (2, 0)))[:, :8]).all()

    def test_one_for_each_target(self, scene, picture):
        source, target, _ = scene
        targets, masks = np.stack([target, target[::-1]]), picture(2, 13, 14) > 0.5
        result = blend(source, targets, masks, (2, 3))
        for n in range(2):
            np.testing.assert_array_equal(result[n], blend(source, targets[n], masks[n], (2, 3)))

    def test_gradient_reaches_it(self, scene):
        source, target, _ = (torch.from_numpy(x) for x in scene)
        wide = torch.full((13, 14), 0.5, dtype=torch.float64, requires_grad=True)
        blend(source.permute(2, 0, 1), target.permute(2, 0, 1), wide, (2, 3), "copy-paste").square().sum().backward()
        assert (wide.grad != 0).equal(torch.nn.functional.pad(torch.ones(9, 8), (3, 3, 2, 2)).bool())


class TestCentre:
    def test_is_where_opencv_puts_it(self, rng):
        """Gradients inside the object tell where cv2.seamlessClone has put it; masks touch the border or do not."""
        cv2 = pytest.importorskip("cv2")
        for _ in range(12):
            height, width, top, left, below, beside = rng.integers([20, 20, 0, 0, 0, 0], [40, 40, 4, 4, 4, 4])
            source = rng.integers(60, 190, (height, width, 3)).astype(np.uint8)
            target = np.full((90, 90, 3), 128, np.uint8)
            mask = np.zeros((height, width), np.uint8)
            mask[top : height - below, left : width - beside] = 255
            theirs = cv2.seamlessClone(source, target, mask.copy(), (45, 44), cv2.NORMAL_CLONE)
            ours = blend(source, target, mask, center=(45, 44))
            inner = np.abs(ours.astype(int) - 128).sum(-1) > 0
            core = cv2.erode(inner.astype(np.uint8), np.ones((13, 13))) > 0
            difference = np.abs(np.diff(theirs.astype(int), axis=1) - np.diff(ours.astype(int), axis=1))
            assert core.any() and difference[core[:, 1:]].mean() < 4  # random pictures differ by 50

    def test_of_a_mask_within_the_source(self, scene):
        source, target, _ = scene
        mask = np.zeros((9, 8))
        mask[2:7, 3:6] = 1  # rows 2 to 6, columns 3 to 5: the middle is row 4, column 4
        np.testing.assert_array_equal(
            blend(source, target, mask, center=(8, 7)), blend(source, target, mask, offset=(3, 4))
        )
        measures = [evaluate_blend(target, source, target, mask, **p) for p in ({"center": (8, 7)}, {"offset": (3, 4)})]
        assert measures[0] == measures[1]

    @pytest.mark.parametrize(("rows", "offset"), [(slice(0, 1), (7, 4)), (slice(8, 9), (-1, 4))])
    def test_of_a_mask_on_the_border_alone(self, scene, rows, offset):
        source, target, _ = scene
        mask = np.zeros((9, 8))
        mask[rows] = 1
        expected = blend(source, target, mask, offset, "copy-paste")
        np.testing.assert_array_equal(blend(source, target, mask, None, "copy-paste", center=(8, 7)), expected)

    def test_threshold_counts(self, scene):
        source, target, _ = scene
        mask = np.full((9, 8), 0.1)
        mask[2:7, 3:6] = 1
        result = blend(source, target, mask, center=(8, 7), threshold=0.5)
        np.testing.assert_array_equal(result, blend(source, target, mask > 0.5, (3, 4)))


def distances(inside):
    """To the nearest pixel outside, by trying all."""
    outside = np.argwhere(~inside)
    places = np.argwhere(np.ones_like(inside))
    return np.sqrt(((places[:, None] - outside[None]) ** 2).sum(-1).min(1)).reshape(inside.shape)


class TestFeather:
    @pytest.mark.parametrize("pixels", [1, 2, 5, 30])
    def test_rises_with_the_distance_to_the_rim(self, rng, pixels):
        inside = np.zeros((26, 31), bool)
        inside[3:21, 4:26] = True
        inside[8:10, 15:19] = inside[18, 8] = False
        weight = rng.random((26, 31)) * 0.5 + 0.5
        expected = weight * np.minimum(1, distances(inside) / (pixels + 1))
        given = torch.from_numpy(weight * inside)[None, None]
        result = soften(given, pixels, Box(2, 3, 28, 34), Box(0, 0, 50, 60))
        np.testing.assert_allclose(result[0, 0], expected, rtol=1e-6, atol=0)

    def test_copy_paste_fades_over_so_many_pixels(self):
        mask = np.zeros((9, 9))
        mask[:, 2:] = 1
        result = blend(np.ones((9, 9)), np.zeros((20, 20)), mask, (5, 5), "copy-paste", feather=3)
        np.testing.assert_allclose(result[9, 5:15], [0, 0, 1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4, 0], rtol=1e-6)

    def test_the_end_of_the_target_is_no_rim(self):
        """Nor does the part of the mask count that lies beyond it."""
        source, target = np.ones((12, 12)), np.zeros((9, 9))
        result = blend(source, target, np.ones((12, 12)), (-2, 4), "copy-paste", feather=2)
        np.testing.assert_allclose(result, np.tile([0, 0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1], (9, 1)), rtol=1e-6)
        mask = np.zeros((12, 12))
        mask[2:, 1:] = 1  # a hole that nobody sees, and one column that they do
        result = blend(source, target, mask, (-2, 4), "copy-paste", feather=2)
        np.testing.assert_allclose(result, np.tile([0, 0, 0, 0, 0, 1 / 3, 2 / 3, 1, 1], (9, 1)), rtol=1e-6)

    @pytest.mark.parametrize("method", METHODS)
    def test_is_the_soft_mask(self, scene, method):
        source, target, mask = scene
        mask = np.pad(mask[1:-1, 1:-1], 1)
        weight = np.minimum(1, distances(mask) / 3)
        kind = {"rtol": 0, "atol": 1e-5}
        result = blend(source, target, mask, (2, 3), method, feather=2)
        np.testing.assert_allclose(result, blend(source, target, weight, (2, 3), method), **kind)

    @pytest.mark.parametrize("method", ["poisson", "mixed"])
    def test_reads_nothing_outside_of_the_mask(self, scene, method):
        """But for the neighbours that every method reads; the target there keeps its pixels."""
        source, target, mask = scene
        changed = np.where(mask[..., None], source, 7.0)
        first, second = (blend(x, target, mask, (2, 3), "copy-paste", feather=2) for x in (source, changed))
        np.testing.assert_array_equal(first, second)
        result = blend(source, target, mask, (2, 3), method, feather=2)
        kept = ~np.pad(mask, ((2, 2), (3, 3)))
        np.testing.assert_array_equal(result[kept], target[kept])

    def test_gradient_of_a_soft_mask(self, scene):
        source, target, _ = (torch.from_numpy(x) for x in scene)
        mask = torch.rand(9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25

        def total(weight):
            images = source.permute(2, 0, 1), target.permute(2, 0, 1)
            return (blend(*images, weight, (2, 3), feather=2) * torch.linspace(0, 1, 14, dtype=torch.float64)).sum()

        slope = torch.autograd.functional.jacobian(total, mask)
        step = torch.zeros_like(mask)
        step[4, 3] = 1e-5
        numeric = (total(mask + step) - total(mask - step)) / 2e-5
        assert abs(float(slope[4, 3] - numeric)) < 1e-6


class TestNotes:
    def test_a_picture_in_the_place_of_the_mask(self, rng):
        from pydlx.data import ImageWarning

        source = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
        with pytest.warns(ImageWarning, match=r"mask is neither black nor white on \d+% of its pixels .* a picture"):
            blend(source, source, source, method="copy-paste")

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
    def test_soft_edges_bring_none(self, recwarn, kind):
        white = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
        ramp = (np.clip(np.linspace(-4, 5, 20), 0, 1) * white).astype(kind)
        blend(np.ones((20, 20)), np.zeros((20, 20)), np.tile(ramp, (20, 1)), method="copy-paste")
        assert not recwarn.list

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
    def test_colours_become_grey_on_a_grey_target(self, scene, kind):
        from pydlx.data import ImageWarning

        source, target, mask = scene
        white = 1 if kind == np.float64 else np.iinfo(kind).max
        source, target = (np.rint(x * white) if white > 1 else x for x in (source, target[..., 0]))
        grey = source @ [0.299, 0.587, 0.114]
        grey = np.rint(grey) if white > 1 else grey
        with pytest.warns(ImageWarning, match="source has colours and the target is grey"):
            result = blend(source.astype(kind), target.astype(kind), mask, (2, 3))
        expected = blend(grey.astype(kind), target.astype(kind), mask, (2, 3))
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 if white == 1 else 0)
