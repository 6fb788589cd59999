"""SoftPool against its definition, torch's own checks, and the values the paper's formula gives by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from op_checks import FLOATS, assert_close, native_op, same_on_one_and_two_threads, sliced
from torch.nn import functional as F

import pydlx
from pydlx.nn import SoftPool1d, SoftPool2d, SoftPool3d
from pydlx.ops import soft_pool1d, soft_pool2d, soft_pool3d

POOLS = {1: soft_pool1d, 2: soft_pool2d, 3: soft_pool3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MODULES = {1: SoftPool1d, 2: SoftPool2d, 3: SoftPool3d}

# (spatial size, kernel, stride, padding, dilation, ceil_mode)
WINDOWS = [
    ((9,), 2, 2, 0, 1, False),
    ((131,), 3, 2, 1, 1, True),
    ((1,), 1, 1, 0, 1, False),
    ((140,), 5, 1, 2, 1, False),
    ((29,), 3, 4, 1, 2, False),
    ((8, 12), 2, 2, 0, 1, False),
    ((6, 70), 2, 2, 0, 1, False),
    ((7, 43), 2, 2, 0, 1, False),
    ((7, 43), 2, 2, 0, 1, True),
    ((6, 56), 2, 2, 0, 1, False),
    ((7, 13), 3, 2, 1, 1, False),
    ((6, 6), 3, 2, 0, 1, True),
    ((5, 150), (3, 2), (1, 2), (1, 0), 1, False),
    ((11, 17), 3, 2, 1, 2, True),
    ((10, 9), 2, 3, 0, 1, False),
    ((5, 6), (5, 6), None, 0, 1, False),
    # Steps as long as the windows, which padding shifts, so that a rest lies under no window.
    ((33,), 3, 3, 1, 1, False),
    ((64,), 4, 4, 1, 1, False),
    ((15, 33), 3, 3, 1, 1, False),
    ((6, 9, 15), 3, 3, 1, 1, False),
    ((1,), 2, 2, 0, 1, True),
    ((2, 4), 3, 2, 0, 1, True),
    ((3, 2), (5, 4), 3, 0, 1, True),
    ((1, 1), 2, 2, 0, 1, True),
    ((2, 1, 8), 3, (2, 3, 2), 0, 1, True),
    ((6, 7, 9), 2, 2, 0, 1, False),
    ((4, 6, 35), 2, 2, 0, 1, False),
    ((5, 6, 56), 2, 2, 0, 1, False),
    ((5, 6, 7), 3, 2, 1, 1, True),
    ((5, 5, 40), (1, 2, 2), (2, 2, 2), 0, 1, False),
    ((4, 5, 9), (2, 1, 3), (1, 2, 2), (1, 0, 1), (2, 1, 1), False),
]


def window_loop(x, kernel, stride, padding, dilation, ceil_mode):
    """SoftPool by a plain loop over windows in Python floats; takes its output size from torch's max pooling."""
    spatial = x.dim() - 2

    def per_axis(value):
        return (value,) * spatial if isinstance(value, int) else tuple(value)

    kernel, padding, dilation = per_axis(kernel), per_axis(padding), per_axis(dilation)
    stride = kernel if stride is None else per_axis(stride)
    out = MAX_POOLS[spatial](x, kernel, stride, padding, dilation, ceil_mode).shape[2:]
    y = torch.empty(*x.shape[:2], *out, dtype=torch.float64)
    for n, c, *place in itertools.product(*map(range, y.shape)):
        cells = []
        for offset in itertools.product(*map(range, kernel)):
            at = [p * s - pad + o * d for p, s, pad, o, d in zip(place, stride, padding, offset, dilation, strict=True)]
            if all(0 <= a < size for a, size in zip(at, x.shape[2:], strict=True)):
                cells.append(float(x[(n, c, *at)]))
        peak = max(cells)
        weights = [math.exp(a - peak) for a in cells]
        y[(n, c, *place)] = sum(w * a for w, a in zip(weights, cells, strict=True)) / sum(weights)
    return y


