"""Bilinear upsampling by transposed convolution against torch's interpolation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pydlx.nn import BilinearUpsample2d, bilinear_kernel

SCALES = (1, 2, 3, 4, 5, 8)


def upsampled(scale, **options):
    """A small image, enlarged by the layer and by torch."""
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(scale))
    layer = BilinearUpsample2d(3, scale, dtype=torch.float64, **options)
    return layer(x), F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("scale", SCALES)
def test_replicated_border_is_interpolation(scale):
    y, expected = upsampled(scale, border="replicate")
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_zero_border_is_interpolation_inside(scale):
    y, expected = upsampled(scale)
    assert y.shape == expected.shape
    inside = (..., slice(scale, -scale), slice(scale, -scale))
    torch.testing.assert_close(y[inside], expected[inside], rtol=0, atol=1e-12)
    if scale > 1:
        assert not torch.allclose(y, expected)


def test_kernel_as_published():
    """Tabulated by hand from w_i = 1 - |i - c| / f."""
    odd, even = torch.tensor([1, 2, 3, 2, 1]) / 3, torch.tensor([1, 3, 3, 1]) / 4
    torch.testing.assert_close(bilinear_kernel(5), odd[:, None] * odd)
    torch.testing.assert_close(bilinear_kernel(4, torch.float64), (even[:, None] * even).double())
    assert bilinear_kernel(64).sum().item() == pytest.approx(32 * 32)


@pytest.mark.parametrize("learned", [False, True])
def test_only_a_learned_kernel_is_trained(learned):
    layer = BilinearUpsample2d(4, 2, learned)
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert (layer.weight.grad is not None) == learned
    assert list(layer.state_dict()) == ["weight"]


def test_channels_do_not_mix():
    x = torch.zeros(1, 3, 4, 4)
    x[:, 1] = 1
    y = BilinearUpsample2d(3, 3)(x)
    assert y[:, 1].abs().sum() > 0 and not y[:, [0, 2]].any()


@pytest.mark.parametrize("scale", SCALES)
def test_whole_reach_is_cut_by_the_caller(scale):
    """With kernel size 2 s, input row i is centred between rows, at s i + s - 1/2; with 2 s - 1 on row s i + s - 1."""
    places = torch.arange(5, dtype=torch.float64).expand(1, 1, 6, 5)
    for size in (2 * scale, 2 * scale - 1):
        y = BilinearUpsample2d(1, scale, kernel_size=size, border="replicate", dtype=torch.float64)(places)
        assert y.shape == (1, 1, 5 * scale + size, 4 * scale + size)
        first = (size - 1) / 2
        expected = ((torch.arange(y.shape[3], dtype=torch.float64) - first) / scale).clamp(0, 4)
        inside = slice(scale // 2, y.shape[3] - scale // 2)  # one replicated cell reaches no farther
        torch.testing.assert_close(y[0, 0, 3 * scale, inside], expected[inside], rtol=0, atol=1e-12)


def test_dense_weight_is_bilinear_until_learned():
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    thin, fixed, learned = (
        BilinearUpsample2d(3, 2, learned, dense=dense, dtype=torch.float64)
        for dense, learned in ((False, False), (True, False), (True, True))
    )
    assert fixed.weight.shape == (3, 3, 4, 4) and fixed.weight.count_nonzero() == 3 * 16
    for layer in (fixed, learned):
        torch.testing.assert_close(layer(x), thin(x), rtol=0, atol=1e-12)
    learned(x)[:, 0].sum().backward()
    assert learned.weight.grad[2, 0].abs().sum() > 0  # the first class learns from the last
    learned.weight.data[2, 0] = 1
    with pytest.raises(ValueError, match="BilinearUpsample2d: weight must be zero between channels unless learned"):
        fixed.load_state_dict(learned.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "channels must be positive, got 0"),
        ((3, 0), "scale must be positive, got 0"),
        ((3, 2, False, "mirror"), "border must be one of 'zero', 'replicate', got 'mirror'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^BilinearUpsample2d: {message}"):
        BilinearUpsample2d(*arguments)
    with pytest.raises(ValueError, match="BilinearUpsample2d: kernel_size must be from 7 to 8, got 9"):
        BilinearUpsample2d(3, 4, kernel_size=9)
    with pytest.raises(ValueError, match="bilinear_kernel: size must be positive"):
        bilinear_kernel(0)
