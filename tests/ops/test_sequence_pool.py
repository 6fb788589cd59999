"""Pooling over time against plain loops over the valid steps of each sequence and channel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from op_checks import FLOATS, assert_close, native_op, same_on_one_and_two_threads, sliced
from torch.nn.utils.rnn import pack_padded_sequence

from pydlx.nn import SequencePool
from pydlx.ops import sequence_pool
from pydlx.ops.sequence_pool import sequence_pool_reference

MODES = [("max", None), ("mean", None), ("soft", None), ("k-max", 3)]
NUMBERS = ["max", "mean", "soft", "k-max"]  # as the dispatcher's op takes them
LAYOUTS = ["full", "lengths", "mask", "packed"]
INF, NAN = math.inf, math.nan


def pool_loop(values, mode, k):
    """Outputs of one channel of one sequence, each with its derivative by every step, in Python floats."""
    steps = range(len(values))
    if mode == "mean":
        return [(sum(values) / len(values), [1 / len(values)] * len(values))]
    if mode == "soft":
        weights = [math.exp(v - max(values)) for v in values]
        weights = [w / sum(weights) for w in weights]
        y = sum(w * v for w, v in zip(weights, values, strict=True))
        return [(y, [w * (1 + v - y) for w, v in zip(weights, values, strict=True)])]
    best = sorted(steps, key=lambda t: (-values[t], t))[: 1 if mode == "max" else k]
    return [(values[t], [float(s == t) for s in steps]) for t in sorted(best)]


def pool_rows(x, rows, mode, k, grad):
    """y and dx in float64, given each sequence's valid steps as rows of x viewed as (rows, C)."""
    flat = x.double().flatten(0, -2).numpy()
    dx = np.zeros_like(flat)
    y = np.zeros((len(rows), k or 1, flat.shape[1]))
    g = grad.double().reshape(y.shape).numpy()
    for b, steps in enumerate(rows):
        for c in range(flat.shape[1]):
            for j, (value, slopes) in enumerate(pool_loop(flat[steps, c].tolist(), mode, k)):
                y[b, j, c] = value
                dx[steps, c] += g[b, j, c] * np.array(slopes)
    return torch.from_numpy(y).reshape(grad.shape), torch.from_numpy(dx).reshape(x.shape)


def draw(*shape, dtype=torch.float64, seed=0):
    """Normal numbers on a grid coarse enough for ties."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 8).round().div(4).to(dtype)


def scene(layout, batch, steps, channels, dtype=torch.float64, seed=0):
    """x, the argument that says which steps are valid, and the rows of each sequence's valid steps."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    lengths[0] = steps
    if layout == "packed":
        ends = lengths.cumsum(0).tolist()
        rows = [list(range(end - n, end)) for end, n in zip(ends, lengths.tolist(), strict=True)]
        return draw(ends[-1], channels, dtype=dtype, seed=seed), {"lengths": lengths}, rows
    mask = torch.ones(batch, steps, dtype=torch.bool)
    given = {}
    if layout == "lengths":
        mask = torch.arange(steps) < lengths.unsqueeze(1)
        given = {"lengths": lengths}
    elif layout == "mask":
        mask = torch.rand(batch, steps, generator=generator) < 0.4
        mask[torch.arange(batch), torch.randint(steps, (batch,), generator=generator)] = True
        given = {"mask": mask}
    rows = [(b * steps + mask[b].nonzero().flatten()).tolist() for b in range(batch)]
    return draw(batch, steps, channels, dtype=dtype, seed=seed), given, rows


def pool_and_gradient(x, mode, k, given, seed=1):
    x = x.detach().requires_grad_()
    y = sequence_pool(x, mode, k=k, **given)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(y)
    (dx,) = torch.autograd.grad(y, x, grad)
    return y.detach(), dx, grad


def check(x, given, rows, mode, k):
    y, dx, grad = pool_and_gradient(x, mode, k, given)
    y_loop, dx_loop = pool_rows(x, rows, mode, k, grad)
    assert y.dtype == dx.dtype == x.dtype
    atol = {torch.float64: 1e-12, torch.float32: 1e-5}.get(x.dtype, 2e-2)
    assert_close(y, y_loop, atol=atol)
    assert_close(dx, dx_loop, atol=atol)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), [*MODES, ("k-max", 1), ("k-max", 40)])