def draw(size, dtype=torch.float64, seed=0, batch=(2, 3)):
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(*batch, *size, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "ceil_mode"), WINDOWS)
def test_forward_is_the_definition(size, kernel, stride, padding, dilation, ceil_mode):
    x = draw(size)
    expected = window_loop(x, kernel, stride, padding, dilation, ceil_mode)
    assert_close(POOLS[len(size)](x, kernel, stride, padding, dilation, ceil_mode), expected)
    one_plane = POOLS[len(size)](x[:1, :1], kernel, stride, padding, dilation, ceil_mode)
    assert_close(one_plane, expected[:1, :1])


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("window", WINDOWS)
def test_backward_and_layouts(window, layout, dtype, gradient, kernels):
    """Every dtype and layout against autograd through the reference in float64."""
    if kernels == "reference" and dtype is torch.float64 and layout == "contiguous":
        pytest.skip("compares the reference with itself")
    size, *options = window
    pool = POOLS[len(size)]
    x = draw(size, dtype, batch=(2, 5))
    wide = x.double().requires_grad_()
    with pydlx.backend("reference"):
        y_wide = pool(wide, *options, gradient=gradient)
    grad = torch.randn(y_wide.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    y_wide.backward(grad.double())

    if layout == "sliced":
        x = sliced(x)
    elif layout == "channels_last":
        if len(size) == 1:
            pytest.skip("torch has no channels-last format for sequences")
        format_ = torch.channels_last if len(size) == 2 else torch.channels_last_3d
        x = x.to(memory_format=format_)
    x = x.detach().requires_grad_()
    y = pool(x, *options, gradient=gradient)
    y.backward(grad)
    assert y.dtype == dtype
    assert_close(y, y_wide)
    assert_close(x.grad, wide.grad, atol={torch.float64: 1e-11, torch.float32: 1e-5}.get(dtype, 2e-2))
    if layout == "channels_last":
        assert y.is_contiguous(memory_format=format_)


# Planes of several blocks (kBlockElements) of rows, and windows that reach over the edges of blocks.
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("size", "options"),
    [((300, 100), (3, 2)), ((211, 131), (3, 1, 1)), ((140, 90), (5, 4, 2, 2)), ((13, 41, 61), (3, 2, 1))],
)
def test_overlapping_windows_on_planes_of_many_blocks(size, options, channels_last, kernels):
    if kernels != "native":
        pytest.skip("only the CPU kernel cuts planes")
    require_reference(draw(size, batch=(1, 3)), options, channels_last)


# Channels are taken by runs of 256 (kLanes).
@pytest.mark.parametrize("channels", [255, 256, 257, 300, 515])
@pytest.mark.parametrize("options", [(2, 2), (3, 2, 1)])
def test_many_channels_in_either_order(channels, options):
    x = draw((7, 9), torch.float32, batch=(2, channels))
    for channels_last in (False, True):
        require_reference(x, options, channels_last)


def require_reference(x, options, channels_last=False, gradient="exact"):
    """Require y and dx to be those of the definition in float64."""
    pool = POOLS[x.dim() - 2]
    wide = x.double().requires_grad_()
    with pydlx.backend("reference"):
        expected = pool(wide, *options, gradient=gradient)
    grad = draw(expected.shape[2:], x.dtype, seed=1, batch=expected.shape[:2])
    (slope,) = torch.autograd.grad(expected, wide, grad.double())
    if channels_last:
        x = x.to(memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d)
    x = x.requires_grad_()
    y = pool(x, *options, gradient=gradient)
    assert_close(y, expected)
    atol = {torch.float64: 1e-11, torch.float32: 1e-4}.get(x.dtype, 6e-2)
    assert_close(torch.autograd.grad(y, x, grad)[0], slope, atol=atol)


# The windows for which the CUDA kernels hold rows, or pixels, in registers: (kernel, stride, spatial dimensions).
KNOWN = [(2, 2, 2), (3, 2, 2), (3, 1, 2), (2, 2, 3)]


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("kernel", "stride", "spatial"), KNOWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_known_windows_on_rows_that_start_anywhere(dtype, kernel, stride, spatial, padding, gradient):
    """Widths that are multiples of a vector and others, in tensors that start aligned and unaligned."""
    for width, start, ceil_mode in [(16, 0, False), (24, 1, False), (7, 0, False), (33, 3, True), (67, 0, True)]:
        shape = (2, 3, 3, 5, width) if spatial == 3 else (2, 3, 7, width)
        options = (kernel, stride, padding, 1, ceil_mode)
        require_reference(draw_from(start, shape, dtype), options, gradient=gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "stride", "spatial"), KNOWN)
