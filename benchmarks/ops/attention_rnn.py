"""The attention RNN against a loop over steps in stock PyTorch, and against attention that ignores the state."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx.benchmarks.case import (
    COPY,
    NATIVE,
    Candidate,
    Case,
    Setting,
    Target,
    at_least,
    at_most,
    copying,
)
from pydlx.nn import AttentionRNN

LOOP = "step loop"
STATIC = "static attention"

_BATCH, _STEPS, _QUESTION, _HIDDEN = 32, 150, 15, 75  # R-Net's
_WIDTH = 2 * _HIDDEN
_LAYERS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("gated GRU", _QUESTION, {}),
    ("gated GRU, self-matching", _STEPS, {}),
    ("LSTM", _QUESTION, {"cell": "lstm", "gated": False}),
)


def cases(setting: Setting) -> Iterator[Case]:
    """R-Net's question attention and self-matching, and Match-LSTM's attention; forward, and with all gradients."""
    for direction in ("forward", "forward+backward"):
        asked = setting.device.type == "cpu" and direction != "forward"
        for name, memory, options in _LAYERS:
            targets: tuple[Target, ...] = (at_least(5, LOOP),) if asked and name != "LSTM" else ()
            if asked and name == "gated GRU":
                targets += (at_most(1.2, STATIC),)
            label = f"{name} {_BATCH}×{_STEPS}×{memory}, H {_HIDDEN} {direction}"
            yield Case(label, partial(_candidates, memory, direction, options, setting), targets)


def _candidates(memory: int, direction: str, options: dict[str, Any], setting: Setting) -> dict[str, Candidate | None]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_BATCH, _STEPS, _WIDTH, generator=generator).to(setting.device)
    other = torch.randn(_BATCH, memory, _WIDTH, generator=generator).to(setting.device)
    layer = AttentionRNN(_WIDTH, _WIDTH, _HIDDEN, **options).to(setting.device)
    ways: dict[str, nn.Module] = {NATIVE: layer, LOOP: StepLoop(layer)}
    if not options:
        ways[STATIC] = StaticAttention(_WIDTH, _WIDTH, _HIDDEN).to(setting.device)
    passes = _forward if direction == "forward" else _forward_and_backward
    return {**{name: passes(way, x, other) for name, way in ways.items()}, COPY: copying(x)}


def _forward(module: nn.Module, x: Tensor, memory: Tensor) -> Candidate:
    return torch.no_grad()(lambda: module(x, memory))


def _forward_and_backward(module: nn.Module, x: Tensor, memory: Tensor) -> Candidate:
    """With the gradients of inputs, memory and weights."""
    points = [x.detach().requires_grad_(), memory.detach().requires_grad_()]
    grad = torch.ones_like(module(*points))
    return lambda: torch.autograd.grad(module(*points), [*points, *module.parameters()], grad)


class StepLoop(nn.Module):
    """A layer of one direction as a loop over steps, with inputs and memory projected beforehand."""

    def __init__(self, layer: AttentionRNN) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Read x, without padding."""
        weights, cell = self.layer.weights(0), self.layer.cells[0]
        keys = F.linear(memory, weights["memory_weight"])
        queries = F.linear(x, weights["input_weight"], weights["bias"])
        state = (x.new_zeros(len(x), self.layer.hidden_size),) * 2
        outputs = []
        for t in range(x.shape[1]):
            query = queries[:, t] + F.linear(state[0], weights["state_weight"])
            attention = (torch.tanh(keys + query.unsqueeze(1)) @ weights["score"]).softmax(1)
            z = torch.cat([x[:, t], (attention.unsqueeze(1) @ memory).squeeze(1)], 1)
            if weights["gate_weight"] is not None:
                z = z * torch.sigmoid(F.linear(z, weights["gate_weight"]))
            state = cell(z, state) if self.layer.cell == "lstm" else (cell(z, state[0]),) * 2
            outputs.append(state[0])
        return torch.stack(outputs, 1)


class StaticAttention(nn.Module):
    """Attention that ignores the state, for all steps at once, then gate and GRU: R-Net in HKUST's implementation."""

    def __init__(self, input_size: int, memory_size: int, hidden_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(input_size, hidden_size, bias=False)
        self.key = nn.Linear(memory_size, hidden_size, bias=False)
        self.gate = nn.Linear(input_size + memory_size, input_size + memory_size, bias=False)
        self.rnn = nn.GRU(input_size + memory_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Read x, without padding."""
        scores = self.query(x).relu() @ self.key(memory).relu().mT / self.query.out_features**0.5
        z = torch.cat([x, scores.softmax(2) @ memory], 2)
        return self.rnn(z * torch.sigmoid(self.gate(z)))[0]
