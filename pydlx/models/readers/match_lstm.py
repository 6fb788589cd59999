"""Match-LSTM with an answer pointer. Wang and Jiang, "Machine comprehension using Match-LSTM", arXiv 1608.07905."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_flag
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.pointers import AnswerPointer
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN, VariationalDropout
from pydlx.nn import AttentionRNN


@register_model("match_lstm")
class MatchLSTM(Reader):
    """An LSTM over the passage that attends to the question at each token, given its own state so far.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0, as in the paper, for none.
        character_dim: Size of a character's vector.
        character_filters: Filters of the character CNN: the size of its output.
        features: Number of features of a token.
        hidden: h, units of every LSTM.
        embedding_dropout: Of the input of the first LSTMs.
        dropout: Of the input of the Match-LSTM and of the pointer.
        bidirectional: Whether the first LSTMs are bidirectional.
        share_directions: Whether both directions of the Match-LSTM share their attention weights.
        both_ways: Whether to average with a second pointer that finds the end first (Bi-Ans-Ptr).
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 16,
        character_filters: int = 100,
        features: int = 0,
        hidden: int = 150,
        embedding_dropout: float = 0.1,
        dropout: float = 0.4,
        bidirectional: bool = False,
        share_directions: bool = True,
        both_ways: bool = False,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterCNN(character_count, character_dim, character_filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        check_flag("MatchLSTM", "bidirectional", bidirectional)
        h, size = hidden, self.embed.size
        self.passage_lstm = RNN(size, h, bidirectional=bidirectional, dropout=embedding_dropout)
        self.question_lstm = RNN(size, h, bidirectional=bidirectional, dropout=embedding_dropout)
        read = self.passage_lstm.output
        match = AttentionRNN(
            read,
            read,
            h,
            attention_size=h,
            cell="lstm",
            gated=False,
            bidirectional=True,
            share_attention=share_directions,
        )
        self.match = mark_fusion(match, "high")
        self.pointer = AnswerPointer(2 * h, h, h, "lstm", both_ways=both_ways)
        self.dropout = VariationalDropout(dropout)

    def encode(self, tokens: Tokens, lstm: RNN) -> Tensor:
        """Return the output of the paper's preprocessing layer, (B, n, h)."""
        return self.dropout(lstm(torch.cat(self.embed(tokens), -1), tokens.mask))

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens."""
        H_p = self.encode(passage, self.passage_lstm)  # (B, n, h)
        H_q = self.encode(question, self.question_lstm)  # (B, m, h)
        H_r = self.match(H_p, H_q, passage.lengths, question.mask)  # (B, n, 2h)
        start, end = self.pointer(self.dropout(H_r), passage.mask)
        return self.scores(start, end, passage.mask)
