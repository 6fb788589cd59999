"""Corner pooling against torch.cummax, a plain loop for the gradient, and the published examples."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from op_checks import FLOATS, assert_close, native_op, same_on_one_and_two_threads, sliced
from torch.profiler import ProfilerActivity, profile

import pydlx
from pydlx.nn import BottomRightPool2d, CornerPool2d, TopLeftPool2d
from pydlx.ops import bottom_right_pool, corner_pool, top_left_pool
from pydlx.ops.corner_pool import _by_doubling

DIRECTIONS = ("top", "bottom", "left", "right")
PAIRS = {top_left_pool: ("top", "left"), bottom_right_pool: ("bottom", "right")}

# Less than a vector, a whole number of vectors, and odd; lines longer than a warp; many columns; one cell.
SHAPES = [(2, 3, 5, 7), (1, 2, 33, 41), (2, 5, 1, 70), (2, 3, 9, 1), (1, 19, 8, 16), (1, 1, 3, 1100), (1, 1, 1, 1)]


def draw(shape, dtype=torch.float64, seed=0, ties=False):
    """Random numbers; with `ties` multiples of a half, so that most of them come several times, 0 as 0 and -0."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return ((2 * x).round() / 2 if ties else x).to(dtype)


def distinct(shape, seed=0):
    """Numbers a tenth apart at least, in random order."""
    order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return (order.double() / 10).reshape(shape)


def laid_out(x, layout):
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    return sliced(x) if layout == "sliced" else x


def cummax(x, direction):
    axis = -2 if direction in ("top", "bottom") else -1
    if direction in ("bottom", "right"):
        return x.cummax(axis).values
    return x.flip(axis).cummax(axis).values.flip(axis)


def loop_gradient(x, grad, direction):
    """The gradient by walking each line from its edge in Python floats; the first of equals holds, NaN for good."""
    vertical, from_end = direction in ("top", "bottom"), direction in ("top", "left")
    lines, grads = (t.double().transpose(-1, -2) if vertical else t.double() for t in (x, grad))
    result = torch.zeros(lines.shape, dtype=torch.float64)
    for place in itertools.product(*map(range, lines.shape[:-1])):
        line, g = lines[place].tolist(), grads[place].tolist()
        walk = list(range(len(line)))[:: -1 if from_end else 1]
        holder = walk[0]
        for k in walk:
            if line[k] > line[holder] or (math.isnan(line[k]) and not math.isnan(line[holder])):
                holder = k
            result[(*place, holder)] += g[k]
    return result.transpose(-1, -2) if vertical else result


@functools.cache
def gradient_with_ties(shape, direction, seed, grad_seed):
    """The loop on ``draw(..., ties=True)``, whose numbers are the same in every dtype and whose sums are exact."""
    return loop_gradient(draw(shape, seed=seed, ties=True), draw(shape, seed=grad_seed, ties=True), direction)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients(shape, dtype, layout, kernels):
    x = laid_out(draw(shape, dtype, ties=True), layout)
    grad = draw(shape, dtype, seed=2, ties=True)
    for direction in DIRECTIONS:
        point = x.detach().requires_grad_()
        y = corner_pool(point, direction)
        (dx,) = torch.autograd.grad(y, point, grad)
        assert torch.equal(y, cummax(x, direction))
        assert torch.equal(dx, gradient_with_ties(shape, direction, 0, 2).to(dtype))
        if layout == "channels_last":
            assert y.is_contiguous(memory_format=torch.channels_last)
            assert kernels == "reference" or dx.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layouts", list(itertools.product(["contiguous", "channels_last", "sliced"], repeat=2)))
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_are_sums_rounded_once(pair, dtype, layouts):
    for shape in SHAPES:
        maps = [laid_out(draw(shape, dtype, seed), layout) for seed, layout in enumerate(layouts)]
        y = pair(*maps)
        wide = [cummax(x.double(), direction) for x, direction in zip(maps, PAIRS[pair], strict=True)]
        assert torch.equal(y, (wide[0] + wide[1]).to(dtype))
        assert y.stride() == corner_pool(maps[0], "top").stride()


