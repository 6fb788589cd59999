"""The attention RNN against a loop over examples and steps in float64, written from the papers' equations."""

from __future__ import annotations

import copy
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from op_checks import FLOATS, assert_close, native_op, same_on_one_and_two_threads

import pydlx
from pydlx.nn import AttentionRNN
from pydlx.ops import attention_rnn
from pydlx.ops.attention_rnn import _hoisted, attention_rnn_reference

INF, NAN = math.inf, math.nan

# cell, gated, recurrent attention
KINDS = list(itertools.product(("gru", "lstm"), (True, False), (True, False)))


def read_one(weights, cell, x, memory):
    """The states of one sequence (n, I) with its memory (m, D), computed one vector at a time."""
    hidden = torch.zeros(weights.weight_hh.shape[1], dtype=x.dtype)
    state = torch.zeros_like(hidden)
    states = []
    for x_t in x:
        scores = []
        for m_j in memory:
            inner = weights.memory_weight @ m_j + weights.input_weight @ x_t + weights.bias
            if weights.state_weight is not None:
                inner = inner + weights.state_weight @ hidden
            scores.append(weights.score @ inner.tanh())
        e = (torch.stack(scores) - max(scores)).exp()
        z = torch.cat([x_t, (e / e.sum()) @ memory])
        if weights.gate_weight is not None:
            z = z / (1 + (-(weights.gate_weight @ z)).exp())
        cell_weights = weights.weight_ih, weights.weight_hh, weights.bias_ih, weights.bias_hh
        if cell == "lstm":
            hidden, state = (v[0] for v in torch.lstm_cell(z[None], (hidden[None], state[None]), *cell_weights))
        else:
            hidden = torch.gru_cell(z[None], hidden[None], *cell_weights)[0]
        states.append(hidden)
    return states


def read_batch(layer, x, memory, lengths, mask):
    """The expected output of the layer, computed example by example."""
    rows = []
    for b, length in enumerate(lengths.tolist()):
        sides = []
        for direction in range(len(layer.cells)):
            weights = SimpleNamespace(**layer.weights(direction))
            one = x[b, :length].flip(0) if direction else x[b, :length]
            states = read_one(weights, layer.cell, one, memory[b][mask[b]])
            states = states[::-1] if direction else states
            padding = [torch.zeros(layer.hidden_size, dtype=x.dtype)] * (x.shape[1] - length)
            sides.append(torch.stack(states + padding))
        rows.append(torch.cat(sides, 1))
    return torch.stack(rows)


def scene(batch=3, n=5, m=4, sizes=(3, 4, 5), dtype=torch.float64, seed=0, **options):
    """A layer, inputs, memory, lengths and a mask."""
    torch.manual_seed(seed)
    layer = AttentionRNN(*sizes, **options).double()
    x = torch.randn(batch, n, sizes[0], dtype=torch.float64)
    memory = torch.randn(batch, m, sizes[1], dtype=torch.float64)
    lengths = torch.randint(1, n + 1, (batch,))
    mask = torch.rand(batch, m) < 0.6
    mask[torch.arange(batch), torch.randint(m, (batch,))] = True
    return layer.to(dtype), x.to(dtype), memory.to(dtype), lengths, mask


def gradients(y, *inputs):
    grad = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7)).to(y)
    return torch.autograd.grad(y, inputs, grad)


