"""FusionNet. Huang, Zhu, Shen and Chen, "Fusing via fully-aware attention", arXiv 1711.07341."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_one_of
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import DotAttention, WeightedSummary
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.pointers import BilinearPointer
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN


@register_model("fusionnet")
class FusionNet(Reader):
    """Fully-aware attention: scores use the history of a word, the concatenation of its vectors from all layers below.

    The paper's contextual vectors, CoVe, are left out.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0, as in the paper, for none.
        character_filters: Filters of the character CNN; its output is concatenated to g.
        features: Number of features of a passage token; question features are not used.
        hidden: Units of an LSTM per direction.
        attention_size: k, rows of U in every attention.
        dropout: Of the input of every LSTM and attention; one mask per sequence.
        second_input: What the second LSTM of the reading layer reads: ``"low"``, the states of the first, or
            ``"input_and_low"``, its input too, as in the authors' code for natural language inference.
    """

    reads_question_features = False
    features_in_paper = True

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 1000,
        character_count: int = 0,
        character_dim: int = 16,
        character_filters: int = 100,
        features: int = 0,
        hidden: int = 125,
        attention_size: int = 250,
        dropout: float = 0.4,
        second_input: str = "low",
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterCNN(character_count, character_dim, character_filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        check_one_of("FusionNet", "second_input", second_input, ("low", "input_and_low"))
        self.second_input = second_input
        g, h, k = self.embed.size - features, 2 * hidden, attention_size
        word, history = g + features + g, g + 2 * h

        def lstm(size: int) -> RNN:
            return RNN(size, hidden, dropout=dropout)

        def fully_aware(size: int) -> DotAttention:
            return DotAttention(size, k, diagonal=True, dropout=dropout)

        def second(size: int) -> RNN:
            return lstm(h if second_input == "low" else size + h)

        self.word_fusion = mark_fusion(DotAttention(g, g, dropout=dropout), "word")
        self.passage_low, self.passage_high = lstm(word), second(word)
        self.question_low, self.question_high = lstm(g), second(g)
        self.understanding = lstm(2 * h)
        self.fuse_low, self.fuse_high, self.fuse_understanding = (
            mark_fusion(fully_aware(history), "high") for _ in range(3)
        )
        self.fused = lstm(5 * h)
        self.self_boost = mark_fusion(fully_aware(history + 4 * h), "self")
        self.context = lstm(2 * h)
        self.summary = WeightedSummary(h)
        self.pointer = BilinearPointer(h, h, update=True)

    def read(self, low: nn.Module, high: nn.Module, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return h^l and h^h, (B, n, h) each."""
        states = low(x, mask)
        return states, high(states if self.second_input == "low" else torch.cat([x, states], -1), mask)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens. LSTM states have size h = 2 hidden."""
        C, Q = passage.mask, question.mask
        g_C, g_Q = (torch.cat(self.embed.vectors(text), -1) for text in (passage, question))  # (B, n, g), (B, m, g)
        g_fused = self.word_fusion(g_C, g_Q, Q)  # (B, n, g)
        word = torch.cat([g_C, *self.embed.feature_vectors(passage), g_fused], -1)

        hl_C, hh_C = self.read(self.passage_low, self.passage_high, word, C)  # (B, n, h) each
        hl_Q, hh_Q = self.read(self.question_low, self.question_high, g_Q, Q)  # (B, m, h) each
        U_Q = self.understanding(torch.cat([hl_Q, hh_Q], -1), Q)  # (B, m, h)

        HoW_C, HoW_Q = torch.cat([g_C, hl_C, hh_C], -1), torch.cat([g_Q, hl_Q, hh_Q], -1)
        hl = self.fuse_low(HoW_C, HoW_Q, Q, hl_Q)  # (B, n, h), like hh and u
        hh = self.fuse_high(HoW_C, HoW_Q, Q, hh_Q)
        u = self.fuse_understanding(HoW_C, HoW_Q, Q, U_Q)
        v = self.fused(torch.cat([hl_C, hh_C, hl, hh, u], -1), C)  # (B, n, h)

        HoW = torch.cat([HoW_C, hl, hh, u, v], -1)
        v_hat = self.self_boost(HoW, HoW, C, v)
        U_C = self.context(torch.cat([v, v_hat], -1), C)  # (B, n, h)

        start, end = self.pointer(U_C, C, self.summary(U_Q, Q))
        return self.scores(start, end, C)