@pytest.mark.parametrize("layouts", list(itertools.product(["contiguous", "channels_last", "sliced"], repeat=2)))
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("pair", PAIRS)
def test_gradients_of_pairs(pair, dtype, layouts):
    for shape in SHAPES:
        maps = [laid_out(draw(shape, dtype, seed, ties=True), layout) for seed, layout in enumerate(layouts)]
        points = [x.detach().requires_grad_() for x in maps]
        gradients = torch.autograd.grad(pair(*points), points, draw(shape, dtype, seed=2, ties=True))
        for seed, (dx, direction) in enumerate(zip(gradients, PAIRS[pair], strict=True)):
            assert torch.equal(dx, gradient_with_ties(shape, direction, seed, 2).to(dtype))


# What needs more than one of a kernel's steps, and what sends a call to another kernel: lines longer than a block or a
# warp holds, of whole vectors and not; one plane of several strips, wider than a warp or not; a plane that is cut up
# further; more planes than fit a GPU at once; more columns than the CPU scans together.
LARGE = [
    (1, 1, 300, 6),
    (1, 1, 3, 520),
    (1, 1, 2, 301),
    (1, 1, 66, 68),
    (1, 1, 66, 132),
    (1, 1, 130, 33),
    (1, 260, 5, 4),
    (1, 1, 128, 130),
    (1, 17, 2, 1030),
]
KINDS = ("ties", "rising", "falling", "special")


def drawn_map(shape, kind):
    """Values that every dtype holds: many ties, many heads, few heads, or special ones; differing along both axes."""
    if kind in ("rising", "falling"):
        rising = (torch.arange(shape[2])[:, None] + torch.arange(shape[3])).div(8, rounding_mode="floor")
        return (rising if kind == "rising" else -rising).double().expand(shape).contiguous()
    x = draw(shape, ties=True)
    if kind == "special":
        rare = torch.rand(shape, generator=torch.Generator().manual_seed(3))
        x[rare < 0.5] = -math.inf
        x[rare < 0.003] = math.inf
        x[rare < 0.001] = math.nan
    return x


@functools.cache
def drawn_map_gradient(shape, kind, direction):
    """As loop_gradient, all lines at once."""
    axis, from_end = 2 if direction in ("top", "bottom") else 3, direction in ("top", "left")
    lines, grads = (
        (t.flip(axis) if from_end else t).movedim(axis, 0)
        for t in (drawn_map(shape, kind), draw(shape, seed=2, ties=True))
    )
    best, holder, result = lines[0], torch.zeros_like(lines[:1], dtype=torch.int64), torch.zeros_like(lines)
    for k, (line, grad) in enumerate(zip(lines, grads, strict=True)):
        takes_over = (line > best) | (line.isnan() & ~best.isnan())
        best, holder = torch.where(takes_over, line, best), torch.where(takes_over, k, holder)
        result.scatter_add_(0, holder, grad[None])
    return result.movedim(0, axis).flip(axis) if from_end else result.movedim(0, axis)


def shifted(x):
    """The same values, one element behind an address that vectors could be read from."""
    return torch.cat((x.new_zeros(1), x.flatten()))[1:].view(x.shape)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "shifted"])