@pytest.mark.parametrize(("cell", "gated", "recurrent_attention"), KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("m", [2, 4])  # short and long for a memory of four channels
def test_values_and_gradients(cell, gated, recurrent_attention, bidirectional, m):
    layer, x, memory, lengths, mask = scene(
        m=m, cell=cell, gated=gated, recurrent_attention=recurrent_attention, bidirectional=bidirectional
    )
    inputs = [x.requires_grad_(), memory.requires_grad_(), *layer.parameters()]
    y = layer(x, memory, lengths, mask)
    wanted = read_batch(layer, x, memory, lengths, mask)
    assert_close(y, wanted)
    for grad, expected in zip(gradients(y, *inputs), gradients(wanted, *inputs), strict=True):
        assert_close(grad, expected)


def read_and_gradients(layer, x, memory, lengths=None, mask=None):
    """Output and the gradients of inputs, memory and parameters, in one list."""
    points = [x.detach().requires_grad_(), memory.detach().requires_grad_()]
    y = layer(*points, lengths, mask)
    return [y.detach(), *gradients(y, *points, *layer.parameters())]


def on_reference(layer, *arguments):
    """Output and gradients of the reference in float64."""
    layer = copy.deepcopy(layer).double()
    arguments = [x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in arguments]
    with pydlx.backend("reference"):
        return read_and_gradients(layer, *arguments)


def assert_all_close(found, expected, tolerance=None):
    """Compare relative to the largest element of each tensor."""
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        limit = tolerance or {torch.float64: 1e-11, torch.float32: 2e-5}[a.dtype]
        assert (a.double() - b).abs().max() <= limit * (b.abs().max() + 1e-3), i


# Around the vectors, panels of four of them, tiles and blocks of rows: batch, n, m, then I, D and H.
SIZES = [
    (1, 3, 1, (1, 1, 1)),
    (2, 2, 17, (5, 3, 16)),
    (9, 3, 5, (17, 33, 31)),
    (33, 2, 3, (3, 10, 7)),
    (13, 4, 19, (40, 7, 70)),
    (6, 3, 33, (65, 130, 65)),
]


@pytest.mark.parametrize(("cell", "gated", "recurrent_attention"), KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size, dtype, cell, gated, recurrent_attention, kernels):
    batch, n, m, sizes = size
    if kernels == "emulated" and batch * max(sizes) > 300:
        pytest.skip("slow on the emulator, whose blocks know no tiles")
    scenery = scene(batch, n, m, sizes, dtype, cell=cell, gated=gated, recurrent_attention=recurrent_attention)
    assert_all_close(read_and_gradients(*scenery), on_reference(*scenery))


@pytest.mark.parametrize("attention_size", [3, 16, 90])
def test_attention_of_another_width(attention_size):
    scenery = scene(5, 3, 4, attention_size=attention_size, bidirectional=True)
    assert_all_close(read_and_gradients(*scenery), on_reference(*scenery))


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes(dtype, gated):
    """float16 and bfloat16 round the products before the recurrence, which runs in float32, and the states."""
    scenery = scene(4, 6, 5, (8, 12, 9), dtype, gated=gated, bidirectional=True)
    found = read_and_gradients(*scenery)
    assert {x.dtype for x in found} == {dtype}
    assert_all_close(found, on_reference(*scenery), {torch.float16: 5e-3, torch.bfloat16: 4e-2}.get(dtype))


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize(("cell", "gated"), [("gru", True), ("lstm", False)])
def test_a_padded_batch_is_its_examples_alone(cell, gated, m):
    layer, x, memory, lengths, mask = scene(9, 6, m, cell=cell, gated=gated, bidirectional=True)
    y, dx, d_memory, *d_weights = read_and_gradients(layer, x, memory, lengths, mask)
    total = [torch.zeros_like(d) for d in d_weights]
    grad = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    for b, length in enumerate(lengths.tolist()):
        one, its = x[b : b + 1, :length].requires_grad_(), memory[b : b + 1, mask[b]].requires_grad_()
        alone = layer(one, its)
        assert_close(y[b, :length], alone[0])
        assert (y[b, length:] == 0).all()
        d_one, d_its, *d_alone = torch.autograd.grad(alone, [one, its, *layer.parameters()], grad[b : b + 1, :length])
        assert_close(dx[b, :length], d_one[0])
        assert_close(d_memory[b, mask[b]], d_its[0])
        total = [a + b for a, b in zip(total, d_alone, strict=True)]
    for found, expected in zip(d_weights, total, strict=True):
        assert_close(found, expected, atol=1e-11)


@pytest.mark.parametrize("poison", [NAN, INF, -INF, 1e30])
@pytest.mark.parametrize(("cell", "gated"), [("gru", True), ("lstm", False)])
@pytest.mark.parametrize("m", [2, 4])
def test_padding_has_no_effect(m, cell, gated, poison):
    """Output and gradients do not depend on padding and masked memory, whose own gradients are 0."""
    layer, x, memory, lengths, mask = scene(4, 6, m, cell=cell, gated=gated, bidirectional=True)
    lengths, mask[:, 0] = torch.tensor([6, 1, 3, 0]), True
    mask[1, 1:] = False
    padding = torch.arange(6) >= lengths.unsqueeze(1)
    clean = read_and_gradients(layer, x, memory, lengths, mask)
    dirty = read_and_gradients(
        layer, x.masked_fill(padding[..., None], poison), memory.masked_fill(~mask[..., None], poison), lengths, mask
    )
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a, b)
    assert (dirty[0][padding] == 0).all()
    assert (dirty[1][padding] == 0).all()
    assert (dirty[2][~mask] == 0).all()


