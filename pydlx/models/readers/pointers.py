"""Output layers: from states of a passage to start and end scores, (B, n) each, with arbitrary values in padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pydlx._checks import check_flag, check_one_of, whole
from pydlx.models.readers.attention import AdditiveAttention, attend
from pydlx.models.readers.fusion import SFU


class AnswerPointer(nn.Module):
    """Pointer network: attends to the start, feeds what it attended to into a cell, and attends to the end.

    Vinyals and others, "Pointer networks", arXiv 1506.03134; as the boundary model of Match-LSTM (Wang and Jiang, arXiv
    1608.07905, section 2.2.3) and in R-Net: β_k = softmax(vᵀ tanh(V h_j + W h^a_{k-1} + b)), h^a_k = cell(Σ β_kj h_j,
    h^a_{k-1}).

    Args:
        size: Size of the passage's states h.
        hidden: Units of the cell, the size of h^a.
        attention_size: Rows of V.
        cell: ``"gru"`` or ``"lstm"``.
        both_ways: Whether to average the scores with those of a second pointer, which finds the end first.
    """

    def __init__(
        self, size: int, hidden: int, attention_size: int, cell: str = "gru", *, both_ways: bool = False
    ) -> None:
        super().__init__()
        check_one_of("AnswerPointer", "cell", cell, ("gru", "lstm"))
        check_flag("AnswerPointer", "both_ways", both_ways)
        kind = nn.LSTMCell if cell == "lstm" else nn.GRUCell
        self.hidden = hidden
        self.attention = nn.ModuleList(AdditiveAttention(size, hidden, attention_size) for _ in range(1 + both_ways))
        self.cells = nn.ModuleList(kind(size, hidden) for _ in range(1 + both_ways))

    def forward(self, states: Tensor, mask: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Start and end scores of states (B, n, size), from the pointer's initial state (B, hidden), by default 0."""
        if initial is None:
            initial = states.new_zeros(states.shape[0], self.hidden)
        start, end = self._point(0, states, mask, initial)
        if len(self.cells) == 1:
            return start, end
        end_first, start_last = self._point(1, states, mask, initial)
        return (start + start_last) / 2, (end + end_first) / 2

    def _point(self, which: int, states: Tensor, mask: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of the first and of the second step."""
        attention: Any = self.attention[which]
        cell = self.cells[which]
        keys = attention.keys(states)
        first = attention(hidden, keys)
        read = attend(first.unsqueeze(1), mask, states).squeeze(1)
        lstm = isinstance(cell, nn.LSTMCell)
        hidden = cell(read, (hidden, torch.zeros_like(hidden)))[0] if lstm else cell(read, hidden)
        return first, attention(hidden, keys)


class BilinearPointer(nn.Module):
    """Start scores qᵀ W_s h_j and end scores q'ᵀ W_e h_j; q' is q, or GRU(q, Σ softmax(start)_j h_j).

    Without the GRU it is DrQA's output layer (Chen and others, arXiv 1704.00051, section 3.2), with it FusionNet's
    (Huang and others, arXiv 1711.07341, equations 8 to 10).

    Args:
        size: Size of the passage's states h.
        query_size: Size of the question's summary q.
        update: Whether a GRU updates q between start and end.
    """

    def __init__(self, size: int, query_size: int, *, update: bool = False) -> None:
        super().__init__()
        check_flag("BilinearPointer", "update", update)
        self.start = nn.Linear(query_size, size, bias=False)
        self.end = nn.Linear(query_size, size, bias=False)
        self.cell = nn.GRUCell(size, query_size) if update else None

    def forward(self, states: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end scores of states (B, n, size), given the question's summary (B, query_size)."""
        start = (states @ self.start(query).unsqueeze(2)).squeeze(2)
        if self.cell is not None:
            query = self.cell(attend(start.unsqueeze(1), mask, states).squeeze(1), query)
        return start, (states @ self.end(query).unsqueeze(2)).squeeze(2)


class FeedForwardPointer(nn.Module):
    """Scores w · relu(W h_j + b) of two networks, one for the start and one for the end.

    It is the output layer of MPCM (Wang, Mi, Hamza and Florian, arXiv 1612.04211, section 3) and of RaSoR's endpoint
    prediction (Lee and others, arXiv 1611.01436, section 5.2).

    Args:
        size: Size of the passage's states h.
        hidden: Rows of W.
        dropout: Of h, independently in each network.
    """

    def __init__(self, size: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.start, self.end = (
            nn.Sequential(nn.Dropout(dropout), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False))
            for _ in range(2)
        )

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end scores of states (B, n, size)."""
        return self.start(states).squeeze(-1), self.end(states).squeeze(-1)


class MemoryPointer(nn.Module):
    """Memory-based answer pointer: several hops, each fusing its memory with what it attended to.

    Hu and others, "Reinforced Mnemonic Reader", arXiv 1705.02798, section 3.4. A hop is s = FFN_s[c; z_s; c ∘ z_s],
    u_s = Σ softmax(s) c and z_e = SFU(z_s, u_s), then e and u_e in the same way from z_e, and z_s = SFU(z_e, u_e) for
    the next hop. Only the last hop's scores are returned.

    Args:
        size: Size of the passage's states c and of the memory z.
        hidden: Hidden size of the feed-forward networks FFN.
        hops: T, number of hops, each with its own weights.
        dropout: Within the feed-forward networks.
    """

    def __init__(self, size: int, hidden: int, hops: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        count = 2 * whole("MemoryPointer", "hops", hops, 1)
        self.score = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * size, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))
            for _ in range(count)
        )
        self.fuse = nn.ModuleList(SFU(size, size) for _ in range(count - 1))  # the last end needs no fusion after it

    def forward(self, states: Tensor, mask: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end scores of states (B, n, size), with the question's final state (B, size) as first memory."""
        scores: list[Tensor] = []
        for turn, score in enumerate(self.score):  # start, end, start, end, ...
            z = memory.unsqueeze(1).expand_as(states)
            scores.append(score(torch.cat([states, z, states * z], -1)).squeeze(-1))
            if turn < len(self.fuse):
                pointed_at = attend(scores[-1].unsqueeze(1), mask, states).squeeze(1)
                memory = self.fuse[turn](memory, pointed_at)
        return scores[-2], scores[-1]


class SpanScoring(nn.Module):
    """Scores of whole spans: s_ij = w · relu(W_s h_i + W_e h_j + b) for i ≤ j < i + max_length.

    Lee and others, "Learning recurrent span representations" (RaSoR), arXiv 1611.01436, equations 5 and 6. Neither
    forward nor backward builds a tensor of size (B, n, max_length, hidden).

    Args:
        size: Size of the passage's states h.
        hidden: Hidden size of the feed-forward network.
        max_length: Maximum number of tokens of a span.
        dropout: Of h, with separate masks for starts and ends.
    """

    def __init__(self, size: int, hidden: int, max_length: int = 30, dropout: float = 0.0) -> None:
        super().__init__()
        self.max_length = whole("SpanScoring", "max_length", max_length, 1)
        self.dropout = nn.Dropout(dropout)
        self.start = nn.Linear(size, hidden)
        self.end = nn.Linear(size, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return scores (B, n, max_length), at least float32, of states (B, n, size).

        [:, i, k] is the score of the span from token i to token i + k, -inf if it reaches into padding.
        """
        starts, ends = self.start(self.dropout(states)), self.end(self.dropout(states))
        wide = torch.promote_types(starts.dtype, torch.float32)
        given = (starts.to(wide), ends.to(wide), self.score.weight[0].to(wide), self.max_length)
        with torch.autocast(states.device.type, enabled=False):
            scores = _span_scores(*given) if torch.compiler.is_compiling() else _SpanScores.apply(*given)
        last = nn.functional.pad(mask, (0, self.max_length - 1)).unfold(
            1, self.max_length, 1
        )  # (B, n, max_length): is i + k a token?
        return scores.masked_fill(~last, -torch.inf)


def _span_scores(starts: Tensor, ends: Tensor, weight: Tensor, max_length: int) -> Tensor:
    """Return w · relu(s_i + e_{i+k}), (B, n, max_length), for s and e (B, n, h), one k at a time; 0 where i + k ≥ n."""
    length = starts.shape[1]
    scores = []
    for k in range(max_length):
        inside = max(length - k, 0)
        of_length = (starts[:, :inside] + ends[:, length - inside :]).relu() @ weight
        scores.append(nn.functional.pad(of_length, (0, length - inside)))
    return torch.stack(scores, 2)


class _SpanScores(torch.autograd.Function):
    """`_span_scores` with a backward that keeps only the inputs.

    Let M_ik = [s_i + e_{i+k} > 0], g the gradient of the scores, A_i = Σ_k g_ik M_ik and C_j = Σ_k g_{j-k,k} M_{j-k,k}.
    Then the gradient of s is A ∘ w, that of e is C ∘ w, and that of w is Σ_i s_i ∘ A_i + Σ_j e_j ∘ C_j.
    """

    @staticmethod
    def forward(ctx: Any, starts: Tensor, ends: Tensor, weight: Tensor, max_length: int) -> Tensor:
        """Compute the scores, and keep the inputs for `backward`."""
        ctx.save_for_backward(starts, ends, weight)
        return _span_scores(starts, ends, weight, max_length)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Compute the gradients from the inputs, one k at a time."""
        starts, ends, weight = ctx.saved_tensors
        length = starts.shape[1]
        of_starts, of_ends = torch.zeros_like(starts), torch.zeros_like(ends)
        for k, of_length in enumerate(grad.unbind(2)[:length]):
            pair = starts[:, : length - k] + ends[:, k:]
            pair.gt_(0).mul_(of_length[:, : length - k].unsqueeze(2))
            of_starts[:, : length - k] += pair
            of_ends[:, k:] += pair
        of_weight = (starts * of_starts).sum((0, 1)) + (ends * of_ends).sum((0, 1))
        return of_starts * weight, of_ends * weight, of_weight, None