@pytest.mark.parametrize("number", range(len(LARGE)))
def test_large_maps(number, layout):
    shape = LARGE[number]
    place = shifted if layout == "shifted" else functools.partial(laid_out, layout=layout)
    for order, dtype in enumerate(FLOATS):
        if (layout != "contiguous" or number > 6) and (number + order) % 2:
            continue
        kind = KINDS[(number + order) % 4]
        x, grad = place(drawn_map(shape, kind).to(dtype)), place(draw(shape, dtype, seed=2, ties=True))
        for direction in DIRECTIONS:
            y = corner_pool(x, direction)
            torch.testing.assert_close(y, cummax(x, direction), rtol=0, atol=0, equal_nan=True)
            dx = native_op("_corner_pool_backward")(grad, x, DIRECTIONS.index(direction))
            assert torch.equal(dx, drawn_map_gradient(shape, kind, direction).to(dtype)), (dtype, direction)
        for pair, (down, along) in PAIRS.items():
            expected = (cummax(x.double(), down) + cummax(x.double(), along)).to(dtype)
            torch.testing.assert_close(pair(x, x), expected, rtol=0, atol=0, equal_nan=True)
            gradients = native_op("_corner_pool_pair_backward")(grad, x, x, pair is top_left_pool)
            for dx, direction in zip(gradients, (down, along), strict=True):
                assert torch.equal(dx, drawn_map_gradient(shape, kind, direction).to(dtype)), (dtype, direction)


def test_published_example():
    """A small map worked out by hand, and the gradient of the published code for a line with ties."""
    x = torch.tensor([[2.0, 1, 3, 0], [0, 4, 1, 2], [1, 0, 2, 5]])[None]
    expected = {
        "top": [[2, 4, 3, 5], [1, 4, 2, 5], [1, 0, 2, 5]],
        "left": [[3, 3, 3, 0], [4, 4, 2, 2], [5, 5, 5, 5]],
        "bottom": [[2, 1, 3, 0], [2, 4, 3, 2], [2, 4, 3, 5]],
        "right": [[2, 2, 3, 3], [0, 4, 4, 4], [1, 1, 2, 5]],
    }
    for direction, values in expected.items():
        assert corner_pool(x, direction)[0].tolist() == values
    ties = {"top": [0, 0, 0, 4], "left": [0, 0, 0, 4], "bottom": [4, 0, 0, 0], "right": [4, 0, 0, 0]}
    for direction, values in ties.items():
        shape = (1, 4, 1) if direction in ("top", "bottom") else (1, 1, 4)
        line = torch.tensor([1.0, 1, 0, 1]).reshape(shape).requires_grad_()
        corner_pool(line, direction).sum().backward()
        assert line.grad.flatten().tolist() == values


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_on_a_constant_map_the_edge_takes_all(layout):
    x = laid_out(torch.zeros(1, 3, 6, 40), layout).requires_grad_()
    (dx,) = torch.autograd.grad(corner_pool(x, "top").sum(), x)
    assert (dx[:, :, -1] == 6).all()
    assert (dx[:, :, :-1] == 0).all()
    (dx,) = torch.autograd.grad(corner_pool(x, "right").sum(), x)
    assert (dx[..., 0] == 40).all()
    assert (dx[..., 1:] == 0).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_special_values(layout, dtype):
    """NaN stays once met and its gradient goes to the first one; infinities are numbers."""
    x = draw((1, 2, 37, 40), dtype, ties=True)
    for row, column, value in [(3, 35, math.nan), (30, 35, math.nan), (5, 5, -math.inf), (9, 36, math.inf)]:
        x[0, 0, row, column] = value
    x[0, 1] = -math.inf
    x[0, 1, 7, 9] = -math.nan
    x = laid_out(x, layout)
    grad = draw(x.shape, dtype, seed=1, ties=True)
    for direction in DIRECTIONS:
        point = x.detach().requires_grad_()
        y = corner_pool(point, direction)
        torch.testing.assert_close(y, cummax(x, direction), rtol=0, atol=0, equal_nan=True)
        assert_close(torch.autograd.grad(y, point, grad)[0], loop_gradient(x, grad, direction))
    for pair, (down, along) in PAIRS.items():
        expected = (cummax(x.double(), down) + cummax(x.double(), along)).to(dtype)
        torch.testing.assert_close(pair(x, x), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("needed", [0, 1])
@pytest.mark.parametrize("pair", PAIRS)
def test_one_map_of_a_pair_may_need_no_gradient(pair, needed):
    maps, grad = [draw((1, 2, 6, 9), seed=seed) for seed in (0, 1)], draw((1, 2, 6, 9), seed=2)
    maps[needed].requires_grad_()
    (found,) = torch.autograd.grad(pair(*maps), maps[needed], grad)
    assert_close(found, loop_gradient(maps[needed].detach(), grad, PAIRS[pair][needed]))
    assert maps[1 - needed].grad is None


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8), (2, 3, 0, 8), (2, 3, 8, 0)])
def test_empty(shape):
    x = torch.zeros(shape, requires_grad=True)
    for y in (*(corner_pool(x, direction) for direction in DIRECTIONS), top_left_pool(x, x)):
        assert y.shape == shape
        (dx,) = torch.autograd.grad(y.sum(), x)
        assert dx.shape == shape