@pytest.mark.parametrize("size", [(3, 35, 5), (1, 16, 8), (4, 1, 1), (2, 17, 70), (17, 5, 260)])
def test_values_and_gradients(size, mode, k, layout):
    check(*scene(layout, *size), mode, k)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), [*MODES, ("k-max", 5), ("k-max", 12)])
@pytest.mark.parametrize("channels", [5, 8])
def test_one_long_sequence(channels, mode, k, layout):
    """A long sequence is cut into chunks to fill the device."""
    check(*scene(layout, 1, 530, channels, torch.float32), mode, k)


@pytest.mark.parametrize(("mode", "k"), [("max", None), ("k-max", 1), ("k-max", 8), ("k-max", 9)])
@pytest.mark.parametrize("values", [(1.0,), (NAN, 2.0), (-INF,), (-0.0, 0.0)])
def test_the_first_of_many_equals_is_taken(values, mode, k):
    """Equal values may be processed by different threads and chunks."""
    x = torch.tensor(values * (530 // len(values))).view(1, -1, 1).expand(1, -1, 8).contiguous()
    _, dx, _ = pool_and_gradient(x, mode, k, {})
    every = len(values) if math.isnan(values[0]) else 1
    first = torch.arange(k or 1) * every
    assert torch.equal(dx[0, :, 3].nonzero().flatten(), first)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), MODES)
def test_dtypes(mode, k, layout, dtype):
    check(*scene(layout, 3, 20, 24, dtype), mode, k)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("k", [65, 90, 130])
def test_many_values_are_kept(k, dtype):
    """For k above 64 another algorithm finds the threshold."""
    check(*scene("mask", 2, 200, 3, dtype), "k-max", k)
    check(*scene("lengths", 2, 100, 9, dtype), "k-max", k)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), MODES)
@pytest.mark.parametrize("strides", ["time_major", "sliced", "channels_first"])
def test_strides(strides, mode, k, layout):
    x, given, rows = scene(layout, 3, 12, 8, torch.float32)
    if strides == "time_major":
        x = x.transpose(0, -2).contiguous().transpose(0, -2)
    else:
        x = sliced(x) if strides == "sliced" else x.mT.contiguous().mT
    check(x, given, rows, mode, k)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["lengths", "mask"])
@pytest.mark.parametrize(("mode", "k"), [*MODES, ("k-max", 70)])
@pytest.mark.parametrize("poison", [NAN, INF, -INF])
def test_padding_has_no_effect(poison, mode, k, layout, dtype):
    """Values and gradients do not depend on the padding, whose own gradient is 0."""
    x, given, rows = scene(layout, 4, 19, 9, dtype)
    padding = torch.ones(4 * 19, dtype=torch.bool)
    padding[[row for steps in rows for row in steps]] = False
    padding = padding.view(4, 19)
    poisoned = x.clone()
    poisoned[padding] = poison
    y, dx, _ = pool_and_gradient(x, mode, k, given)
    y_poisoned, dx_poisoned, _ = pool_and_gradient(poisoned, mode, k, given)
    assert torch.equal(y, y_poisoned)
    assert torch.equal(dx, dx_poisoned)
    assert padding.any()
    assert (dx_poisoned[padding] == 0).all()


@pytest.mark.parametrize(("mode", "k"), MODES)
def test_lengths_mask_and_packed_agree(mode, k):
    lengths = torch.tensor([4, 9, 1])
    x = draw(3, 9, 5)
    mask = torch.arange(9) < lengths.unsqueeze(1)
    expected = sequence_pool(x, mode, lengths=lengths, k=k)
    for same in (lengths.int(), lengths.to(torch.uint8)):
        assert torch.equal(sequence_pool(x, mode, lengths=same, k=k), expected)
    assert_close(sequence_pool(x, mode, mask=mask, k=k), expected)
    assert_close(sequence_pool(x[mask], mode, lengths=lengths, k=k), expected)


def column(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1)


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize(
    ("values", "first"),
    [
        ((1.0, 3.0, 3.0, 2.0), 1),
        ((-INF, -INF, -INF), 0),
        ((0.0, -0.0, 0.0), 0),
        ((-0.0, 0.0), 0),
        ((1.0, NAN, 2.0, NAN, INF), 1),
        ((-INF, 5.0, INF, INF), 2),
        ((*range(40), 39.0), 39),
        ((NAN, *range(40), NAN), 0),
    ],
)
def test_the_first_maximum_takes_the_gradient(values, first, width):
    x = column(*values).expand(1, -1, width)
    for mode, k in (("max", None), ("k-max", 1)):
        y, dx, grad = pool_and_gradient(x, mode, k, {})
        assert_close(y.reshape(-1), x[0, first])
        assert torch.equal(dx[0, first], grad.reshape(-1))
        assert dx.count_nonzero() == width


