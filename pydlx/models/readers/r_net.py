"""R-Net. Wang, Yang, Wei, Chang and Zhou, "Gated self-matching networks for reading comprehension", ACL 2017."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_flag, check_one_of
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import AdditiveAttention, DotAttention, attend
from pydlx.models.readers.fusion import Gate
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.pointers import AnswerPointer
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterRNN
from pydlx.models.text.encoders import RNN, VariationalDropout
from pydlx.nn import AttentionRNN


class DynamicMatching(nn.Module):
    """The paper's layer: v_t = GRU(v_{t-1}, g ∘ [u_t; c_t]), where c_t may depend on v_{t-1}. See `AttentionRNN`."""

    def __init__(self, size: int, hidden: int, *, dropout: float, recurrent: bool, bidirectional: bool) -> None:
        super().__init__()
        self.rnn = AttentionRNN(
            size,
            size,
            hidden,
            recurrent_attention=recurrent,
            bidirectional=bidirectional,
            share_attention=bidirectional and not recurrent,  # without recurrence c_t is the same in both directions
        )
        self.dropout = VariationalDropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, memory_mask: Tensor) -> Tensor:
        """Return states (B, n, hidden), or 2 hidden if bidirectional, of x (B, n, size) and memory (B, m, size)."""
        return self.rnn(self.dropout(x), self.dropout(memory), mask.sum(1), memory_mask)


class StaticMatching(nn.Module):
    """The same with c_t = Σ softmax(relu(W u_t) · relu(W u_j) / √hidden) u_j, which does not depend on the GRU's state.

    Most public implementations of R-Net do this: only the GRU is sequential, so it is much faster.
    """

    def __init__(self, size: int, hidden: int, *, dropout: float, bidirectional: bool) -> None:
        super().__init__()
        self.attention = DotAttention(size, hidden, scaled=True, dropout=dropout)
        self.gate = Gate(2 * size)
        self.rnn = RNN(2 * size, hidden, cell="gru", bidirectional=bidirectional, dropout=dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor, memory_mask: Tensor) -> Tensor:
        """Return states (B, n, hidden), or 2 hidden if bidirectional, of x (B, n, size) and memory (B, m, size)."""
        return self.rnn(self.gate(torch.cat([x, self.attention(x, memory, memory_mask)], -1)), mask)


@register_model("r_net")
class RNet(Reader):
    """Gated attention of the passage to the question, then to itself, and a pointer network.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0 for no characters.
        character_dim: Size of a character's vector.
        character_hidden: Units per direction of the GRU over characters.
        features: Number of features of a token.
        hidden: Units of every GRU per direction, and of every attention.
        dropout: Of the input of every GRU and attention; one mask per sequence.
        attention: ``"dynamic"``, the paper's, see `DynamicMatching`, or ``"static"``, see `StaticMatching`.
        recurrent_self_matching: Whether the scores of self-matching depend on the GRU's state, too; with dynamic
            attention only.
        both_ways: Whether the gated attention to the question is bidirectional.
        concatenate_layers: Whether to use the states of all three layers of the first GRU, concatenated, or of the last
            layer only.
        last_gru: Whether another GRU follows self-matching, as in the second version of the authors' report.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 8,
        character_hidden: int = 100,
        features: int = 0,
        hidden: int = 75,
        dropout: float = 0.2,
        attention: str = "dynamic",
        recurrent_self_matching: bool = False,
        both_ways: bool = True,
        concatenate_layers: bool = True,
        last_gru: bool = False,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterRNN(character_count, character_dim, character_hidden) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        check_one_of("RNet", "attention", attention, ("dynamic", "static"))
        check_flag("RNet", "recurrent_self_matching", recurrent_self_matching)
        check_flag("RNet", "both_ways", both_ways)
        check_flag("RNet", "last_gru", last_gru)
        if recurrent_self_matching and attention == "static":
            raise ValueError("RNet: recurrent_self_matching must be False with static attention, got True")

        def matching(size: int, recurrent: bool, bidirectional: bool) -> DynamicMatching | StaticMatching:
            if attention == "static":
                return StaticMatching(size, hidden, dropout=dropout, bidirectional=bidirectional)
            return DynamicMatching(size, hidden, dropout=dropout, recurrent=recurrent, bidirectional=bidirectional)

        self.encoder = RNN(self.embed.size, hidden, 3, cell="gru", dropout=dropout, concatenate=concatenate_layers)
        size, h = self.encoder.output, 2 * hidden
        self.question_matching = mark_fusion(matching(size, True, both_ways), "high")
        self.self_matching = mark_fusion(matching(h if both_ways else hidden, recurrent_self_matching, True), "self")
        self.last_gru = RNN(h, hidden, cell="gru", dropout=dropout) if last_gru else None
        self.V_r = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.summary = AdditiveAttention(size, hidden, hidden)
        self.pointer = AnswerPointer(h, size, hidden, "gru")
        self.dropout = VariationalDropout(dropout)

    def encode(self, tokens: Tokens) -> Tensor:
        """Return u, (B, n, size)."""
        return self.encoder(torch.cat(self.embed(tokens), -1), tokens.mask)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens."""
        P, Q = passage.mask, question.mask
        u_P, u_Q = self.encode(passage), self.encode(question)  # (B, n, size), (B, m, size)
        v = self.question_matching(u_P, u_Q, P, Q)  # (B, n, 2 hidden)
        h = self.self_matching(v, v, P, P)  # (B, n, 2 hidden)
        if self.last_gru is not None:
            h = self.last_gru(h, P)
        scores = self.summary(self.V_r.unsqueeze(0), self.summary.keys(u_Q))  # (B, m)
        r_Q = attend(scores.unsqueeze(1), Q, u_Q).squeeze(1)  # (B, size)
        start, end = self.pointer(self.dropout(h), P, r_Q)
        return self.scores(start, end, P)