def test_unbatched_and_modules_agree():
    x, z = draw((2, 3, 6, 7)), draw((2, 3, 6, 7), seed=1)
    for direction in DIRECTIONS:
        y = CornerPool2d(direction)(x)
        assert torch.equal(y, corner_pool(x, direction))
        assert torch.equal(corner_pool(x[1], direction), y[1])
    assert torch.equal(TopLeftPool2d()(x, z)[0], top_left_pool(x[0], z[0]))
    assert torch.equal(BottomRightPool2d()(x, z)[0], bottom_right_pool(x[0], z[0]))
    assert "direction='top'" in repr(CornerPool2d("top"))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_repeatable_to_the_bit(layout):
    def run():
        maps = [laid_out(draw((2, 5, 67, 45), torch.float32, seed), layout).requires_grad_() for seed in (0, 1)]
        y = top_left_pool(*maps)
        return y.detach(), *torch.autograd.grad(y, maps, draw(y.shape, torch.float32, seed=2))

    same_on_one_and_two_threads(run)


def test_gradcheck():
    x, z = (distinct((1, 2, 4, 5), seed).requires_grad_() for seed in (0, 1))
    for direction in DIRECTIONS:
        assert torch.autograd.gradcheck(lambda t, d=direction: corner_pool(t, d), (x,))
        assert torch.autograd.gradgradcheck(lambda t, d=direction: corner_pool(t, d), (x,))
    for pair in PAIRS:
        assert torch.autograd.gradcheck(pair, (x, z))
        assert torch.autograd.gradgradcheck(pair, (x, z))


def test_second_derivative_fetches_from_the_maximum():
    """Against the loop: the gradient is linear in g, so <v, gradient(g)> has the derivative v[maximum] in g."""
    x, v = draw((1, 2, 6, 9), ties=True).requires_grad_(), draw((1, 2, 6, 9), seed=1)
    grad = torch.zeros_like(x).requires_grad_()
    for direction in DIRECTIONS:
        (dx,) = torch.autograd.grad(corner_pool(x, direction), x, grad, create_graph=True)
        (d_grad,) = torch.autograd.grad(dx, grad, v)
        for place in [(0, 0, 0, 0), (0, 1, 3, 4), (0, 1, 5, 8), (0, 0, 5, 1)]:
            unit = torch.zeros_like(v)
            unit[place] = 1
            assert d_grad[place] == (loop_gradient(x.detach(), unit, direction) * v).sum()
    for pair, (down, along) in PAIRS.items():
        z = draw(x.shape, seed=3, ties=True).requires_grad_()
        gradients = torch.autograd.grad(pair(x, z), (x, z), grad, create_graph=True)
        (d_grad,) = torch.autograd.grad(gradients, grad, (v, 2 * v))
        unit = torch.zeros_like(v)
        unit[0, 1, 3, 4] = 1
        expected = loop_gradient(x.detach(), unit, down) + 2 * loop_gradient(z.detach(), unit, along)
        assert d_grad[0, 1, 3, 4] == (expected * v).sum()