@pytest.mark.parametrize(("cell", "gated"), [("gru", True), ("lstm", False)])
@pytest.mark.parametrize("where", ["inputs", "memory"])
def test_nan_stays_in_its_own_example(where, cell, gated):
    layer, x, memory, _, _ = scene(9, 4, 3, cell=cell, gated=gated)
    (x if where == "inputs" else memory)[5, 2, 1] = NAN
    y, dx, d_memory, *_ = read_and_gradients(layer, x, memory)
    first = 2 if where == "inputs" else 0
    assert y[5, first:].isnan().all()
    assert not y[5, :first].isnan().any()
    for tensor in (y, dx, d_memory):
        others = torch.arange(9) != 5
        assert not tensor[others].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [15.0, 40.0, 1e4])
def test_large_queries_and_keys_that_cancel(scale, dtype, kernels):
    """exp(2 (keys + q)) cannot be computed as a product here, because one factor would be infinite."""
    layer, x, memory, lengths, mask = scene(3, 4, 5, dtype=dtype)
    operands = [t if t is None else t.detach() for t in operands_of(layer, x, memory)]
    shift = scale * torch.tensor([1.0, -1.0, 1.0, 0.01, -0.5], dtype=dtype)
    operands[0], operands[1] = operands[0] + shift, operands[1] - shift

    def outputs_and_gradients(op, dtype):
        given = [t if t is None else t.to(dtype).requires_grad_() for t in operands]
        y, attention, _ = op(*given, lengths, mask, False, False)
        return [y, attention, *gradients(y, *(t for t in given if t is not None))]

    op = attention_rnn_reference if kernels == "reference" else native_op("attention_rnn")
    found, expected = outputs_and_gradients(op, dtype), outputs_and_gradients(attention_rnn_reference, torch.float64)
    # Rounded as numbers of that size are.
    assert_all_close(found, expected, scale * (2e-6 if dtype == torch.float32 else 1e-14))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("cell", "gated"), [("gru", True), ("lstm", False)])
def test_huge_numbers_give_finite_results(cell, gated, dtype):
    layer, x, memory, lengths, mask = scene(3, 4, 2, dtype=dtype, cell=cell, gated=gated)
    for tensor in read_and_gradients(layer, x * 1e8, memory * 1e8, lengths, mask):
        assert tensor.isfinite().all()


@pytest.mark.parametrize("layout", ["transposed", "expanded", "stepped"])
def test_strides(layout):
    layer, x, memory, lengths, mask = scene(4, 6, 4)
    given = {
        "transposed": (x.transpose(0, 1).contiguous().transpose(0, 1), memory.mT.contiguous().mT),
        "expanded": (x[:1].expand_as(x), memory[:, :1].expand_as(memory)),
        "stepped": (x.repeat_interleave(2, 2)[..., ::2], memory.flip(1).flip(1)),
    }[layout]
    plain = [t.contiguous() for t in given]
    found, expected = (read_and_gradients(layer, *pair, lengths, mask) for pair in (given, plain))
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3)])
def test_empty(shape, kernels):
    batch, n, m = shape
    if kernels == "reference" and n == 0:
        pytest.skip("autograd sees no operand in no steps")
    layer, x, memory, _, _ = scene(batch, max(1, n), m)
    for reading in (layer, scene(bidirectional=True, cell="lstm", gated=False)[0]):
        y, dx, d_memory, *d_weights = read_and_gradients(reading, x[:, :n], memory)
        assert y.shape == (batch, n, 5 * len(reading.cells))
        assert dx.shape == (batch, n, 3)
        assert all((d == 0).all() for d in (d_memory, *d_weights))