@pytest.mark.parametrize("padded_to", [4, 70])
@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ((3.0, 1.0, 3.0, 5.0, 3.0), (0, 2, 3)),
        ((2.0, 2.0, 2.0, 2.0), (0, 1, 2)),
        ((-INF, 1.0, -INF, -INF), (0, 1, 2)),
        ((0.0, NAN, 7.0, NAN, INF), (1, 3, 4)),
        ((-1.0, 0.0, -0.0, 0.0, -0.0), (1, 2, 3)),
    ],
)
def test_k_max_keeps_time_and_takes_the_first_of_equals(values, kept, padded_to):
    y = sequence_pool(column(*values), "k-max", k=3).flatten()
    assert_close(y, torch.tensor([values[t] for t in kept]))
    longer = sequence_pool(column(*values), "k-max", k=padded_to + len(values)).flatten()
    assert_close(longer, torch.tensor([*values, *[0.0] * padded_to]))


def test_published_example():
    """Section 3.3 of arXiv 1404.2188: a subsequence of the values, their order kept."""
    y = sequence_pool(column(5, 2, 9, 4, 7, 1), "k-max", k=4)
    assert y.flatten().tolist() == [5, 9, 4, 7]


@pytest.mark.parametrize("width", [1, 8])
def test_of_only_minus_infinities_the_first_takes_the_gradient(width):
    x = torch.zeros(3, 5, width)
    x[1] = -INF
    x.requires_grad_()
    y = sequence_pool(x, "max")
    assert y[1].tolist() == [-INF] * width
    assert torch.autograd.grad(y.sum(), x)[0].nonzero()[::width, :2].tolist() == [[0, 0], [1, 0], [2, 0]]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("nans", "k"), [(70, 70), (70, 66), (80, 79), (100, 100), (3, 66)])
def test_k_max_keeps_nan_first(nans, k, dtype):
    """Few NaN, many, and only NaN, at a k where the threshold is found bit by bit."""
    x = draw(2, 100, 3, dtype=dtype)
    x[1, torch.randperm(100, generator=torch.Generator().manual_seed(1))[:nans]] = NAN
    y = sequence_pool(x, "k-max", k=k)
    # torch sorts NaN as the largest number, too.
    found, expected = (z.sort(1, descending=True).values[:, :k] for z in (y, x))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("steps", [0, 40])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, NAN, 2.0, INF), NAN),
        ((-INF, -INF), -INF),
        ((1.0, INF, 2.0, -INF), INF),
        ((INF, INF), INF),
        ((0.0, -1e4, 1e4, 0.0), 1e4),
        ((-INF, 1.0, 1.0), 1.0),
    ],
)
def test_soft_special_values(values, expected, steps, width):
    """Also with `steps` of negligible weight before and after."""
    around = [-INF if expected == -INF else -2e4] * steps
    x = column(*around, *values, *around).expand(1, -1, width)
    y, dx, _ = pool_and_gradient(x, "soft", None, {})
    assert_close(y.flatten(), torch.full((width,), expected))
    if math.isfinite(expected):
        assert dx.isfinite().all()
        assert (dx[0, x[0] == -INF].abs() < 1e-30).all()


@pytest.mark.parametrize(("mode", "k"), MODES[:3])
def test_nan_stays_in_its_own_channel_and_sequence(mode, k):
    x = draw(3, 40, 9, dtype=torch.float32)
    x[1, 25, 4] = NAN
    y, dx, _ = pool_and_gradient(x, mode, k, {})
    assert y[1, 4].isnan()
    assert y.isnan().sum() == 1
    assert not dx.isnan().any() or (dx.isnan().any(1).nonzero() == torch.tensor([1, 4])).all()


@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_soft_is_stable_far_from_zero(offset):
    """A shift that float32 represents exactly shifts the output and does not change the gradient."""
    x, given, _ = scene("lengths", 3, 50, 9)
    y, dx, _ = pool_and_gradient(x, "soft", None, given)
    y_shifted, dx_shifted, _ = pool_and_gradient((x + offset).float(), "soft", None, given)
    assert_close(y_shifted, y + offset, rtol=1e-7)
    assert_close(dx_shifted, dx, atol=1e-5)


