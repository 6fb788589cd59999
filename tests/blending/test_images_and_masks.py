"""Kinds, layouts and dtypes of pictures, and masks of every make."""

import numpy as np
import pytest
import torch

from pydlx.blending import METHODS, blend

OFFSET = (2, 3)


@pytest.fixture
def scene(picture, blob):
    """Source, target and hard mask in float64."""
    return picture(9, 8, 3), picture(13, 14, 3), blob(9, 8)


def as_uint8(image):
    return np.rint(image * 255).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_torch_and_numpy_agree(scene, method):
    source, target, mask = scene
    expected = blend(source, target, mask, OFFSET, method)
    tensors = [torch.from_numpy(x).permute(2, 0, 1) for x in (source, target)]
    result = blend(*tensors, torch.from_numpy(mask), OFFSET, method)
    assert isinstance(expected, np.ndarray) and isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.permute(1, 2, 0), expected)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_left_alone(scene, method):
    arrays = [as_uint8(scene[0]), as_uint8(scene[1]), scene[2] * np.uint8(255)]
    copies = [array.copy() for array in arrays]
    blend(*arrays, OFFSET, method)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_dtypes(scene, method, dtype):
    """Every dtype gives the float64 result up to its own resolution."""
    *images, mask = scene
    scale = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    images = [np.rint(x * scale).astype(dtype) if scale > 1 else x.astype(dtype) for x in images]
    expected = blend(*(x.astype(np.float64) / scale for x in images), mask, OFFSET, method) * scale
    result = blend(*images, mask, OFFSET, method)
    assert result.dtype == dtype
    if scale > 1:
        np.testing.assert_allclose(result, expected.clip(0, scale), atol=0.5 + 1e-5 * scale)
    else:
        np.testing.assert_allclose(result, expected, atol={2: 2e-3, 4: 3e-5, 8: 0}[result.itemsize])


def test_bfloat16_tensors(scene):
    source, target = (torch.from_numpy(x).permute(2, 0, 1).to(torch.bfloat16) for x in scene[:2])
    result = blend(source, target, scene[2], OFFSET)
    assert result.dtype == torch.bfloat16
    expected = blend(source.float(), target.float(), scene[2], OFFSET)
    torch.testing.assert_close(result, expected.bfloat16(), rtol=0, atol=0)


def test_eight_bit_source_in_a_sixteen_bit_target(scene):
    source, target = as_uint8(scene[0]), np.rint(scene[1] * 65535).astype(np.uint16)
    expected = blend(source.astype(np.uint16) * 257, target, scene[2], OFFSET)
    np.testing.assert_array_equal(blend(source, target, scene[2], OFFSET), expected)


def test_high_dynamic_range_passes_unclipped(scene):
    source, target, mask = scene
    result = blend(source * 500, target * 1000 - 200, mask, OFFSET)
    assert result.max() > 700 and result.min() < -100
    inside = np.pad(mask, ((2, 2), (3, 3)))
    clipped = blend(source * 500, target * 1000 - 200, mask, OFFSET, clip=True)
    np.testing.assert_array_equal(clipped[inside], result[inside].clip(0, 1))


def test_rounding(scene):
    source, target, mask = as_uint8(scene[0]), as_uint8(scene[1]), scene[2]
    exact = blend(source.astype(float), target.astype(float), mask, OFFSET).clip(0, 255)
    slack = 1e-3  # the eight-bit pictures are solved in float32
    nearest = blend(source, target, mask, OFFSET) - exact
    truncated = blend(source, target, mask, OFFSET, rounding="truncate") - exact
    assert np.abs(nearest).max() <= 0.5 + slack
    assert truncated.max() <= slack and -1 - slack < truncated.min() < -0.5 - slack