@pytest.mark.parametrize(("layout", "direction"), [("contiguous", 0), ("channels_last", 3)])
def test_opcheck(layout, direction):
    x = laid_out(draw((2, 3, 7, 8), torch.float32), layout)
    point, grad = x.detach().requires_grad_(), torch.ones_like(x).requires_grad_()
    torch.library.opcheck(native_op("corner_pool"), (point, direction))
    torch.library.opcheck(native_op("_corner_pool_backward"), (grad, x, direction))
    pair = point, x.clone().requires_grad_()
    torch.library.opcheck(native_op("corner_pool_pair"), (*pair, direction == 0))
    torch.library.opcheck(native_op("_corner_pool_pair_backward"), (grad, *pair, direction == 0))


class Corners(torch.nn.Module):
    """All directions and pairs."""

    def __init__(self):
        super().__init__()
        self.pools = torch.nn.ModuleList(CornerPool2d(direction) for direction in DIRECTIONS)
        self.top_left, self.bottom_right = TopLeftPool2d(), BottomRightPool2d()

    def forward(self, x, z):
        return *(pool(x) for pool in self.pools), self.top_left(x, z), self.bottom_right(x, z)


def test_compiles_without_a_graph_break():
    x, z = draw((2, 3, 8, 10), torch.float32), draw((2, 3, 8, 10), torch.float32, seed=1)
    layer = torch.compile(Corners(), fullgraph=True, backend="aot_eager")
    for actual, expected in zip(layer(x, z), Corners()(x, z), strict=True):
        assert torch.equal(actual, expected)


def test_torch_export():
    x, z = draw((2, 3, 8, 10), torch.float32), draw((2, 3, 8, 10), torch.float32, seed=1)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(Corners(), (x, z), dynamic_shapes=({0: batch}, {0: batch}))
    x, z = torch.cat((x, z)), torch.cat((z, x))
    for actual, expected in zip(exported.module()(x, z), Corners()(x, z), strict=True):
        assert torch.equal(actual, expected)


