"""Decoding of spans against a loop over all of them, the order of ties, and torch's own checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from op_checks import FLOATS, native_op, same_on_one_and_two_threads, sliced

from pydlx.ops import decode_spans

NAN, INF = math.nan, math.inf


def draw(*shape, seed=0, dtype=torch.float64, levels=None):
    """Start and end scores; with `levels` they have few distinct values and so many ties."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return ((x * levels).round() / levels if levels else x).to(dtype).unbind()


def draw_mask(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.3


def spans_by_loops(start, end, max_length, mask, top_k):
    """(first, last, score) of one row, from the definition. Scores are added in float32 at least, by NumPy."""
    wide = torch.promote_types(start.dtype, torch.float32)
    start, end, length = list(start.to(wide).numpy()), list(end.to(wide).numpy()), len(start)
    spans = []
    for i in range(length):
        for j in range(i, min(length, i + (max_length or length))):
            score = float(start[i] + end[j])
            if score > -INF and mask[i] and mask[j]:
                spans.append((i, j, score))
    spans.sort(key=lambda span: (-span[2], span[0], span[1]))
    return spans[:top_k] + [(-1, -1, -INF)] * (top_k - len(spans))


@np.errstate(all="ignore")
def check(start, end, max_length, mask=None, top_k=1):
    first, last, score = decode_spans(start, end, max_length, mask=mask, top_k=top_k)
    allowed = (torch.ones_like(start) if mask is None else mask).tolist()
    rows = [spans_by_loops(*row, max_length, may, top_k) for *row, may in zip(start, end, allowed, strict=True)]
    expected = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), top_k, 3)
    assert first.dtype is last.dtype is torch.int64
    assert score.dtype is torch.promote_types(start.dtype, torch.float32)
    for actual, wanted in zip((first, last, score), expected.unbind(-1), strict=True):
        assert torch.equal(actual.double(), wanted)


def test_a_span_is_found():
    """The best end is before the best start, and the next best one too far after it."""
    start, end = torch.full((2, 1, 8), -4.0)
    start[0, 3], start[0, 1] = -0.5, -1.0
    end[0, 0], end[0, 7], end[0, 4] = -0.1, -0.3, -2.0
    first, last, score = decode_spans(start, end, 3)
    assert (first.tolist(), last.tolist(), score.tolist()) == ([[3]], [[4]], [[-2.5]])
    assert [x.tolist() for x in decode_spans(start, end, None)[:2]] == [[[3]], [[7]]]


@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("top_k", [1, 2, 7, 40])
@pytest.mark.parametrize("max_length", [1, 2, 3, 5, 15, 16, 10**9, None])
def test_every_span_is_right(max_length, top_k, levels):
    for length in (1, 2, 17, 33):
        start, end = draw(3, length, seed=length, levels=levels)
        check(start, end, max_length, None, top_k)
        check(start, end, max_length, draw_mask(3, length, seed=length), top_k)


@pytest.mark.parametrize("max_length", [15, 100, None])
def test_rows_of_several_blocks(max_length):
    """Rows longer than a block of threads, with a maximum length at which windows overlap."""
    start, end = draw(9, 150, levels=2)
    check(start, end, max_length, draw_mask(9, 150), 5)
    first, last, _ = decode_spans(torch.zeros(1, 300), torch.zeros(1, 300), max_length, top_k=3)
    assert (first.tolist(), last.tolist()) == ([[0, 0, 0]], [[0, 1, 2]])


def test_rows_of_one_block_are_independent():
    """With more rows than the emulator has blocks, and spans left over from previous rows."""
    start, end = draw(30, 6)
    check(start, end, None, None, 3)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("levels", [None, 2])
def test_dtypes(dtype, levels):
    start, end = draw(4, 37, dtype=dtype, levels=levels)
    check(start, end, 6, draw_mask(4, 37), 9)


def test_two_dtypes_are_promoted():
    start, end = draw(2, 9, dtype=torch.float32)
    mixed = decode_spans(start.half(), end, 4)
    assert all(map(torch.equal, mixed, decode_spans(start.half().float(), end, 4)))
    assert decode_spans(start.double(), end, 4)[2].dtype is torch.float64


def test_ends_that_score_the_same_after_the_addition():
    """1e8 + 1 and 1e8 + 2 are one number in float32: the smaller end is taken, though it is not the largest."""
    start, end = torch.tensor([[1e8, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    first, last, _ = decode_spans(start, end, 3, top_k=4)
    assert (first.tolist(), last.tolist()) == ([[0, 0, 0, 1]], [[0, 1, 2, 2]])


@pytest.mark.parametrize("value", [NAN, INF, -INF, 3e38])
@pytest.mark.parametrize("side", ["start", "end", "both"])
def test_special_scores(value, side):
    """NaN and -inf are never valid, +inf is the best, and sums that overflow are ties."""
    start, end = draw(3, 21, dtype=torch.float32)
    for x in {"start": (start,), "end": (end,), "both": (start, end)}[side]:
        x[0, ::3] = value
        x[1] = value
        x[1, 4] = -3e38
    check(start, end, 5, None, 12)
    check(start, -end, 5, draw_mask(3, 21), 12)
    assert torch.equal(decode_spans(start, end, 5)[0][2:], decode_spans(start[2:], end[2:], 5)[0])


def test_nothing_to_find():
    start, end = draw(3, 6)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[1, 2] = True
    first, last, score = decode_spans(start, end, 4, mask=mask, top_k=2)
    assert first.tolist() == last.tolist() == [[-1, -1], [2, -1], [-1, -1]]
    assert score[[0, 2]].eq(-INF).all() and score[1, 1] == -INF


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_empty(shape):
    first, last, score = decode_spans(*torch.zeros(2, *shape), 3, top_k=2)
    assert first.shape == last.shape == score.shape == (shape[0], 2)
    assert (first == -1).all() and (last == -1).all() and (score == -INF).all()


def test_the_gradient_goes_where_scores_were_taken_from():
    start, end = (x.requires_grad_() for x in draw(2, 12, levels=2))
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 1:] = False
    first, last, score = decode_spans(start, end, 4, mask=mask, top_k=3)
    weights = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]).double()
    slopes = torch.autograd.grad(score, (start, end), weights)
    for slope, index in zip(slopes, (first, last), strict=True):
        expected = torch.zeros(2, 12).double()
        for b, k in (index >= 0).nonzero().tolist():
            expected[b, index[b, k]] += weights[b, k]
        assert torch.equal(slope, expected)
    assert (first[1] >= 0).tolist() == [True, False, False]