def test_known_windows_over_many_strips(kernel, stride, spatial, dtype):
    """Images that are cut into long and short strips, and rows that continue in the next warp."""
    for shape in [(3, 70, 20), (1, 41, 140), (2, 33, 273)]:
        lead = (1, 1, 2) if spatial == 3 else (1, 1)
        require_reference(draw_from(0, (*lead, *shape)[-spatial - 2 :], dtype), (kernel, stride, 1))


@pytest.mark.parametrize("options", [(2, 2), (3, 2, 1), (3, 1, 1), (2, 2, 1, 1, True), ((3, 2), 2, 1, (2, 1))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channels_last_by_vectors_of_channels(options, dtype):
    """Numbers of channels that are multiples of a vector and others, in tensors that start aligned and unaligned."""
    for channels, start in [(8, 0), (16, 4), (12, 0), (8, 1)]:
        require_reference(draw_from(start, (1, 5, 7, channels), dtype).permute(0, 3, 1, 2), options)
    if options[0] == 2:
        require_reference(draw_from(0, (1, 3, 4, 5, 8), dtype).permute(0, 4, 1, 2, 3), options)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("width", "padding"), [(15, 1), (16, 0)])  # whole vectors, with the last window beyond them
@pytest.mark.parametrize(("kernel", "stride", "spatial"), KNOWN)
def test_known_windows_treat_special_cells_like_any_others(
    kernel, stride, spatial, width, padding, channels_last, kernels
):
    """Float64 uses the kernel for any window, float32 the one for the known window."""
    if kernels != "emulated":
        pytest.skip("only CUDA has two kernels for a window")
    shape = (2, 8, 4, 5, width) if spatial == 3 else (2, 8, 9, width)
    x = draw_from(0, shape, torch.float32)
    chances = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    for special, least in [(math.nan, 0.99), (math.inf, 0.95), (-math.inf, 0.5), (-1e30, 0.48), (1e4, 0.45)]:
        x = torch.where((chances >= least) & x.isfinite(), special, x)
    x[:, :, :2] = x[:, :, -1:] = -math.inf
    x[0, 0, ..., -1] = math.nan  # of which nothing may reach the next plane
    results = []
    for a in (x, x.double()):
        if channels_last:
            a = a.to(memory_format=torch.channels_last if spatial == 2 else torch.channels_last_3d)
        a = a.detach().requires_grad_()
        y = POOLS[spatial](a, kernel, stride, padding, ceil_mode=True)
        y.backward(draw(y.shape[2:], a.dtype, batch=y.shape[:2]))
        results.append((y.detach(), a.grad))
    for known, general in zip(*results, strict=True):
        assert_close(known, general, atol=1e-4)


def draw_from(start, shape, dtype):
    """A contiguous tensor that begins `start` elements into its memory."""
    count = math.prod(shape)
    return draw((start + count,), dtype, batch=(1,))[0, start:].view(shape)


@pytest.mark.parametrize("gradient", ["exact", "paper"])
def test_published_example(gradient):
    """The gradient of the sum for elements 1, 2, 3, 0.5: by the formula, and by the published code."""
    x = torch.tensor([[[1.0, 2.0, 3.0, 0.5]]], dtype=torch.float64, requires_grad=True)
    soft_pool1d(x, 4, gradient=gradient).sum().backward()
    expected = {"exact": [-0.040, 0.124, 0.967, -0.050], "paper": [0.085, 0.232, 0.631, 0.052]}[gradient]
    torch.testing.assert_close(x.grad.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=6e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_stable_far_from_zero(offset, dtype):
    """An exactly representable shift of the input shifts the output and does not change the gradient."""
    x = (draw((6, 9), torch.float64, seed=3) * 16).round().div(16)
    shifted = (x + offset).to(dtype).requires_grad_()
    y = soft_pool2d(shifted, 3, 2, 1)
    y.sum().backward()
    with pydlx.backend("reference"):
        base = (shifted.detach().double() - offset).requires_grad_()
        expected = soft_pool2d(base, 3, 2, 1)
        expected.sum().backward()
    assert_close(y, expected + offset, rtol=1e-2 if dtype is torch.bfloat16 else 1e-7)
    assert_close(shifted.grad, base.grad, atol=1e-5 if dtype is torch.float32 else 2e-2)


@pytest.mark.parametrize("channels_last", [False, True])
def test_special_values(channels_last):
    inf, nan = math.inf, math.nan
    rows = [
        ([1.0, 2.0, -inf, 0.5], soft_pool1d(torch.tensor([[[1.0, 2.0, 0.5]]]), 3).item()),
        ([-inf, -inf, -inf, -inf], -inf),
        ([1.0, inf, 2.0, -inf], inf),
        ([1.0, nan, 2.0, inf], nan),
        ([0.0, -1e4, 1e4, 0.0], 1e4),
        ([-1e4, -1e4, -1e4, -1e4], -1e4),
    ]
    x = torch.tensor([row for row, _ in rows]).reshape(1, len(rows), 2, 2)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    y = soft_pool2d(x, 2)
    assert_close(y.flatten(), torch.tensor([value for _, value in rows]))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", FLOATS)
def test_an_infinity_is_noticed_wherever_it_stands(dtype, memory_format):
    """One infinity per image, at every position that can be a lane of a vector."""
    n = 40
    places = torch.arange(n)
    x = torch.zeros(n, n, 2, 2 * n, dtype=dtype)
    x[
        places,
        places if memory_format == torch.channels_last else 0,
        0,
        0 if memory_format == torch.channels_last else places,
    ] = math.inf
    y = soft_pool2d(x.contiguous(memory_format=memory_format), 2)
    expected = torch.nn.functional.max_pool2d(x.float(), 2).to(dtype)
    assert torch.equal(y, expected)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 1e4])