def test_sequences_of_no_steps_give_zeros():
    layer, x, memory, _, mask = scene(3, 5)
    y, dx, d_memory, *d_weights = read_and_gradients(layer, x, memory, torch.zeros(3, dtype=torch.int32), mask)
    assert all((tensor == 0).all() for tensor in (y, dx, d_memory, *d_weights))


def test_example_without_memory_raises():
    layer, x, memory, _, mask = scene()
    mask[1] = False
    with pytest.raises(ValueError, match="must leave every example some memory, got none for example 1"):
        layer(x, memory, None, mask)


@pytest.mark.parametrize("gated", [True, False])
def test_unchecked_lengths_are_cut_and_empty_memory_is_zero(gated, kernels):
    """On a GPU and in compiled graphs, where values are not checked, wrong ones have a defined result."""
    layer, x, memory, _, _ = scene(gated=gated)
    operands = operands_of(layer, x, memory)
    op = attention_rnn_reference if kernels == "reference" else native_op("attention_rnn")
    mask = torch.tensor([True, False, True]).unsqueeze(1).expand(3, 4)
    y, attention, _ = op(*operands, torch.tensor([9, 5, -3]), mask, False, False)
    assert (attention[1] == 0).all()
    assert (y[2] == 0).all()
    assert_close(y[0], layer(x, memory)[0])
    assert operands[7] is None  # so that the context is made of the values alone
    operands[5] = torch.zeros_like(operands[5])
    without = op(*operands, None, None, False, False)[0]
    assert_close(y[1], without[1])


def operands_of(layer, x, memory):
    return _hoisted(x, memory, layer.weights(0))


