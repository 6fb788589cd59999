"""Frames of a video: a list in, a list out, each as if it were blended alone."""

import numpy as np
import pytest
import torch

from pydlx.blending import blend, frames

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(params=[1 << 23, 2 * 13 * 14], ids=["at once", "by twos"])
def pixels_at_once(request, monkeypatch):
    monkeypatch.setattr(frames, "_PIXELS_AT_ONCE", request.param)


@pytest.fixture
def video(rng):
    """A source, five frames and a mask, uint8."""
    source, *targets = (rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in [(9, 8)] + [(13, 14)] * 5)
    return source, targets, rng.random((9, 8)) > 0.4


@pytest.mark.parametrize("method", ["copy-paste", "poisson", "mixed", "gaussian-poisson"])
@pytest.mark.parametrize(
    "kind",
    [
        lambda x: x,
        lambda x: x[..., 0].copy(),
        Image.fromarray,
        lambda x: Image.fromarray(x).convert("L"),
        lambda x: torch.from_numpy(x).permute(2, 0, 1),
        lambda x: torch.from_numpy(x)[..., 0],
    ],
    ids=["array", "grey array", "Pillow", "grey Pillow", "tensor", "grey tensor"],
)
def test_each_is_as_if_it_were_alone(video, pixels_at_once, method, kind):
    source, targets, mask = video
    source, targets = kind(source), [kind(target) for target in targets]
    result, report = blend(source, targets, mask, (2, 3), method, return_report=True)
    assert isinstance(result, list) and len(result) == 5
    single = [blend(source, target, mask, (2, 3), method, return_report=True) for target in targets]
    for one, (expected, _) in zip(result, single, strict=True):
        assert type(one) is type(expected) and np.shape(one) == np.shape(expected)
        difference = np.asarray(one).astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= (0 if method in ("copy-paste", "gaussian-poisson") else 1)
    assert report.unknowns == sum(alone.unknowns for _, alone in single)
    residuals = [alone.relative_residual for _, alone in single]
    assert residuals[0] is None or report.relative_residual == pytest.approx(max(residuals), rel=0.5)


def test_sources_and_masks_may_change_from_frame_to_frame(video, pixels_at_once, rng):
    source, targets, mask = video
    sources, masks = [np.roll(source, n, 0) for n in range(5)], [np.roll(mask, n, 1) for n in range(5)]
    result = blend(sources, targets, masks, (2, 3), "copy-paste")
    for one, *images in zip(result, sources, targets, masks, strict=True):
        np.testing.assert_array_equal(one, blend(*images, (2, 3), "copy-paste"))


def test_every_mask_has_a_scale_of_its_own(video, pixels_at_once):
    source, targets, mask = video
    ones = (np.asarray(mask) > 0).astype(np.uint8)
    result = blend(source, targets[:2], [255 * ones, ones], (2, 3), "copy-paste")
    for one, target in zip(result, targets, strict=False):
        np.testing.assert_array_equal(one, blend(source, target, ones, (2, 3), "copy-paste"))


def test_one_pillow_mask_goes_with_all_frames(video):
    source, targets, mask = video
    given = (
        mask.astype(np.uint8) * 255 if mask.dtype == bool else (mask * (255 if mask.max() <= 1 else 1)).astype(np.uint8)
    )
    result = blend(source, targets, Image.fromarray(given), (2, 3), "copy-paste")
    for one, expected in zip(result, blend(source, targets, given, (2, 3), "copy-paste"), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_frames_of_one_profile_only(video):
    source, targets, mask = video
    pictures = [Image.fromarray(target) for target in targets]
    pictures[3].info["icc_profile"] = b"another"
    with pytest.raises(ValueError, match="frames of target must have one colour profile"):
        blend(source, pictures, mask)
