"""Cosine and sine transforms against scipy.fft, whose conventions they follow, and their transposed matrices."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch
from op_checks import FLOATS, native_op, same_on_one_and_two_threads, sliced

import pydlx
from pydlx import ops

NAMES = ("dctn", "idctn", "dstn", "idstn")
NORMS = (None, "backward", "ortho", "forward")
TYPES = (1, 2, 3, 4)
# Every small length, then ones that take each route of the FFT: prime factors up to 97, Bluestein, powers of two.
LENGTHS = (*range(1, 41), 64, 97, 101, 120, 128, 194, 211, 1000, 1024, 1031, 1080)
STATUS = Path("/proc/self/status")
PROGRAM = """
import time
import torch
from pydlx import ops

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

ops.dctn(torch.ones(40, 64), axes=-1)
ops.dstn(torch.ones(40, 64), 1, axes=-1)
before = resident()
{body}
print(resident() - before, seconds)
"""
ROUNDING = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def too_short(name, type, length):
    return type == 1 and length == 1 and name in ("dctn", "idctn")


def assert_scipy(y, name, x, type, axes, norm):
    """Compare y with scipy's float64 transform of the same input, relative to its largest value."""
    expected = getattr(scipy.fft, name)(x.double().numpy(), type=type, axes=axes, norm=norm)
    assert tuple(y.shape) == expected.shape
    limit = ROUNDING[y.dtype] * max(1e-300, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(y.double().numpy(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_length(name, type, dtype, kernels):
    lengths = LENGTHS if kernels != "emulated" else LENGTHS[:20]
    for length, norm in itertools.product(lengths, (None, "ortho")):
        if too_short(name, type, length):
            continue
        x = draw(3, length, dtype=dtype)
        assert_scipy(getattr(ops, name)(x, type, axes=-1, norm=norm), name, x, type, (-1,), norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_norms_and_axes(name, type, norm):
    x = draw(5, 4, 6, 7)
    for axes in ((-2, -1), (0,), (1, 3), (2, 0, 3), None, 2):
        y = getattr(ops, name)(x, type, axes, norm)
        given = (axes,) if isinstance(axes, int) else axes
        assert_scipy(y, name, x, type, given, norm)


@pytest.mark.parametrize("shape", [(70, 33), (33, 70), (3, 31, 37), (2, 40, 3), (129, 5, 19)])
@pytest.mark.parametrize(("name", "type"), [("dctn", 2), ("idctn", 2), ("dstn", 1)])
def test_groups_of_lines(name, type, shape):
    """Numbers of lines around the vector width, along each axis, contiguous in memory or not."""
    x = draw(*shape)
    for axis in range(len(shape)):
        assert_scipy(getattr(ops, name)(x, type, axis), name, x, type, (axis,), None)


# Lines of 2^k samples have CUDA kernels of their own, along the last axis and before it; other planes one Fourier
# transform. 35 columns are no whole pairs, 70 no whole tile of any size; nine of 64 x 128 take several launches.
POWER_SHAPES = [
    (2, 64, 128),
    (128, 64),
    (3, 256, 70),
    (2, 512, 64),
    (64, 512),
    (1024, 6),
    (3, 1024),
    (2, 2048),
    (4096,),
]
OTHER_SHAPES = [(2, 256, 35), (2, 5, 131), (3, 12, 20), (2, 70, 66), (1, 1, 6), (3, 7, 1), (9, 64, 128)]


@pytest.mark.parametrize("shape", [*POWER_SHAPES, *OTHER_SHAPES])
@pytest.mark.parametrize("name", ["dctn", "idctn"])
def test_powers_of_two_and_planes(name, shape):
    x = draw(*shape, dtype=torch.float32)
    for axes in ((-2, -1), (-1,), (-2,)) if len(shape) > 1 else ((-1,),):
        assert_scipy(getattr(ops, name)(x, 2, axes, "ortho"), name, x, 2, axes, "ortho")


@pytest.mark.parametrize("shape", [(2, 64, 64), (2, 64, 66), (2, 12, 20)])
@pytest.mark.parametrize("name", ["dctn", "idctn"])
def test_numbers_at_odd_addresses(name, shape):
    x = draw(math.prod(shape) + 1, dtype=torch.float32)[1:].view(shape)
    for axes in ((-2, -1), (-1,), (-2,)):
        assert_scipy(getattr(ops, name)(x, 2, axes), name, x, 2, axes, None)


@pytest.mark.parametrize("length", [2048, 4096])
@pytest.mark.parametrize("name", ["dctn", "idctn"])
def test_long_columns_with_all_the_shared_memory_there_is(name, length, monkeypatch):
    monkeypatch.setenv("PYDLX_EMULATOR_SHARED_BYTES", str(227 * 1024))
    x = draw(length, 10, dtype=torch.float32)
    assert_scipy(getattr(ops, name)(x, 2, -2), name, x, 2, (-2,), None)


@pytest.mark.parametrize("shape", [(4, 5, 131), (4, 64, 64), (4, 6, 8)])
@pytest.mark.parametrize("name", ["dctn", "idctn"])
def test_planes_are_independent(name, shape):
    x = draw(*shape, dtype=torch.float32)
    usual = getattr(ops, name)(x)
    x[1, 2, 3] = torch.nan
    y = getattr(ops, name)(x)
    assert y[1].isnan().all()
    others = [0, 2, 3]
    torch.testing.assert_close(y[others], usual[others], rtol=1e-5, atol=1e-3)


def assert_lines_are_independent(name, type, axis, length, value, device="cpu"):
    lines = draw(70, length, dtype=torch.float32)
    spoiled = lines.clone()
    spoiled[3, 1] = spoiled[20, 0] = spoiled[69, length - 1] = value
    inputs = (x.movedim(1, axis).contiguous().to(device) for x in (lines, spoiled))
    usual, y = (getattr(ops, name)(x, type, axis).movedim(axis, 1).cpu() for x in inputs)
    sound = torch.ones(70, dtype=torch.bool)
    sound[[3, 20, 69]] = False
    assert not y[~sound].isfinite().all(1).any()
    torch.testing.assert_close(y[sound], usual[sound], rtol=1e-5, atol=1e-5 * length)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("length", [2, 11, 12, 64, 101, 256, 1031])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("name", "type"), [("dctn", 2), ("dctn", 3), ("dstn", 1), ("dstn", 2), ("dctn", 4)])
def test_lines_are_independent(name, type, axis, length, value):
    assert_lines_are_independent(name, type, axis, length, value)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("kind", ["c", "s"])
def test_inverse_undoes(kind, type, norm):
    x = draw(2, 9, 16)
    forward, inverse = getattr(ops, f"d{kind}tn"), getattr(ops, f"id{kind}tn")
    torch.testing.assert_close(inverse(forward(x, type, norm=norm), type, norm=norm), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_and_layouts(name, dtype):
    x = draw(3, 20, 18, dtype=dtype)
    for layout in (x, sliced(x), x.transpose(0, 2).contiguous().transpose(0, 2), x[:1].expand(3, 20, 18)):
        before = layout.clone()
        y = getattr(ops, name)(layout, norm="ortho")
        assert y.dtype == dtype
        assert y.is_contiguous()
        assert_scipy(y, name, before, 2, (-2, -1), "ortho")
        assert torch.equal(layout, before)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, type):
    x = draw(2, 3, 4).requires_grad_()
    for norm in (None, "ortho", "forward"):
        for axes in ((-1,), (0, 2)):

            def run(value, axes=axes, norm=norm):
                return getattr(ops, name)(value, type, axes, norm)

            assert torch.autograd.gradcheck(run, x)
            assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize("norm", [0, 1, 2])
@pytest.mark.parametrize(("type", "sine"), [(2, False), (3, False), (1, True)])
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_adjoint_is_the_transposed_matrix(type, sine, norm, length, kernels):
    op = native_op("dct") if kernels != "reference" else pydlx.ops.dct.dct_reference
    identity = torch.eye(length, dtype=torch.float64)
    matrix = op(identity, type, sine, [0], norm, False)
    torch.testing.assert_close(op(identity, type, sine, [0], norm, True), matrix.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("type", "sine"), [(2, False), (3, False), (1, True)])
def test_opcheck(type, sine):
    x = draw(2, 5, 6).requires_grad_()
    torch.library.opcheck(native_op("dct"), (x, type, sine, [1, 2], 1, False))


def test_compiles_without_graph_breaks():
    run = torch.compile(lambda x: ops.idctn(ops.dctn(x) * 2), backend="aot_eager", fullgraph=True)
    x = draw(2, 6, 8)
    torch.testing.assert_close(run(x), 2 * x)


def test_autocast_computes_in_float32():
    x = draw(2, 16, 16, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.dctn(x)
    torch.testing.assert_close(y, ops.dctn(x.float()).bfloat16(), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_empty_batch(name):
    assert getattr(ops, name)(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


def test_same_bits_on_one_and_two_threads():
    x = draw(3, 150, 131, dtype=torch.float32)
    same_on_one_and_two_threads(lambda: (ops.dctn(x), ops.idctn(x, axes=(0, 1)), ops.dstn(x, 1)))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (torch.zeros(4, 4, dtype=torch.int64), {}, TypeError, "dctn: x must be a floating-point tensor, got"),
        (torch.zeros(4, 4, dtype=torch.complex64), {}, TypeError, "dctn: x must be a floating-point tensor"),
        (torch.zeros(4, 4), {"type": 5}, ValueError, "dctn: type must be from 1 to 4, got 5"),
        (torch.zeros(4, 4), {"norm": "unitary"}, ValueError, "dctn: norm must be one of None, "),
        (torch.zeros(4, 4), {"axes": (0, 2)}, ValueError, "dctn: axes must lie within the 2 dimensions"),
        (torch.zeros(4), {}, ValueError, "dctn: axes must lie within the 1 dimensions"),
        (torch.zeros(4, 4), {"axes": (0, -2)}, ValueError, "dctn: axes must be distinct"),
        (torch.zeros(4, 0), {}, ValueError, "dctn: axis 1 must have at least 1 samples, got 0"),
        (torch.zeros(4, 1), {"type": 1}, ValueError, "dctn: axis 1 must have at least 2 samples, got 1"),
    ],
)
def test_errors(x, options, error, message):
    with pytest.raises(error, match=message):
        ops.dctn(x, **options)


def measured(kernels: str, body: str) -> tuple[float, float]:
    """Run `body` in a fresh process; return the growth of resident memory in MB and the seconds that it measured."""
    if kernels != "native" or not STATUS.exists():
        pytest.skip("needs the compiled CPU kernels and /proc")
    program = PROGRAM.format(body=body)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    growth, seconds = run.stdout.split()
    return float(growth), float(seconds)


@pytest.mark.parametrize("transform", ["ops.dctn({x}, axes=-1)", "ops.dstn({x}, 1, axes=-1)"])
def test_plans_of_many_lengths_are_not_all_kept(transform, kernels):
    x = "torch.ones(1, n, dtype=torch.float32 if n % 2 else torch.float64)"
    body = f"seconds = 0\nfor n in range(2, 2002): {transform.format(x=x)}"
    growth, _ = measured(kernels, body)
    assert growth < 50


@pytest.mark.parametrize("length", [1_000_003, 1 << 20])
def test_a_long_line_leaves_no_memory_behind(length, kernels):
    """A prime length uses Bluestein's convolution of twice the length."""
    body = f"x = torch.ones(1, {length})\nstart = time.process_time()\ny = ops.dctn(x, axes=-1)\n"
    growth, seconds = measured(kernels, body + "seconds = time.process_time() - start\ndel x, y")
    assert growth < 50
    assert seconds < 3  # of processor time; a second when it is not shared


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("name", "type"), [("dctn", 2), ("dctn", 3), ("idctn", 2), ("dstn", 1), ("dstn", 2)])
def test_cuda_agrees_with_scipy(name, type, dtype):
    for shape in ((3, 64, 97), (2, 1021, 33)):
        x = draw(*shape, dtype=dtype)
        y = getattr(ops, name)(x.cuda(), type)
        assert y.is_cuda
        assert_scipy(y.cpu(), name, x, type, (-2, -1), None)


@pytest.mark.cuda
@pytest.mark.parametrize("length", [2, 11, 12, 101, 253, 256, 1031])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("name", "type"), [("dctn", 2), ("dctn", 3), ("dstn", 1)])
def test_cuda_lines_are_independent(name, type, axis, length):
    assert_lines_are_independent(name, type, axis, length, torch.nan, "cuda")