def run_as_onnx(module, example, dynamic, inputs, path):
    """The outputs of ONNX Runtime on `inputs`, for a module exported by what every user would write."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    shapes = tuple(dynamic for _ in example)
    torch.onnx.export(module.eval(), example, dynamo=True, dynamic_shapes=shapes, verbose=False).save(path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})


BATCH, HEIGHT, WIDTH = torch.export.Dim("batch"), torch.export.Dim("height", max=64), torch.export.Dim("width", max=64)


@pytest.mark.parametrize(
    ("dynamic", "shape"), [({0: BATCH}, (3, 3, 8, 11)), ({0: BATCH, 2: HEIGHT, 3: WIDTH}, (3, 3, 13, 5))]
)
def test_onnx_export(dynamic, shape, tmp_path):
    """Run on another batch and, where that was asked for, on maps of another size."""
    example = draw((2, 3, 8, 11), torch.float32), draw((2, 3, 8, 11), torch.float32, seed=1)
    x, z = draw(shape, torch.float32, seed=2), draw(shape, torch.float32, seed=3)
    x[0, 0, 3, 2] = math.nan
    outputs = run_as_onnx(Corners(), example, dynamic, (x, z), tmp_path / "corners.onnx")
    for actual, expected in zip(outputs, Corners()(x, z), strict=True):
        torch.testing.assert_close(torch.from_numpy(actual), expected, rtol=0, atol=0, equal_nan=True)


def test_onnx_export_without_a_bound_on_the_size(tmp_path):
    dynamic = {2: torch.export.Dim("height")}
    x = draw((1, 2, 300, 3), torch.float32)
    pool = CornerPool2d("top")
    (actual,) = run_as_onnx(pool, (x[:, :, :8],), dynamic, (x,), tmp_path / "top.onnx")
    assert torch.equal(torch.from_numpy(actual), pool(x))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_as_many_doublings_as_a_line_needs(direction):
    """What is exported, at every length up to 2^5 + 1; the largest value stands where the walk starts."""
    for length in range(1, 34):
        x = draw((1, 1, length, length), torch.float32, seed=length)
        x.select(-2 if direction in ("top", "bottom") else -1, -1 if direction in ("top", "left") else 0).fill_(9)
        assert torch.equal(_by_doubling(x, DIRECTIONS.index(direction)), cummax(x, direction)), length


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("pool", [*DIRECTIONS, *PAIRS])
def test_allocates_outputs_and_gradients_only(pool, layout, kernels):
    if kernels == "reference":
        pytest.skip("the reference has temporaries")
    maps = [
        laid_out(draw((2, 5, 40, 48), torch.float32, seed), layout) for seed in range(1 if pool in DIRECTIONS else 2)
    ]
    points, grad = [x.requires_grad_() for x in maps], torch.ones_like(maps[0])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        y = corner_pool(points[0], pool) if pool in DIRECTIONS else pool(*points)
        gradients = torch.autograd.grad(y, points, grad)
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in profiler.events())
    assert allocated == sum(t.numel() * t.element_size() for t in (y, *gradients))


def test_input_is_left_alone():
    x = draw((2, 3, 6, 6))
    before = x.clone()
    for y in (*(corner_pool(x, direction) for direction in DIRECTIONS), top_left_pool(x, x)):
        assert torch.equal(x, before)
        assert y.data_ptr() != x.data_ptr()


MAP = torch.zeros(1, 2, 4, 4)


@pytest.mark.parametrize(
    ("pool", "arguments", "error", "message"),
    [
        (corner_pool, (MAP, "up"), ValueError, "direction must be one of 'top', 'bottom', 'left', 'right', got 'up'"),
        (corner_pool, (MAP[0, 0], "top"), ValueError, r"x must have shape \(N, C, H, W\) or .*, got 2 dimensions"),
        (corner_pool, (MAP.int(), "top"), TypeError, "x must be a floating-point tensor, got torch.int32"),
        (top_left_pool, (MAP, MAP.int()), TypeError, "left must be a floating-point tensor, got torch.int32"),
        (
            top_left_pool,
            (MAP, MAP[:, :1]),
            ValueError,
            r"left must have the shape of top, \(1, 2, 4, 4\), got \(1, 1, 4",
        ),
        (
            bottom_right_pool,
            (MAP, MAP.double()),
            TypeError,
            "right must have the dtype of bottom, torch.float32, got tor",
        ),
        (bottom_right_pool, (MAP, MAP.to("meta")), ValueError, "right must be on the device of bottom, cpu, got meta"),
    ],
)
def test_bad_input(pool, arguments, error, message):
    with pytest.raises(error, match=f"^{pool.__name__}: {message}"):
        pool(*arguments)


def test_bad_direction_of_a_module():
    with pytest.raises(ValueError, match="direction must be one of"):
        CornerPool2d("up")


@pytest.mark.cuda
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_agrees_with_the_cpu(shape, dtype, layout):
    maps = [laid_out(draw(shape, dtype, seed, ties=True), layout).requires_grad_() for seed in (0, 1)]
    on_gpu = [x.detach().cuda().requires_grad_() for x in maps]
    grad = draw(shape, dtype, seed=2)
    for pool in (*(lambda a, b, d=d: corner_pool(a, d) + b for d in DIRECTIONS), *PAIRS):
        y, y_gpu = pool(*maps), pool(*on_gpu)
        assert torch.equal(y_gpu.cpu(), y)
        for dx, dx_gpu in zip(
            torch.autograd.grad(y, maps, grad), torch.autograd.grad(y_gpu, on_gpu, grad.cuda()), strict=True
        ):
            assert_close(dx_gpu.cpu(), dx)


def test_reference_and_kernels_are_equal_to_the_bit(kernels):
    """The sign of a zero and all: the first of equal cells is passed on."""
    if kernels == "reference":
        pytest.skip("compares the reference with itself")
    x = draw((2, 3, 9, 20), torch.float32, ties=True)
    for direction in DIRECTIONS:
        with pydlx.backend("reference"):
            expected = corner_pool(x, direction)
        assert torch.equal(corner_pool(x, direction).view(torch.int32), expected.view(torch.int32))
