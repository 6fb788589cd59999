"""Pictures of Pillow go in and come out, with their mode and profile."""

import numpy as np
import pytest

from pydlx.blending import blend, evaluate_blend
from pydlx.data import ImageWarning

Image = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")


@pytest.fixture
def pictures(rng):
    """Source, target and mask of a mode's channels as arrays."""

    def make(channels, kind=np.uint8):
        white = np.iinfo(kind).max
        shapes = [(9, 8), (13, 14)] if channels == 1 else [(9, 8, channels), (13, 14, channels)]
        images = [rng.integers(0, white, shape, endpoint=True).astype(kind) for shape in shapes]
        return (*images, (rng.random((9, 8)) > 0.5) * np.uint8(255))

    return make


@pytest.mark.parametrize(
    ("mode", "channels", "kind"),
    [("L", 1, np.uint8), ("LA", 2, np.uint8), ("RGB", 3, np.uint8), ("RGBA", 4, np.uint8), ("I;16", 1, np.uint16)],
)
def test_modes_are_kept(pictures, mode, channels, kind):
    source, target, mask = pictures(channels, kind)
    result = blend(*(Image.fromarray(image) for image in (source, target, mask)), (2, 3))
    assert result.mode == mode and result.size == (14, 13)
    np.testing.assert_array_equal(np.asarray(result), blend(source, target, mask, (2, 3)))


def test_kinds_may_differ_and_the_target_decides(pictures):
    source, target, mask = pictures(3)
    expected = blend(source, target, mask, (2, 3))
    mixed = blend(Image.fromarray(source), target, Image.fromarray(mask), (2, 3))
    assert isinstance(mixed, np.ndarray)
    np.testing.assert_array_equal(mixed, expected)
    mixed, report = blend(source, Image.fromarray(target), mask > 0, (2, 3), return_report=True)
    np.testing.assert_array_equal(np.asarray(mixed), expected)
    assert report.size == (13, 14)
    measured = evaluate_blend(mixed, Image.fromarray(source), Image.fromarray(target), Image.fromarray(mask), (2, 3))
    assert measured == evaluate_blend(expected, source, target, mask, (2, 3))


def test_of_one_bit_is_a_mask(pictures):
    source, target, mask = pictures(3)
    result = blend(source, target, Image.fromarray(mask).convert("1", dither=0), (2, 3))
    np.testing.assert_array_equal(result, blend(source, target, mask, (2, 3)))


def test_palettes_become_colours(pictures):
    source, target, mask = pictures(3)
    drawn = Image.fromarray(target).quantize(7)
    result = blend(source, drawn, mask, (2, 3))
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(result), blend(source, np.asarray(drawn.convert("RGB")), mask, (2, 3)))
    drawn.info["transparency"] = 0
    clear = blend(source, drawn, mask, (2, 3))
    assert clear.mode == "RGBA" and "transparency" not in clear.info
    np.testing.assert_array_equal(np.asarray(clear)[..., 3], np.asarray(drawn.convert("RGBA"))[..., 3])


def test_a_clear_colour_hides_the_source(pictures):
    source, target, _ = pictures(3)
    drawn = Image.fromarray(source)
    drawn.info["transparency"] = tuple(int(x) for x in source[4, 4])
    result = blend(drawn, target, np.ones((9, 8)), (2, 3), "copy-paste")
    np.testing.assert_array_equal(result[6, 7], target[6, 7])


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "F", "I"])
def test_other_modes_are_refused(mode):
    with pytest.raises(ValueError, match=rf"^blend: target must be a Pillow image of mode L, .*, got {mode}; convert"):
        blend(np.zeros((4, 4), np.uint8), Image.new(mode, (8, 8)), np.ones((4, 4)))


@pytest.fixture
def wide():
    """The profile of a wider space than sRGB (Adobe RGB's primaries, gamma 2.2)."""
    codecs = pytest.importorskip("imagecodecs")
    primaries = (0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1)
    return codecs.cms_profile("rgb", whitepoint=(0.3127, 0.3290, 1.0), primaries=primaries, gamma=2.19921875)


def converted(pixels, source, target):
    """What Pillow's LittleCMS makes of it; None is sRGB."""
    import io

    profiles = [
        ImageCms.createProfile("sRGB") if profile is None else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        for profile in (source, target)
    ]
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), *profiles))


class TestProfiles:
    def tagged(self, pixels, profile):
        image = Image.fromarray(pixels)
        image.info["icc_profile"] = profile
        return image

    def test_the_target_s_is_kept_and_the_source_follows(self, pictures, wide):
        source, target, mask = pictures(3)
        with pytest.warns(ImageWarning, match=r"^blend: source was converted from sRGB to .*, the target's colours$"):
            result = blend(Image.fromarray(source), self.tagged(target, wide), mask, (2, 3))
        assert result.info["icc_profile"] == wide
        expected = blend(converted(source, None, wide), target, mask, (2, 3))
        assert np.abs(np.asarray(result).astype(int) - expected).max() <= 1

    def test_a_source_s_is_converted_to_srgb_for_a_target_without(self, pictures, wide):
        source, target, mask = pictures(4)
        with pytest.warns(ImageWarning, match="to sRGB, the target's colours$"):
            result = blend(self.tagged(source, wide), target, mask, (2, 3))
        moved = np.dstack([converted(source[..., :3].copy(), wide, None), source[..., 3]])
        assert np.abs(result.astype(int) - blend(moved, target, mask, (2, 3))).max() <= 1

    def test_equal_ones_and_those_of_srgb_change_nothing(self, pictures, wide, recwarn):
        source, target, mask = pictures(3)
        expected = blend(source, target, mask, (2, 3))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for first, second in ((wide, wide), (srgb, None), (None, srgb)):
            result = blend(self.tagged(source, first), self.tagged(target, second), mask, (2, 3))
            np.testing.assert_array_equal(np.asarray(result), expected)
        assert not recwarn.list

    def test_a_broken_one_is_named(self, pictures, recwarn):
        source, target, mask = pictures(3)
        with pytest.warns(ImageWarning, match="^blend: source keeps its numbers: the colour profile"):
            result = blend(self.tagged(source, b"no profile" * 30), target, mask, (2, 3))
        np.testing.assert_array_equal(result, blend(source, target, mask, (2, 3)))