@pytest.mark.parametrize(("cell", "gated", "recurrent_attention"), KINDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("m", [2, 4])
def test_kept_for_the_backward_pass(m, reverse, cell, gated, recurrent_attention, kernels):
    """The op's other outputs equal those of the reference, including zeros in the padding."""
    if kernels == "reference":
        pytest.skip("compares with it")
    layer, x, memory, lengths, mask = scene(m=m, cell=cell, gated=gated, recurrent_attention=recurrent_attention)
    given = (*operands_of(layer, x, memory), lengths, mask, cell == "lstm", reverse)
    for found, expected in zip(native_op("attention_rnn")(*given), attention_rnn_reference(*given), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("m", [2, 4])
def test_op_reads_no_padding(m, gated, kernels):
    """The layer zeroes padding before it calls the op; direct callers may not."""
    if kernels == "reference":
        pytest.skip("a promise of the kernels")
    layer, x, memory, _, mask = scene(m=m, gated=gated)
    lengths, mask[:, 0], mask[1, 1:] = torch.tensor([5, 2, 3]), True, False
    clean = [t if t is None else t.detach() for t in operands_of(layer, x, memory)]
    padding = torch.arange(5) >= lengths.unsqueeze(1)
    outside = dict.fromkeys((0, 4, 6), padding) | dict.fromkeys((1, 5, 7), ~mask)
    dirty = [
        t.masked_fill(outside[i].unsqueeze(2), NAN) if i in outside and t is not None else t
        for i, t in enumerate(clean)
    ]
    results = []
    for operands in (clean, dirty):
        given = (*operands, lengths, mask, False, False)
        outputs = native_op("attention_rnn")(*given)
        results.append([*outputs, *native_op("_attention_rnn_backward")(torch.ones_like(outputs[0]), *outputs, *given)])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_no_tensor_of_steps_times_memory_times_width_is_saved(kernels):
    if kernels == "reference":
        pytest.skip("the reference keeps what autograd wants")
    layer, x, memory, lengths, mask = scene(2, 40, 40, (3, 3, 4), attention_size=30)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        layer(x.requires_grad_(), memory, lengths, mask)
    assert max(sizes) < 2 * 40 * 120 < 2 * 40 * 40 * 30 / 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_repeatable_to_the_bit(dtype, kernels):
    """Only the recurrence, forward and backward; the products around it are torch's."""
    if kernels == "reference":
        pytest.skip("is made of torch's products")
    layer, x, memory, lengths, mask = scene(33, 8, 9, (10, 12, 11), dtype)
    given = (*operands_of(layer, x, memory), lengths, mask, False, True)

    def there_and_back():
        outputs = native_op("attention_rnn")(*given)
        return outputs, native_op("_attention_rnn_backward")(torch.ones_like(outputs[0]), *outputs, *given)

    same_on_one_and_two_threads(there_and_back)


@pytest.mark.parametrize(("cell", "gated", "recurrent_attention"), KINDS)
@pytest.mark.parametrize("m", [1, 2])
def test_gradcheck(m, cell, gated, recurrent_attention):
    layer, x, memory, lengths, mask = scene(
        2, 2, m, (2, 3, 2), cell=cell, gated=gated, recurrent_attention=recurrent_attention
    )
    names = [name for name, weight in layer.weights(0).items() if weight is not None]
    weights = [layer.weights(0)[name].detach().requires_grad_() for name in names]

    def run(x, memory, *weights):
        given = dict(zip(names, weights, strict=True))
        return attention_rnn(x, memory, **given, cell=cell, lengths=lengths, memory_mask=mask, reverse=True)

    points = (x.requires_grad_(), memory.requires_grad_(), *weights)
    assert torch.autograd.gradcheck(run, points, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, points, fast_mode=True)


@pytest.mark.parametrize(("cell", "gated"), [("gru", True), ("lstm", False)])
def test_opcheck(cell, gated, kernels):
    if kernels == "reference":
        pytest.skip("checks the registration of kernels")
    layer, x, memory, lengths, mask = scene(2, 2, 3, cell=cell, gated=gated)
    operands = [t if t is None else t.detach().requires_grad_() for t in operands_of(layer, x, memory)]
    given = (*operands, lengths, mask, cell == "lstm", False)
    torch.library.opcheck(native_op("attention_rnn"), given)
    outputs = [t.detach() for t in native_op("attention_rnn")(*given)]
    plain = [t.detach() if isinstance(t, torch.Tensor) else t for t in given]
    torch.library.opcheck(native_op("_attention_rnn_backward"), (torch.ones_like(outputs[0]), *outputs, *plain))


def test_autocast_rounds_the_products_only():
    layer, x, memory, lengths, mask = scene(2, 5, 3, (16, 16, 16), torch.float32)
    expected = layer(x, memory, lengths, mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, memory, lengths, mask)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)


def test_layer_shares_attention_between_directions():
    shared, own = (AttentionRNN(3, 4, 5, bidirectional=True, share_attention=share) for share in (True, False))
    assert len(shared.attention) == 1
    assert len(own.attention) == 2
    assert len(shared.cells) == len(shared.gates) == 2
    assert shared.weights(0)["score"] is shared.weights(1)["score"]
    assert shared.weights(0)["weight_ih"] is not shared.weights(1)["weight_ih"]
    with pytest.raises(ValueError, match="share_attention must be False for one direction"):
        AttentionRNN(3, 4, 5, share_attention=True)


def test_bidirectional_output_concatenates_both_directions():
    layer, x, memory, lengths, mask = scene(bidirectional=True)
    y = layer(x, memory, lengths, mask)
    for direction in (0, 1):
        alone = attention_rnn(
            x, memory, **layer.weights(direction), lengths=lengths, memory_mask=mask, reverse=direction == 1
        )
        assert torch.equal(y[..., 5 * direction : 5 * direction + 5], alone)