def test_flipped_read_only_and_strided_arrays(scene):
    source, target, mask = scene
    expected = blend(source, target, mask, OFFSET)
    bgr = blend(source[..., ::-1], target[..., ::-1], mask, OFFSET)
    np.testing.assert_allclose(bgr[..., ::-1], expected, atol=1e-12)
    frozen = source.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(blend(frozen, target, mask, OFFSET), expected)
    wide = np.repeat(np.repeat(target, 2, axis=0), 2, axis=1)[::2, ::2]
    np.testing.assert_array_equal(blend(source, wide, mask, OFFSET), expected)


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_one_by_one(picture, blob, method):
    sources, targets = picture(3, 9, 8, 3), picture(3, 13, 14, 3)
    masks = np.stack([blob(9, 8) for _ in range(3)])
    expected = np.stack([blend(s, t, m, OFFSET, method) for s, t, m in zip(sources, targets, masks, strict=True)])
    np.testing.assert_allclose(blend(sources, targets, masks, OFFSET, method), expected, atol=1e-9)
    np.testing.assert_allclose(blend(sources, targets, masks[..., None], OFFSET, method), expected, atol=1e-9)
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in (sources, targets)]
    result = blend(*tensors, torch.from_numpy(masks), OFFSET, method)
    np.testing.assert_allclose(result.permute(0, 2, 3, 1), expected, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_one_source_and_mask_serve_a_batch(scene, picture, method):
    source, _, mask = scene
    targets = picture(2, 13, 14, 3)
    expected = np.stack([blend(source, target, mask, OFFSET, method) for target in targets])
    result, report = blend(source, targets, mask, OFFSET, method, return_report=True)
    np.testing.assert_allclose(result, expected, atol=1e-9)
    assert report.unknowns in (0, 2 * mask.sum(), 2 * 13 * 14)


def test_grey_images(scene):
    source, target, mask = scene
    expected = blend(source, target, mask, OFFSET)[..., 0]
    np.testing.assert_allclose(blend(source[..., 0], target[..., 0], mask, OFFSET), expected, atol=1e-12)
    spread = blend(source[..., 0], target, mask, OFFSET)
    np.testing.assert_array_equal(spread, blend(np.repeat(source[..., :1], 3, -1), target, mask, OFFSET))


class TestAlpha:
    @pytest.mark.parametrize("dtype", [np.float64, np.uint8])
    @pytest.mark.parametrize("method", ["copy-paste", "poisson"])
    def test_of_the_source_multiplies_the_mask(self, scene, picture, dtype, method):
        source, target, mask = scene
        opacity = picture(9, 8)
        if dtype == np.uint8:
            source, target, opacity = as_uint8(source), as_uint8(target), as_uint8(opacity)
        rgba = np.concatenate([source, opacity[..., None]], -1)
        weights = mask * (opacity / 255 if dtype == np.uint8 else opacity)
        np.testing.assert_array_equal(
            blend(rgba, target, mask, OFFSET, method), blend(source, target, weights, OFFSET, method)
        )

    @pytest.mark.parametrize("method", METHODS)
    def test_of_the_target_is_kept(self, scene, picture, method):
        source, target, mask = scene
        opacity = picture(13, 14, 1)
        result = blend(source, np.concatenate([target, opacity], -1), mask, OFFSET, method)
        np.testing.assert_array_equal(result[..., 3:], opacity)
        np.testing.assert_array_equal(result[..., :3], blend(source, target, mask, OFFSET, method))

    def test_can_be_a_channel_like_the_others(self, picture, blob):
        source, target, mask = picture(9, 8, 4), picture(13, 14, 4), blob(9, 8)
        result = blend(source, target, mask, OFFSET, alpha=False)
        np.testing.assert_array_equal(result[..., 3], blend(source[..., 3], target[..., 3], mask, OFFSET))


class TestMasks:
    @pytest.mark.parametrize(
        "make",
        [
            lambda m: m.astype(np.uint8),
            lambda m: m.astype(np.int64),
            lambda m: m * np.uint8(255),
            lambda m: m * np.uint16(65535),
            lambda m: m * np.int32(255),
            lambda m: m.astype(np.float16),
            lambda m: m[..., None] * np.uint8(255),
            lambda m: np.repeat(m[..., None], 3, -1) * np.uint8(255),
            lambda m: m[..., None] * np.uint16([65535, 0, 0]),
            lambda m: m[..., None] * np.uint8([255, 255, 255, 255]) | np.uint8([0, 0, 0, 255]),
            lambda m: np.stack([m | True] * 3 + [m], -1) * np.uint8(255),
            lambda m: np.stack([m | True, m], -1) * np.uint8(255),
            lambda m: torch.from_numpy(m),
            lambda m: torch.from_numpy(m)[None],
            lambda m: torch.from_numpy(m).expand(3, -1, -1).float(),
        ],
        ids=[
            "uint8 0/1", "int64 0/1", "uint8", "uint16", "int32 to 255", "float16", "one channel", "RGB",
            "red on black", "RGBA, full alpha", "RGBA, alpha counts", "grey and alpha", "torch", "torch (1, h, w)",
            "torch (3, h, w)",
        ],
    )  # fmt: skip
    def test_of_any_make_are_recognised(self, scene, make):
        source, target, mask = scene
        np.testing.assert_array_equal(blend(source, target, make(mask), OFFSET), blend(source, target, mask, OFFSET))

    def test_soft_copy_paste(self, scene):
        source, target, mask = scene
        weights = (mask * np.linspace(0, 1, 72).reshape(9, 8))[..., None]
        expected = target.copy()
        expected[2:11, 3:11] += weights * (source - target[2:11, 3:11])
        np.testing.assert_allclose(blend(source, target, weights, OFFSET, "copy-paste"), expected, atol=1e-15)
        eight_bit = np.rint(weights * 255).astype(np.uint8)
        np.testing.assert_allclose(blend(source, target, eight_bit, OFFSET, "copy-paste"), expected, atol=1 / 500)

    @pytest.mark.parametrize("threshold", [0, 0.5])
    def test_threshold_makes_them_hard(self, scene, picture, threshold):
        source, target, mask = scene
        weights = picture(9, 8) * mask
        np.testing.assert_array_equal(
            blend(source, target, weights, OFFSET, threshold=threshold),
            blend(source, target, weights > threshold, OFFSET),
        )

    def test_saved_as_jpeg_change_little(self, picture):
        """A few levels of noise around a hard mask let the target shine through, not the source."""
        source, target = picture(40, 40, 3), np.full((40, 40, 3), 0.5)
        hard = np.pad(np.full((20, 20), 255, np.uint8), 10)
        noisy = np.where(hard > 0, hard, (picture(40, 40) * 3).astype(np.uint8))
        noisy[[0, -1]] = noisy[:, [0, -1]] = 0
        difference = np.abs(blend(source, target, noisy) - blend(source, target, hard))
        assert difference[hard == 0].max() < 0.25 and difference.mean() < 0.05