@pytest.mark.parametrize("spatial", [2, 3])
def test_special_cell_at_every_place_of_a_window(spatial, special):
    """In each image another element of a window is special; rows are wide enough for the kernels' vectors."""
    places = list(itertools.product((0, 1), repeat=spatial))
    x = draw((*(2,) * (spatial - 1), 46), torch.float32, batch=(len(places), 1))
    for image, (*place, column) in zip(x, places, strict=True):
        image[(0, *place, 18 + column)] = special
    y = POOLS[spatial](x, 2)
    with pydlx.backend("reference"):
        assert_close(y, POOLS[spatial](x.double(), 2))


@pytest.mark.parametrize("channels_last", [False, True])
def test_dilation_may_leave_a_window_without_elements(channels_last):
    x = torch.ones(1, 2, 1, 1, requires_grad=True)
    if channels_last:
        x = torch.ones(1, 2, 2, 1).to(memory_format=torch.channels_last).requires_grad_()
    y = soft_pool2d(x, (1, 2), 1, (0, 2), (1, 3))
    y.sum().backward()
    assert (y == -math.inf).any()
    assert (y[y != -math.inf] == 1).all()
    assert x.grad.isfinite().all()


def test_nan_stays_in_its_own_windows():
    x = draw((6, 8), torch.float32)
    x[0, 0, 5, 7] = math.nan
    x.requires_grad_()
    soft_pool2d(x, 3, 2).sum().backward()  # (5, 7) lies in no window
    assert not x.grad.isnan().any()


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
def test_equal_infinities_share_the_gradient(infinity, gradient):
    """The limit of equal elements that grow together."""
    x = torch.tensor([[[infinity, infinity, -math.inf, infinity]]], dtype=torch.float64)
    x[..., 2] = min(infinity, 1.0)
    count = int((x == infinity).sum())
    x.requires_grad_()
    soft_pool1d(x, 4, gradient=gradient).backward()
    expected = (x.detach() == infinity).double() / count
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-12)


def test_gradients_to_infinite_cells_are_zero():
    x = torch.tensor([[[1.0, -math.inf, 2.0, 0.0]]], requires_grad=True)
    soft_pool1d(x, 4).backward()
    assert x.grad[0, 0, 1].abs() < 1e-30
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_empty(shape):
    x = torch.zeros(shape, requires_grad=True)
    y = soft_pool2d(x, 2)
    assert y.shape == (*shape[:2], 4, 4)
    y.sum().backward()
    assert x.grad.shape == shape


def test_unbatched_and_modules_agree():
    for spatial, module in MODULES.items():
        x = draw((6, 7, 8)[:spatial])
        y = module(3, 2, 1, ceil_mode=True)(x)
        assert_close(POOLS[spatial](x[0], 3, 2, 1, ceil_mode=True), y[0])
    assert "kernel_size=3" in repr(SoftPool2d(3))


def test_repeatable_to_the_bit():
    def run():
        x = draw((33, 41), torch.float32, batch=(2, 4)).requires_grad_()
        y = soft_pool2d(x, 3, 2, 1)
        y.sum().backward()
        return y.detach(), x.grad

    same_on_one_and_two_threads(run)


