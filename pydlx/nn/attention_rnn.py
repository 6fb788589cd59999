"""The attention RNN as a layer that holds the weights, in one direction or both."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from pydlx._checks import check_flag, check_one_of, whole, whole_or_none
from pydlx.ops.attention_rnn import CELLS, attention_rnn

fx.wrap("attention_rnn")  # one node in a graph of torch.fx.symbolic_trace

_NAME = "AttentionRNN"


class _AdditiveScore(nn.Module):
    """The weights of the additive scores: W_m, W_x with b, W_h and v."""

    def __init__(self, input_size: int, memory_size: int, hidden_size: int | None, attention_size: int) -> None:
        super().__init__()
        self.memory = nn.Linear(memory_size, attention_size, bias=False)
        self.input = nn.Linear(input_size, attention_size)
        self.hidden = None if hidden_size is None else nn.Linear(hidden_size, attention_size, bias=False)
        self.score = nn.Parameter(torch.empty(attention_size))
        nn.init.uniform_(self.score, -(attention_size**-0.5), attention_size**-0.5)


class AttentionRNN(nn.Module):
    """Inputs (B, n, I) and a memory (B, m, D) to (B, n, H), or (B, n, 2 H) if bidirectional.

    See :func:`pydlx.ops.attention_rnn`. Weights are initialised as in ``torch.nn.Linear`` and torch's RNN cells, and v
    uniformly within 1 / sqrt(A) of 0.

    Args:
        input_size: I.
        memory_size: D.
        hidden_size: H.
        attention_size: A, the width of the tanh layer; H if None.
        cell: ``"gru"`` or ``"lstm"``.
        gated: Whether a gate multiplies [x_t; c] before the cell, as in R-Net.
        recurrent_attention: Whether the scores depend on the state (W_h).
        bidirectional: Whether a second network reads each sequence from its last step to its first; its states are
            concatenated after the first network's.
        share_attention: Whether both directions share the attention weights; gates and cells are always separate.
    """

    def __init__(
        self,
        input_size: int,
        memory_size: int,
        hidden_size: int,
        *,
        attention_size: int | None = None,
        cell: str = "gru",
        gated: bool = True,
        recurrent_attention: bool = True,
        bidirectional: bool = False,
        share_attention: bool = False,
    ) -> None:
        super().__init__()
        self.input_size = whole(_NAME, "input_size", input_size, least=1)
        self.memory_size = whole(_NAME, "memory_size", memory_size, least=1)
        self.hidden_size = whole(_NAME, "hidden_size", hidden_size, least=1)
        self.attention_size = whole_or_none(_NAME, "attention_size", attention_size, least=1) or self.hidden_size
        check_one_of(_NAME, "cell", cell, CELLS)
        flags = {
            "gated": gated,
            "recurrent_attention": recurrent_attention,
            "bidirectional": bidirectional,
            "share_attention": share_attention,
        }
        for name, flag in flags.items():
            check_flag(_NAME, name, flag)
        if share_attention and not bidirectional:
            raise ValueError(f"{_NAME}: share_attention must be False for one direction, got True")
        self.cell = cell
        self.bidirectional = bidirectional
        joined, directions = self.input_size + self.memory_size, 2 if bidirectional else 1
        recurrent = self.hidden_size if recurrent_attention else None
        self.attention = nn.ModuleList(
            _AdditiveScore(self.input_size, self.memory_size, recurrent, self.attention_size)
            for _ in range(1 if share_attention else directions)
        )
        gates = (nn.Linear(joined, joined, bias=False) for _ in range(directions if gated else 0))
        self.gates = nn.ModuleList(gates)
        kind = nn.LSTMCell if cell == "lstm" else nn.GRUCell
        self.cells = nn.ModuleList(kind(joined, self.hidden_size) for _ in range(directions))

    def forward(
        self, inputs: Tensor, memory: Tensor, input_lengths: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """Run the network over the inputs.

        Args:
            inputs: (B, n, input_size).
            memory: (B, m, memory_size).
            input_lengths: (B,), integers from 0 to n; None if no sequence is padded.
            memory_mask: (B, m), bool, True where the memory is valid; None if all is.

        Returns:
            (B, n, H or 2 H), zeros in the padding.
        """
        outputs = [
            attention_rnn(
                inputs,
                memory,
                **self.weights(direction),
                cell=self.cell,
                lengths=input_lengths,
                memory_mask=memory_mask,
                reverse=direction == 1,
            )
            for direction in range(len(self.cells))
        ]
        return torch.cat(outputs, 2) if self.bidirectional else outputs[0]

    def weights(self, direction: int) -> dict[str, Any]:
        """The op's weight arguments by name, for direction 0 (first to last) or 1."""
        attention = cast("_AdditiveScore", self.attention[direction % len(self.attention)])
        cell = cast("nn.RNNCellBase", self.cells[direction])
        return {
            "memory_weight": attention.memory.weight,
            "input_weight": attention.input.weight,
            "bias": attention.input.bias,
            "score": attention.score,
            "weight_ih": cell.weight_ih,
            "weight_hh": cell.weight_hh,
            "bias_ih": cell.bias_ih,
            "bias_hh": cell.bias_hh,
            "state_weight": None if attention.hidden is None else attention.hidden.weight,
            "gate_weight": cast("nn.Linear", self.gates[direction]).weight if len(self.gates) else None,
        }

    def extra_repr(self) -> str:
        """Sizes and options that the printed submodules do not show."""
        text = f"{self.input_size}, {self.memory_size}, {self.hidden_size}, cell={self.cell!r}"
        return text + (", bidirectional=True" if self.bidirectional else "")
