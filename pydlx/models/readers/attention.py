"""Attention layers of the readers. Masks are (B, m), True at tokens; padding gets no weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx.models.text.encoders import VariationalDropout


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the elements where the mask is True, and exactly 0 elsewhere, also where the whole mask is False.

    Masked scores are set to the smallest finite number, not to -inf, because the softmax of a row of -inf is NaN in
    exported programs.
    """
    least = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, least).softmax(dim) * mask


def attend(scores: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    """Return sums (B, n, d) of values (B, m, d), weighted by the softmax of scores (B, n, m); mask is (B, m)."""
    return masked_softmax(scores, mask.unsqueeze(-2)) @ values


class DotAttention(nn.Module):
    """Attention with scores s_ij = relu(U x_i)ᵀ D relu(U y_j), where U is the same for both sides.

    It is the aligned question embedding of DrQA (Chen and others, arXiv 1704.00051, section 3.2), FusionNet's word
    fusion and, with D, its fully-aware attention (Huang and others, arXiv 1711.07341, equation 5).

    Args:
        size: Size of x and y.
        hidden: Rows of U.
        diagonal: Whether there is a trainable diagonal matrix D, which starts at 1.
        scaled: Whether scores are divided by √hidden.
        bias: Whether there is a trainable vector b: relu(U x_i + b).
        dropout: Of the input of U; one mask per sequence.
    """

    def __init__(
        self,
        size: int,
        hidden: int,
        *,
        diagonal: bool = False,
        scaled: bool = False,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = VariationalDropout(dropout)
        self.project = nn.Linear(size, hidden, bias=bias)
        self.diagonal = nn.Parameter(torch.ones(hidden)) if diagonal else None
        self.scale = hidden**-0.5 if scaled else 1.0

    def forward(self, x: Tensor, y: Tensor, mask: Tensor, values: Tensor | None = None) -> Tensor:
        """Return sums (B, n, v) of values (B, m, v), by default y, for x (B, n, size) and y (B, m, size)."""
        left, right = (self.project(self.dropout(side)).relu() for side in (x, y))
        if self.diagonal is not None:
            right = right * self.diagonal
        return attend(self.scale * left @ right.transpose(1, 2), mask, y if values is None else values)


class AdditiveAttention(nn.Module):
    """Scores s_j = vᵀ tanh(W y_j + W' x + b) of the tokens y of a text, for one query x per text.

    Bahdanau and others, arXiv 1409.0473, appendix A.1.2.

    Args:
        size: Size of y.
        query_size: Size of x.
        hidden: Size of v.
    """

    def __init__(self, size: int, query_size: int, hidden: int) -> None:
        super().__init__()
        self.keys = nn.Linear(size, hidden)
        self.query = nn.Linear(query_size, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Return scores (B, m) for x (B, query_size), given keys (B, m, hidden), which are ``self.keys(y)``."""
        return self.score((keys + self.query(x).unsqueeze(1)).tanh()).squeeze(-1)


class WeightedSummary(nn.Module):
    """Summary vector of a text: Σ softmax(s_j) y_j with s_j = w · y_j, or w · relu(W y_j + b).

    Args:
        size: Size of y.
        hidden: Rows of W; None for no W.
        dropout: Of the input of W; one mask per sequence.
    """

    def __init__(self, size: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.score: nn.Module = nn.Linear(hidden or size, 1, bias=False)
        if hidden is not None:
            self.score = nn.Sequential(VariationalDropout(dropout), nn.Linear(size, hidden), nn.ReLU(), self.score)

    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """Summarise y (B, m, size) to (B, size)."""
        return attend(self.score(y).transpose(1, 2), mask, y).squeeze(1)


class SelfAlignment(nn.Module):
    """Self-attention by the softmax of c_i·c_j over the other tokens, j ≠ i; 0 for a text of one token.

    Hu and others, "Reinforced Mnemonic Reader", arXiv 1705.02798, section 3.3.
    """

    def forward(self, c: Tensor, mask: Tensor) -> Tensor:
        """Attend from c (B, n, d) to itself; returns (B, n, d)."""
        others = ~torch.eye(c.shape[1], dtype=torch.bool, device=c.device)
        return masked_softmax(c @ c.transpose(1, 2), mask.unsqueeze(1) & others) @ c


class Coattention(nn.Module):
    """Attention in both directions between D (B, n, l) and Q (B, m, l), each with a trainable sentinel after its end.

    Xiong and others, "Dynamic coattention networks", arXiv 1611.01604, section 2.2: with L = D Q'ᵀ, A^Q its softmax
    over the passage, A^D over the question, C^Q = A^Qᵀ D and C^D = A^D [Q'; C^Q].

    Args:
        size: l.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, size)
        self.passage_sentinel = nn.Parameter(torch.randn(size) / size**0.5)
        self.question_sentinel = nn.Parameter(torch.randn(size) / size**0.5)

    def forward(
        self, passage: Tensor, question: Tensor, passage_mask: Tensor, question_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return [D; C^D] (B, n + 1, 3 l), with the sentinel's row after each text's last token, and its mask."""
        d, d_mask = _with_sentinel(passage, passage_mask, self.passage_sentinel)
        q, q_mask = _with_sentinel(question, question_mask, self.question_sentinel)
        q = self.project(q).tanh()
        scores = d @ q.transpose(1, 2)  # (B, n + 1, m + 1)
        c_q = attend(scores.transpose(1, 2), d_mask, d)  # (B, m + 1, l)
        c_d = attend(scores, q_mask, torch.cat([q, c_q], -1))  # (B, n + 1, 2 l)
        return torch.cat([d, c_d], -1).masked_fill(~d_mask.unsqueeze(-1), 0), d_mask


def _with_sentinel(x: Tensor, mask: Tensor, sentinel: Tensor) -> tuple[Tensor, Tensor]:
    """Append the sentinel after the last token of each text of x (B, n, l), before its padding; return its mask too."""
    wider = F.pad(mask, (1, 0), value=True)  # (B, n + 1), one more token in each row than in the mask
    here = wider & ~F.pad(mask, (0, 1), value=False)
    return torch.where(here.unsqueeze(-1), sentinel, F.pad(x, (0, 0, 0, 1))), wider