def test_mean_of_a_long_sequence_is_accurate():
    x = torch.rand(1, 100_000, 3, generator=torch.Generator().manual_seed(0))
    assert_close(sequence_pool(x, "mean"), x.double().mean(1), rtol=2e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), MODES)
def test_repeatable_to_the_bit(mode, k, layout):
    x, given, _ = scene(layout, 20, 60, 33, torch.float32)
    same_on_one_and_two_threads(lambda: pool_and_gradient(x, mode, k, given)[:2])


@pytest.mark.parametrize(("mode", "k"), MODES)
@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0)])
def test_empty(shape, mode, k):
    y, dx, _ = pool_and_gradient(torch.zeros(shape), mode, k, {})
    assert y.shape == ((shape[0], k, shape[2]) if k else (shape[0], shape[2]))
    assert dx.shape == shape
    none = torch.zeros(0, dtype=torch.int64)
    assert len(sequence_pool(torch.zeros(0, 3), mode, lengths=none, k=k)) == 0


@pytest.mark.parametrize(("mode", "k"), MODES)
def test_unchecked_lengths_are_cut_and_empty_sequences_give_zero(mode, k, kernels):
    """On a GPU and in compiled graphs, where lengths are not checked, wrong ones have a defined result."""
    number = NUMBERS.index(mode)
    x = draw(4, 6, 5)
    op = sequence_pool_reference if kernels == "reference" else native_op("sequence_pool")
    y, _ = op(x, torch.tensor([9, 0, -3, 2]), None, number, k or 1)
    assert_close(y[[0, 3]], sequence_pool(x[[0, 3]], mode, lengths=torch.tensor([6, 2]), k=k))
    assert (y[1:3] == 0).all()
    point = x.flatten(0, 1).requires_grad_()
    y, _ = op(point, torch.tensor([4, 4, 99]), None, number, k or 1)
    assert_close(y[[0, 2]], sequence_pool(point, mode, lengths=torch.tensor([4, 20]), k=k))
    assert (y[1] == 0).all()
    (dx,) = torch.autograd.grad(y[1].sum(), point)
    assert (dx == 0).all()


@pytest.mark.parametrize(("mode", "k"), MODES)
def test_rows_behind_the_last_packed_sequence_get_no_gradient(mode, k):
    """Possible only where lengths are not checked."""
    number = NUMBERS.index(mode)
    x = draw(9, 5).requires_grad_()
    y, _ = native_op("sequence_pool")(x, torch.tensor([2, 6]), None, number, k or 1)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert (dx[6:] == 0).all()
    assert dx[:6].count_nonzero() > 0


@pytest.mark.parametrize("layout", ["mask", "packed"])
@pytest.mark.parametrize(("mode", "k"), MODES)
def test_gradcheck(mode, k, layout):
    x, given, _ = scene(layout, 2, 4, 2)
    x = (x + torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: sequence_pool(t, mode, k=k, **given), (x,))
    assert torch.autograd.gradgradcheck(lambda t: sequence_pool(t, mode, k=k, **given), (x,))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), MODES)
def test_opcheck(mode, k, layout):
    x, given, _ = scene(layout, 3, 5, 4, torch.float32)
    number = NUMBERS.index(mode)
    ends = given.get("lengths")
    ends = ends.cumsum(0) if layout == "packed" else ends
    arguments = (ends, given.get("mask"), number, k or 1)
    torch.library.opcheck(native_op("sequence_pool"), (x.requires_grad_(), *arguments))
    y, index = native_op("sequence_pool")(x.detach(), *arguments)
    saved = {"max": (None, index, None, None), "k-max": (None, index, None, None), "mean": (None, None, *arguments[:2])}
    saved = saved.get(mode, (x.detach(), None, *arguments[:2]))
    torch.library.opcheck(native_op("_sequence_pool_backward"), (torch.ones_like(y), *saved, list(x.shape)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), MODES)
def test_compiles_without_a_graph_break(mode, k, layout):
    x, given, _ = scene(layout, 3, 5, 4, torch.float32)
    torch.compiler.reset()
    layer = torch.compile(SequencePool(mode, k), fullgraph=True, backend="aot_eager")
    assert_close(layer(x, **given), sequence_pool(x, mode, k=k, **given))


def test_exports():
    x, given, _ = scene("lengths", 3, 5, 4, torch.float32)
    program = torch.export.export(SequencePool("k-max", 2), (x,), given)
    assert_close(program.module()(x, **given), sequence_pool(x, "k-max", k=2, **given))


