"""Every misuse ends in one clear sentence."""

import re

import numpy as np
import pytest
import torch

from pydlx.blending import blend

IMAGE = np.full((6, 5, 3), 0.5)
CANVAS = np.full((9, 10, 3), 0.25)
MASK = np.ones((6, 5))
SIZES = "mask must have the height and width of the source, (6, 5), or of the target, (9, 10), got "
SPOT = np.zeros((6, 5))
SPOT[2, 2] = 1


def with_value(image, value, row=1):
    image = image.copy()
    image[row, 1] = value
    return image


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"mask": np.ones((5, 5))}, ValueError, SIZES + "(5, 5)"),
        ({"mask": np.ones(30)}, ValueError, SIZES + "shape (30,)"),
        ({"mask": np.ones((6, 5, 7))}, ValueError, "mask must have 1 to 4 channels, got 7"),
        (
            {"mask": np.ones((6, 5, 0))},
            ValueError,
            SIZES + "shape (6, 5, 0)",
        ),
        ({"mask": MASK * 0}, ValueError, "mask is empty"),
        ({"mask": MASK * 2}, ValueError, "mask of float64 must hold values from 0 to 1, got 2 to 2"),
        ({"mask": MASK.astype(int) * -1}, ValueError, "mask of int64 must hold values from 0 to 65535, got -1 to -1"),
        ({"mask": MASK * np.nan}, ValueError, "mask holds NaN"),
        ({"mask": MASK * 1j}, TypeError, "mask must be bool, integer or floating, got complex128"),
        ({"mask": "mask.png"}, TypeError, "mask must be a NumPy array, a torch tensor or a Pillow image, got str"),
        ({"target": CANVAS[:6, :5]}, ValueError, "mask covers the whole target"),
        ({"offset": (9, 0)}, ValueError, "the source lies wholly outside the target"),
        ({"offset": (0, -5)}, ValueError, "the source lies wholly outside the target"),
        ({"offset": (-4, 0), "mask": SPOT}, ValueError, "mask lies wholly outside the target at offset (-4, 0)"),
        ({"offset": (1.5, 0)}, ValueError, "offset must be two whole numbers (row, column), got (1.5, 0)"),
        ({"offset": 3}, ValueError, "offset must be two whole numbers (row, column), got 3"),
        ({"source": with_value(IMAGE, np.nan)}, ValueError, "source holds NaN or infinite values"),
        ({"target": with_value(CANVAS, np.inf, row=6)}, ValueError, "target holds NaN or infinite values"),
        ({"source": with_value(IMAGE, -np.inf)}, ValueError, "source holds NaN or infinite values"),
        ({"target": with_value(CANVAS, -np.inf, row=6)}, ValueError, "target holds NaN or infinite values"),
        ({"source": IMAGE.astype(int)}, TypeError, "source must be uint8, uint16 or floating, got int64"),
        ({"source": IMAGE.astype(np.uint8)}, TypeError, "source and target must both be integer or both be floating"),
        ({"target": CANVAS.astype(complex)}, TypeError, "target must be uint8, uint16 or floating, got complex128"),
        ({"target": CANVAS.astype(str)}, TypeError, "target has a dtype torch does not know"),
        ({"target": CANVAS[0, 0]}, ValueError, "target must have shape (H, W), (H, W, C) or (N, H, W, C), got (3,)"),
        ({"target": CANVAS[:0]}, ValueError, "target is empty, its shape is (0, 10, 3)"),
        (
            {"source": IMAGE[..., :1].repeat(5, -1)},
            ValueError,
            "source must have 1 or 3 channels like the target, got 5",
        ),
        ({"target": CANVAS[..., 0], "source": IMAGE[..., :2].repeat(4, -1)}, ValueError, "source must have 1 channel"),
        ({"offset": (0, 0), "center": (3, 3)}, ValueError, "offset and center both say where the source lands"),
        (
            {"center": (3, 3), "mask": np.ones((9, 10))},
            ValueError,
            "center goes with a mask of the source's size (6, 5)",
        ),
        ({"center": (3, 3.5)}, ValueError, "center must be two whole numbers (x, y), got (3, 3.5)"),
        (
            {"mask": np.pad([[1.0]], ((0, 8), (0, 9))), "offset": (3, 5)},
            ValueError,
            "mask is empty: no pixel of the source at offset",
        ),
        ({"feather": -1}, ValueError, "feather must be not negative, got -1"),
        ({"feather": 1.5}, TypeError, "feather must be a whole number, got 1.5"),
        ({"target": []}, ValueError, "target must hold frames, got an empty sequence"),
        (
            {"target": [CANVAS, CANVAS[:8]]},
            ValueError,
            "frames of target must be alike, got float64 of shape (9, 10, 3)",
        ),
        (
            {"target": [CANVAS], "source": [IMAGE] * 2},
            ValueError,
            "source must be one or one for each of 1 frames, got 2",
        ),
        ({"target": ["x"]}, TypeError, "target must be a NumPy array, a torch tensor or a Pillow image, got str"),
        ({"source": IMAGE[None].repeat(2, 0)}, ValueError, "source must be one image, got 2"),
        ({"method": "posson"}, ValueError, "method must be one of 'copy-paste', 'poisson'"),
        ({"beta": 1}, TypeError, "method 'poisson' takes no option 'beta'; its options are tolerance"),
        (
            {"beta": 1, "method": "copy-paste"},
            TypeError,
            "method 'copy-paste' takes no option 'beta'; it has no options",
        ),
        ({"tolerance": 0}, ValueError, "tolerance must be positive, got 0"),
        ({"rounding": "up"}, ValueError, "rounding must be one of 'nearest', 'truncate', got 'up'"),
        ({"threshold": 1}, ValueError, "threshold must lie in [0, 1), got 1"),
    ],
)
def test_blend(change, error, message):
    arguments = {"source": IMAGE, "target": CANVAS, "mask": MASK, **change}
    with pytest.raises(error, match=r"^blend: " + re.escape(message)):
        blend(**arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gamma": 1}, TypeError, "method 'gaussian-poisson' takes no option 'gamma'; its options are beta, sigma"),
        (
            {"formulation": "exact"},
            ValueError,
            "formulation must be one of 'official', 'paper', 'screened', got 'exact'",
        ),
        ({"taps": "none"}, ValueError, "taps must be one of 'upstream', 'normalised', got 'none'"),
        ({"pyramid": "round"}, ValueError, "pyramid must be one of 'aspect', 'square', got 'round'"),
        ({"sigma": -1}, ValueError, "sigma must be zero or positive, and finite, got -1"),
        ({"beta": 0}, ValueError, "beta must be positive, got 0"),
        ({"beta": "1"}, TypeError, "beta must be a number or a map"),
        ({"levels": 2}, ValueError, "levels must lie in 1..1 for a target of size (9, 10), got 2"),
        ({"levels": 0}, ValueError, "levels must lie in 1..1 for a target of size (9, 10), got 0"),
        (
            {"beta": np.ones((6, 5))},
            ValueError,
            "beta must be a number or a map of the target's size (9, 10), got (6, 5)",
        ),
        ({"beta": np.ones((9, 10), int)}, TypeError, "a beta map must be floating, got int64"),
        ({"beta": np.full((9, 10), -1.0)}, ValueError, "a beta map must be zero or positive"),
        ({"beta": np.zeros((9, 10))}, ValueError, "a beta map must be zero or positive, and positive somewhere"),
        ({"beta": torch.ones(9, 10).requires_grad_()}, ValueError, "beta is not differentiable"),
        ({"beta": np.full((9, 10), np.nan)}, ValueError, "beta holds NaN"),
        ({"colour": CANVAS.astype(np.uint8)}, TypeError, "colour and target must both be integer or both be floating"),
        ({"colour": CANVAS[None].repeat(2, 0)}, ValueError, "colour must be one image, got 2"),
    ],
)
def test_gaussian_poisson(options, error, message):
    with pytest.raises(error, match=r"^blend: " + re.escape(message)):
        blend(IMAGE, CANVAS, MASK, method="gaussian-poisson", **options)


def test_tensors_on_two_devices():
    source, target = (torch.from_numpy(x).permute(2, 0, 1) for x in (IMAGE, CANVAS))
    with pytest.raises(ValueError, match=r"^blend: source is on meta and target on cpu"):
        blend(source.to("meta"), target, MASK)
    with pytest.raises(ValueError, match=r"^blend: mask is on meta and target on cpu"):
        blend(source, target, torch.from_numpy(MASK).to("meta"))


def test_one_empty_mask_in_a_batch_is_named():
    with pytest.raises(ValueError, match=r"^blend: mask of image 1 is empty"):
        blend(IMAGE, CANVAS[None].repeat(2, 0), np.stack([MASK, MASK * 0]))


def test_conjugate_gradients_that_do_not_arrive_say_so():
    from pydlx.blending.conjugate_gradient import solve_symmetric

    matrix = torch.diag(torch.arange(1.0, 21.0))
    with pytest.warns(RuntimeWarning, match="stopped after 3 iterations"):
        solve_symmetric(lambda x: matrix @ x, torch.ones(20, 1), lambda x: x, tolerance=1e-6, max_iterations=3)
