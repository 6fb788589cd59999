"""BiDAF. Seo, Kembhavi, Farhadi and Hajishirzi, "Bidirectional attention flow", arXiv 1611.01603."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_one_of
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import attend
from pydlx.models.readers.fusion import Highway
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN
from pydlx.nn import TrilinearAttention


@register_model("bidaf")
class BiDAF(Reader):
    """Attention in both directions over one similarity matrix of passage and question.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0 for no characters.
        character_dim: Size of a character's vector; 8 in the authors' code.
        character_filters: Filters of the character CNN: the size of its output.
        features: Number of features of a token.
        hidden: d, units of an LSTM per direction.
        dropout: Of the input of each LSTM and of the output layers.
        end_input: Input of the LSTM for the end: ``"code"``, [G; M; Ã; M ∘ Ã] with Ã = Σ p¹_t M_t, as in the authors'
            code; or ``"paper"``, M alone.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 100,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 16,
        character_filters: int = 100,
        features: int = 0,
        hidden: int = 100,
        dropout: float = 0.2,
        end_input: str = "code",
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterCNN(character_count, character_dim, character_filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        check_one_of("BiDAF", "end_input", end_input, ("code", "paper"))
        d = hidden
        self.highway = Highway(self.embed.size, 2)
        self.contextual = RNN(self.embed.size, d, dropout=dropout)
        self.similarity = mark_fusion(TrilinearAttention(2 * d), "high", "coattention")
        self.modeling = RNN(8 * d, d, 2, dropout=dropout)
        self.end_input = end_input
        self.modeling_end = RNN(14 * d if end_input == "code" else 2 * d, d, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.start, self.end = nn.Linear(10 * d, 1), nn.Linear(10 * d, 1)

    def encode(self, tokens: Tokens) -> Tensor:
        """Return the contextual embedding, (B, n, 2d)."""
        return self.contextual(self.highway(torch.cat(self.embed(tokens), -1)), tokens.mask)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens."""
        mask = passage.mask
        H, U = self.encode(passage), self.encode(question)  # (B, n, 2d), (B, m, 2d)
        S, over_question, _ = self.similarity(H, U, mask, question.mask)  # S and its softmax over j, (B, n, m)
        U_tilde = over_question @ U  # (B, n, 2d)
        best = S.masked_fill(~question.mask.unsqueeze(1), torch.finfo(S.dtype).min).amax(2)  # max_j S_tj, (B, n)
        h_tilde = attend(best.unsqueeze(1), mask, H)  # (B, 1, 2d), the same for all t
        G = torch.cat([H, U_tilde, H * U_tilde, H * h_tilde], -1)  # (B, n, 8d)
        M = self.modeling(G, mask)  # (B, n, 2d)
        start = self.start(self.dropout(torch.cat([G, M], -1))).squeeze(-1)  # (B, n); p¹ is its softmax
        if self.end_input == "code":
            A = attend(start.unsqueeze(1), mask, M).expand_as(M)
            M2 = self.modeling_end(torch.cat([G, M, A, M * A], -1), mask)
        else:
            M2 = self.modeling_end(M, mask)
        end = self.end(self.dropout(torch.cat([G, M2], -1))).squeeze(-1)
        return self.scores(start, end, mask)
