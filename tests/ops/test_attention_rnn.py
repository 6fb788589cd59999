"""The attention RNN against a loop over examples and steps in float64, written from the papers' equations."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from op_checks import assert_close

from pydlx.nn import AttentionRNN

# cell, gated, recurrent attention
KINDS = list(itertools.product(("gru", "lstm"), (True, False), (True, False)))


def read_one(weights, cell, x, memory):
    """One sequence (n, I) with its memory (m, D): a list of states, one vector at a time."""
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
    """What the layer should give, each example alone."""
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