@pytest.mark.parametrize("gradient", ["exact", "paper"])
def test_gradcheck(gradient):
    x = draw((5, 6), batch=(1, 2)).requires_grad_()
    if gradient == "exact":
        assert torch.autograd.gradcheck(lambda t: soft_pool2d(t, 3, 2, 1), (x,))
        assert torch.autograd.gradgradcheck(lambda t: soft_pool2d(t, 3, 2, 1), (x,))
    else:
        y = soft_pool2d(x, 2, gradient="paper")
        (grad,) = torch.autograd.grad(y.sum(), x)
        weights = x.detach().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).softmax(-1)
        assert_close(grad[..., :4, :6].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4), weights)
        # The gradient is not that of the value, but has a derivative of its own.
        assert torch.autograd.gradgradcheck(lambda t: soft_pool2d(t, 3, 2, 1, gradient="paper"), (x,))


@pytest.mark.parametrize("straight_through", [False, True])
def test_opcheck(straight_through):
    options = ([3, 2, 2, 2, 1, 0, 1, 1], True, straight_through)
    for x in (draw((7, 8)), draw((7, 8), torch.float32).to(memory_format=torch.channels_last)):
        torch.library.opcheck(native_op("soft_pool"), (x.requires_grad_(), *options))
        grad = torch.ones_like(soft_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True))
        torch.library.opcheck(native_op("_soft_pool_backward"), (grad, x.detach(), *options))


def test_compiled_layers_keep_channels_last():
    torch.compiler.reset()  # graphs of other tests count towards the limit of one function
    layer = torch.compile(SoftPool2d(2), fullgraph=True, backend="eager")
    x = draw((4, 6), torch.float32, batch=(1, 3)).to(memory_format=torch.channels_last)
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_compiles_without_a_graph_break():
    x = draw((8, 10), torch.float32)
    layer = torch.compile(SoftPool2d(2), fullgraph=True, backend="aot_eager")
    assert_close(layer(x), soft_pool2d(x, 2))
    with pydlx.backend("reference"):
        assert_close(layer(x), soft_pool2d(x, 2))


def test_autocast_keeps_the_dtype():
    """Sums are in float32 for all inputs, so autocast changes nothing."""
    x = draw((4, 4), torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert soft_pool2d(x, 2).dtype is torch.bfloat16
        assert soft_pool2d(x.float(), 2).dtype is torch.float32


def test_input_is_not_modified():
    x = draw((6, 6))
    before = x.clone()
    soft_pool2d(x, 2)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(1, 1, 4, 4), (0, 2)), ValueError, r"kernel_size must be positive, got \(0, 2\)"),
        ((torch.zeros(1, 1, 4, 4), -1), ValueError, "kernel_size must be positive, got -1"),
        ((torch.zeros(1, 1, 4, 4), 2, 0), ValueError, "stride must be positive, got 0"),
        ((torch.zeros(1, 1, 4, 4), 2, 2, -1), ValueError, "padding must be not negative, got -1"),
        ((torch.zeros(1, 1, 4, 4), 2, 2, 2), ValueError, "padding must be at most half of the window"),
        ((torch.zeros(1, 1, 4, 4), 5), ValueError, "larger than the padded input"),
        ((torch.zeros(1, 1, 4, 4), (2, 2, 2)), ValueError, "kernel_size must be one number or 2"),
        ((torch.zeros(4, 4), 2), ValueError, r"x must have shape \(N, C, H, W\) or \(C, H, W\), got 2 dimensions"),
        (
            (torch.zeros(1, 1, 4, 4, dtype=torch.int32), 2),
            TypeError,
            "x must be a floating-point tensor, got torch.int32",
        ),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=f"^soft_pool2d: .*{message}"):
        soft_pool2d(*arguments)
    if error is ValueError:
        with pytest.raises(ValueError, match="gradient must be"):
            soft_pool2d(torch.zeros(1, 1, 4, 4), 2, gradient="wrong")


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("window", WINDOWS)
def test_cuda_agrees_with_the_cpu(window, dtype):
    size, *options = window
    x = draw(size, dtype).requires_grad_()
    on_gpu = x.detach().cuda().requires_grad_()
    y, y_gpu = POOLS[len(size)](x, *options), POOLS[len(size)](on_gpu, *options)
    y.sum().backward()
    y_gpu.sum().backward()
    assert_close(y_gpu.cpu(), y)
    assert_close(on_gpu.grad.cpu(), x.grad, atol=1e-5 if dtype in (torch.float64, torch.float32) else 2e-2)