@pytest.mark.parametrize(("mode", "k"), MODES)
def test_module_takes_what_recurrent_layers_return(mode, k):
    x = draw(3, 6, 4)
    lengths = torch.tensor([2, 6, 3])
    layer = SequencePool(mode, k)
    expected = sequence_pool(x, mode, lengths=lengths, k=k)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    assert_close(layer(packed), expected)
    assert_close(layer(x, lengths), expected)
    assert repr(mode) in repr(layer)
    with pytest.raises(ValueError, match="PackedSequence"):
        layer(packed, lengths)


def test_inputs_are_not_modified():
    x, given, _ = scene("packed", 3, 6, 4)
    before, lengths = x.clone(), given["lengths"].clone()
    for mode, k in MODES:
        sequence_pool(x, mode, k=k, **given)
    assert torch.equal(x, before)
    assert torch.equal(given["lengths"], lengths)


def test_autocast_keeps_the_dtype():
    x = draw(2, 3, 4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sequence_pool(x, "soft").dtype is torch.float32


X, ROWS = torch.zeros(3, 5, 2), torch.zeros(7, 2)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (X.int(), {}, TypeError, "x must be a floating-point tensor, got torch.int32"),
        (X[0, 0], {}, ValueError, r"x must have shape \(B, T, C\) or, packed, \(total, C\), got \(2,\)"),
        (X[:, :0], {}, ValueError, r"x must have at least one step, got shape \(3, 0, 2\)"),
        (X, {"mode": "median"}, ValueError, "mode must be one of .*'k-max', got 'median'"),
        (X, {"mode": "k-max"}, ValueError, "k must be given for mode 'k-max' .* got None"),
        (X, {"k": 2}, ValueError, "k must be given .* for no other, got 2 for mode 'max'"),
        (X, {"mode": "k-max", "k": 0}, ValueError, "k must be positive, got 0"),
        (X, {"lengths": [5, 5, 5], "mask": torch.ones(3, 5) > 0}, ValueError, "lengths or mask .* got both"),
        (ROWS, {}, ValueError, r"lengths must be given for packed x of shape \(7, 2\)"),
        (ROWS, {"mask": torch.ones(7) > 0}, ValueError, "lengths must be given for packed x"),
        (X, {"lengths": [1.0, 2.0, 3.0]}, TypeError, "lengths must be integers, got torch.float32"),
        (X, {"lengths": [1, 2]}, ValueError, r"lengths must have shape \(3,\), got \(2,\)"),
        (ROWS, {"lengths": [[7]]}, ValueError, r"lengths must have shape \(B,\), got \(1, 1\)"),
        (X, {"lengths": [5, 0, 0]}, ValueError, "lengths must be 1 to 5, got 0 for sequence 1"),
        (X, {"lengths": [5, 1, 6]}, ValueError, "lengths must be 1 to 5, got 6 for sequence 2"),
        (ROWS, {"lengths": [8, -1]}, ValueError, "lengths must be 1 to 7, got 8 for sequence 0"),
        (ROWS, {"lengths": [3, 3]}, ValueError, "lengths must sum to the 7 rows of x, got 6"),
        (X, {"mask": torch.ones(3, 5)}, TypeError, "mask must be a bool tensor, got torch.float32"),
        (X, {"mask": torch.ones(3, 4) > 0}, ValueError, r"mask must have shape \(3, 5\), got \(3, 4\)"),
        (X, {"mask": torch.arange(3).view(3, 1) * torch.ones(3, 5) != 1}, ValueError, "none for sequence 1"),
    ],
)
def test_bad_input(x, options, error, message):
    if isinstance(options.get("lengths"), list):
        options = {**options, "lengths": torch.tensor(options["lengths"])}
    with pytest.raises(error, match=f"^sequence_pool: .*{message}"):
        sequence_pool(x, **options)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("mode", "k"), [*MODES, ("k-max", 90)])
def test_cuda_agrees_with_the_cpu(mode, k, layout, dtype):
    x, given, _ = scene(layout, 5, 120, 70, dtype)
    on_gpu = {name: value.cuda() for name, value in given.items()}
    y, dx, _ = pool_and_gradient(x, mode, k, given)
    (y_gpu, dx_gpu, _) = pool_and_gradient(x.cuda(), mode, k, on_gpu)
    atol = 1e-5 if dtype in (torch.float64, torch.float32) else 2e-2
    assert_close(y_gpu.cpu(), y, atol=atol)
    assert_close(dx_gpu.cpu(), dx, atol=atol)