def test_gradcheck():
    start, end = (x.requires_grad_() for x in draw(2, 7))
    assert torch.autograd.gradcheck(lambda *x: decode_spans(*x, 3, top_k=4)[2], (start, end))


def test_inputs_are_not_modified_and_may_have_any_strides():
    start, end = draw(3, 20)
    mask = draw_mask(3, 20)
    before = start.clone(), end.clone(), mask.clone()
    expected = decode_spans(start, end, 6, mask=mask, top_k=3)
    assert all(map(torch.equal, (start, end, mask), before))
    strided = decode_spans(sliced(start), end.mT.contiguous().mT, 6, mask=sliced(mask), top_k=3)
    assert all(map(torch.equal, strided, expected))


def test_repeatable_to_the_bit():
    start, end = draw(64, 900, dtype=torch.float32, levels=50)
    same_on_one_and_two_threads(lambda: decode_spans(start, end, 15, top_k=3))


@pytest.mark.parametrize("mask", [None, draw_mask(3, 9)])
def test_opcheck(mask):
    torch.library.opcheck(native_op("decode_spans"), (*draw(3, 9), mask, 4, 2))


class Decode(torch.nn.Module):
    def __init__(self, max_length, top_k=3):
        super().__init__()
        self.options = {"max_length": max_length, "top_k": top_k}

    def forward(self, start, end, mask):
        return decode_spans(start, end, mask=mask, **self.options)


def test_compiles_and_exports():
    inputs = (*draw(2, 9), draw_mask(2, 9))
    expected = Decode(4)(*inputs)
    for run in (
        torch.compile(Decode(4), fullgraph=True, backend="aot_eager"),
        torch.export.export(Decode(4), inputs).module(),
    ):
        assert all(map(torch.equal, run(*inputs), expected))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("max_length", [4, None])
def test_onnx_gives_the_same_spans(tmp_path, max_length):
    """At any size, also shorter than the limit; with ties, and with rows without a valid span."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    inputs = (*draw(2, 11, dtype=torch.float32), draw_mask(2, 11))
    any_size = tuple(dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC) for _ in inputs)
    model = Decode(max_length)
    program = torch.onnx.export(model, inputs, dynamo=True, verbose=False, dynamic_shapes=any_size)
    program.save(tmp_path / "decode.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "decode.onnx", providers=["CPUExecutionProvider"])
    for length in (2, 3, 11, 17):
        start, end = draw(4, length, seed=length, dtype=torch.float32, levels=1)
        mask = draw_mask(4, length, seed=length)
        mask[0], start[1, 0], end[2] = False, NAN, -INF
        values = (start, end, mask)
        given = {argument.name: x.numpy() for argument, x in zip(session.get_inputs(), values, strict=True)}
        assert all(map(torch.equal, map(torch.from_numpy, session.run(None, given)), model(*values)))


X, MASK = torch.zeros(2, 5), torch.ones(2, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"start": X.int()}, TypeError, "start must be a floating-point tensor, got torch.int32"),
        ({"end": 3}, TypeError, "end must be a tensor, got int"),
        ({"start": X[0]}, ValueError, r"start must have shape \(B, L\), got \(5,\)"),
        ({"end": X[:1]}, ValueError, r"end must have the shape of start, \(2, 5\), got \(1, 5\)"),
        ({"end": X.to("meta")}, ValueError, "end must be on the device of start, cpu, got meta"),
        ({"mask": X}, TypeError, "mask must be a bool tensor, got torch.float32"),
        ({"mask": MASK[:, :4]}, ValueError, r"mask must have the shape of start, \(2, 5\), got \(2, 4\)"),
        ({"max_length": 0}, ValueError, "max_length must be positive, got 0"),
        ({"max_length": 2.0}, TypeError, "max_length must be a whole number or None, got 2.0"),
        ({"top_k": 0}, ValueError, "top_k must be positive, got 0"),
        ({"top_k": 2**63}, ValueError, "top_k must be a number of 64 bits, got one of 65"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"^decode_spans: {message}"):
        decode_spans(**{"start": X, "end": X, "max_length": 3, "mask": MASK} | arguments)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("max_length", [15, None])
def test_cuda_agrees_with_the_cpu(dtype, max_length):
    start, end = draw(33, 400, dtype=dtype, levels=4)
    mask = draw_mask(33, 400)
    expected = decode_spans(start, end, max_length, mask=mask, top_k=20)
    found = decode_spans(start.cuda(), end.cuda(), max_length, mask=mask.cuda(), top_k=20)
    assert all(torch.equal(x.cpu(), y) for x, y in zip(found, expected, strict=True))


@pytest.mark.cuda
def test_does_not_wait_for_the_gpu():
    start, end = (x.cuda() for x in draw(3, 40, dtype=torch.float32))
    decode_spans(start, end, 15)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        decode_spans(start, end, 15)
    finally:
        torch.cuda.set_sync_debug_mode("default")
