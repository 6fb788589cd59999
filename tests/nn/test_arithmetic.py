"""Convolution arithmetic against PyTorch's own output sizes and values, and the examples of arXiv 1603.07285."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pydlx.nn import arithmetic
from pydlx.nn.arithmetic import (
    Window,
    conv_transpose_by_direct,
    direct_equivalent,
    effective_kernel,
    output_size,
    padding_sides,
    receptive_field,
    transposed_output_size,
    undoing_transposed,
)
from pydlx.ops import soft_pool1d, soft_pool2d, soft_pool3d

CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def size_or_none(compute):
    try:
        return compute()
    except (ValueError, RuntimeError):
        return None


def on_meta(*shape):
    return torch.empty(shape, device="meta")


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_convolution_sizes_are_torchs():
    draw = random.Random(0)
    refused = 0
    for _ in range(3000):
        size, kernel, dilation = draw.randint(1, 40), draw.randint(1, 7), draw.randint(1, 3)
        padding = draw.choice([0, 1, 2, 5, "same", "valid"])
        stride = 1 if padding == "same" else draw.randint(1, 5)
        arguments = (size, kernel, stride, padding, dilation)
        expected = size_or_none(
            lambda a=arguments: F.conv1d(on_meta(1, 1, a[0]), on_meta(1, 1, a[1]), None, *a[2:]).shape[-1]
        )
        assert size_or_none(lambda a=arguments: output_size(*a)) == expected, arguments
        refused += expected is None
    assert 100 < refused < 1500


def test_pooling_sizes_are_torchs():
    draw = random.Random(1)
    refused = 0
    for _ in range(3000):
        size, kernel, stride, dilation = draw.randint(1, 40), draw.randint(1, 7), draw.randint(1, 9), draw.randint(1, 3)
        padding = draw.randint(0, kernel // 2)
        arguments = (size, kernel, stride, padding, dilation, draw.random() < 0.5)
        expected = size_or_none(
            lambda a=arguments: F.max_pool2d(
                on_meta(1, a[0], 99), *((n, 1) for n in a[1:3]), (a[3], 0), (a[4], 1), a[5]
            ).shape[-2]
        )
        assert size_or_none(lambda a=arguments: output_size(*a)) == expected, arguments
        refused += expected is None
    assert 50 < refused < 1500


def drawn_transposed(draw):
    """Size, kernel, stride, padding, dilation, output_padding; sometimes with more padding than the kernel reaches."""
    stride, dilation, kernel = draw.randint(1, 4), draw.randint(1, 3), draw.randint(1, 5)
    padding = draw.randint(0, dilation * (kernel - 1) + 2)
    return draw.randint(1, 9), kernel, stride, padding, dilation, draw.randint(0, max(stride, dilation) - 1)


def test_transposed_sizes_are_torchs():
    draw = random.Random(2)
    cropped = 0
    for _ in range(3000):
        drawn = drawn_transposed(draw)
        expected = size_or_none(
            lambda d=drawn: F.conv_transpose1d(
                on_meta(1, 1, d[0]), on_meta(1, 1, d[1]), None, d[2], d[3], d[5], 1, d[4]
            ).shape[-1]
        )
        expected = expected or None
        assert size_or_none(lambda d=drawn: transposed_output_size(*d)) == expected, drawn
        if expected:
            direct = direct_equivalent(*drawn)
            assert direct.output_size == expected
            cropped += direct.padding < 0
    assert cropped > 100


@pytest.mark.parametrize(("spatial", "draws"), [(1, 300), (2, 200), (3, 60)])
def test_transposed_convolution_is_its_direct_equivalent(spatial, draws):
    draw, generator = random.Random(spatial), torch.Generator().manual_seed(spatial)
    compared = 0
    while compared < draws:
        axes = [drawn_transposed(draw) for _ in range(spatial)]
        if any(size_or_none(lambda a=axis: transposed_output_size(*a)) is None for axis in axes):
            continue
        size, kernel, stride, padding, dilation, extra = zip(*axes, strict=True)
        groups = draw.choice([1, 2])
        x = torch.randn(2, 2 * groups, *size, generator=generator, dtype=torch.float64)
        weight = torch.randn(2 * groups, 3, *kernel, generator=generator, dtype=torch.float64)
        bias = torch.randn(3 * groups, generator=generator, dtype=torch.float64)
        options = (bias, stride, padding, extra, groups, dilation)
        expected = CONV_TRANSPOSE[spatial](x, weight, *options)
        torch.testing.assert_close(conv_transpose_by_direct(x, weight, *options), expected, rtol=1e-12, atol=1e-12)
        compared += 1


# (i, k, s, p) of the convolution; i', stretched i', k', p', a and size of the transposed one's direct equivalent.
PAPER = {
    "no padding, unit strides": ((4, 3, 1, 0), (2, 2, 3, 2, 0, 4)),
    "padding, unit strides": ((5, 4, 1, 2), (6, 6, 4, 1, 0, 5)),
    "half padding": ((5, 3, 1, 1), (5, 5, 3, 1, 0, 5)),
    "full padding": ((5, 3, 1, 2), (7, 7, 3, 0, 0, 5)),
    "no padding, strides": ((5, 3, 2, 0), (2, 3, 3, 2, 0, 5)),
    "padding, strides": ((5, 3, 2, 1), (3, 5, 3, 1, 0, 5)),
    "padding, strides, odd": ((6, 3, 2, 1), (3, 5, 3, 1, 1, 6)),
}


@pytest.mark.parametrize("relation", PAPER)
def test_relations_of_the_paper(relation):
    (size, kernel, stride, padding), expected = PAPER[relation]
    undoing = undoing_transposed(size, kernel, stride, padding)
    direct = direct_equivalent(undoing.size, kernel, stride, padding, output_padding=undoing.output_padding)
    found = (undoing.size, direct.size, direct.kernel, direct.padding, direct.extra, direct.output_size)
    assert found == expected
    assert direct.stride == 1


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_undoing_is_the_backward_pass():
    """The input size is restored, and the transposed convolution is the adjoint: <conv x, y> = <x, transposed y>."""
    draw, generator = random.Random(3), torch.Generator().manual_seed(3)
    for _ in range(300):
        size, kernel, stride, dilation = draw.randint(1, 30), draw.randint(1, 5), draw.randint(1, 5), draw.randint(1, 3)
        padding = draw.choice([draw.randint(0, 6), "valid", "same"])
        if padding == "same":
            stride, kernel = 1, kernel | 1
        arguments = (size, kernel, stride, padding, dilation)
        if size_or_none(lambda a=arguments: output_size(*a)) is None:
            continue
        undoing = undoing_transposed(*arguments)
        assert undoing.output_size == size
        x, weight = (torch.randn(1, 1, n, generator=generator, dtype=torch.float64) for n in (size, kernel))
        out = F.conv1d(x, weight, None, stride, padding, dilation)
        y = torch.randn(out.shape, generator=generator, dtype=torch.float64)
        back = F.conv_transpose1d(y, weight, None, stride, undoing.padding, undoing.output_padding, 1, dilation)
        torch.testing.assert_close((out * y).sum(), (x * back).sum())


def test_what_cannot_be_undone():
    with pytest.raises(ValueError, match="padding must be the same on both sides, got 1 and 2 for kernel 4"):
        undoing_transposed(9, 4, padding="same")
    with pytest.raises(ValueError, match="last window must end inside the padded input, got one 1 beyond"):
        undoing_transposed(6, 3, 2, ceil_mode=True)
    assert undoing_transposed(7, 3, 2, ceil_mode=True).output_padding == 0


def test_small_rules():
    assert [effective_kernel(3, d) for d in (1, 2, 4)] == [3, 5, 9]
    assert padding_sides("same", 4, 1) == (1, 2)
    assert padding_sides("same", 3, 3) == (3, 3)
    assert padding_sides("valid", 5) == (0, 0)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_overlapping_soft_pooling_has_the_sizes_of_max_pooling(spatial):
    """Kernels larger than their strides, including AlexNet's 3 and 2 (Krizhevsky et al. 2012)."""
    draw = random.Random(4)
    soft = {1: soft_pool1d, 2: soft_pool2d, 3: soft_pool3d}[spatial]
    most = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[spatial]
    for n in range(150):
        stride = 2 if n < 20 else draw.randint(1, 3)
        kernel = 3 if n < 20 else stride + draw.randint(1, 3)
        window = (kernel, stride, draw.randint(0, kernel // 2), 1, draw.random() < 0.5)
        sizes = [draw.randint(kernel - 1, 11) for _ in range(spatial)]
        x = torch.zeros(1, 1, *sizes)
        expected = size_or_none(lambda x=x, w=window: most(x, *w).shape)
        assert size_or_none(lambda x=x, w=window: soft(x, *w).shape) == expected, (sizes, window)
        if expected is not None:
            assert [output_size(size, *window) for size in sizes] == list(expected[2:])
    assert soft_pool2d(torch.zeros(1, 96, 55, 55), 3, 2).shape[2:] == (27, 27)  # AlexNet's first pooling


def drawn_stack(draw):
    """A few one-dimensional layers with all weights 1, so that no gradient cancels, and their windows."""
    layers, windows = [], []
    for _ in range(draw.randint(1, 4)):
        kernel, padding = draw.randint(1, 4), draw.randint(0, 2)
        if draw.random() < 0.35:
            stride, padding = draw.randint(1, kernel), min(padding, kernel - 1)
            layers.append(nn.ConvTranspose1d(1, 1, kernel, stride, padding, bias=False, dtype=torch.float64))
            windows.append(Window.transposed(kernel, stride, padding))
        else:
            stride, dilation = draw.randint(1, 3), draw.randint(1, 2)
            layers.append(nn.Conv1d(1, 1, kernel, stride, padding, dilation, bias=False, dtype=torch.float64))
            windows.append(Window(kernel, stride, padding, dilation))
        nn.init.ones_(layers[-1].weight)
    return nn.Sequential(*layers), windows


@pytest.mark.parametrize("seed", range(40))
def test_receptive_field_of_a_stack_is_what_gradients_reach(seed):
    network, windows = drawn_stack(random.Random(seed))
    field = receptive_field(windows)
    x = torch.ones(1, 1, 1500, dtype=torch.float64, requires_grad=True)
    y = network(x).flatten()
    period = math.prod(window.stretch for window in windows)
    assert len(y) > 4 * period
    reached = []
    for at in range(len(y) // 2, len(y) // 2 + period + 1):  # far from both ends
        (gradient,) = torch.autograd.grad(y[at], x, retain_graph=True)
        cells = gradient.flatten().nonzero().flatten()
        reached.append((int(cells[0]), int(cells[-1])))
        if period == 1:
            assert sum(reached[-1]) / 2 == field.start + at * field.jump
    assert field.size == max(last - first + 1 for first, last in reached)
    assert reached[-1][0] - reached[0][0] == period * field.jump


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: output_size(4, 0), "output_size: kernel must be a positive whole number, got 0"),
        (lambda: output_size(4, 2, stride=(2, 2)), r"output_size: stride must be a positive .*, got \(2, 2\)"),
        (lambda: output_size(4, 3, padding=-1), "padding must be a whole number, not negative, got -1"),
        (lambda: output_size(4, 3, padding="full"), 'padding must be a number, "valid" or "same", got \'full\''),
        (lambda: output_size(4, 3, 2, "same"), 'output_size: padding "same" needs stride 1, got 2'),
        (
            lambda: output_size(4, 3, padding=0, dilation=2),
            "kernel must fit the padded input of 4, got 3 with dilation",
        ),
        (lambda: transposed_output_size(4, 3, 2, output_padding=2), "output_padding must be smaller than the stride"),
        (lambda: transposed_output_size(1, 3, padding=2), "padding must leave some output, got 2 for an input of 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_axis_without_ends_keeps_exact_bounds():
    assert Window(3, 2, 1).inputs(range(5, 7)) == range(9, 14)
    assert Window.transposed(2, 2).inputs(range(5, 6)) == range(2, 3)
    assert Window.transposed(1, 2).inputs(range(5, 6)) == range(0)  # falls between the stretched cells
    assert arithmetic.Window().inputs(range(0)) == range(0)
