"""DrQA's document reader. Chen, Fisch, Weston and Bordes, "Reading Wikipedia to answer questions", arXiv 1704.00051."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import DotAttention, WeightedSummary
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.pointers import BilinearPointer
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN


@register_model("drqa")
class DrQA(Reader):
    """Embeddings with token features, and one vector of the question that is matched with each token for both ends.

    Part-of-speech and named-entity tags are among the `features`, if there are any.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0, as in the paper, for none.
        character_dim: Size of a character's vector.
        character_filters: Filters of the character CNN: the size of its output.
        features: Number of features of a passage token; question features are not used.
        hidden: Units of an LSTM per direction.
        layers: Number of LSTM layers.
        concatenate_layers: Whether to use the states of all layers, concatenated, or of the last layer only.
        embedding_dropout: Of the word vectors.
        dropout: Of the input of each LSTM (one mask per sequence), and of the output of the last one.
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
        hidden: int = 128,
        layers: int = 3,
        concatenate_layers: bool = True,
        embedding_dropout: float = 0.4,
        dropout: float = 0.4,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterCNN(character_count, character_dim, character_filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        g = self.embed.size - features

        def lstm(size: int) -> RNN:
            return RNN(size, hidden, layers, dropout=dropout, concatenate=concatenate_layers)

        self.embedding_dropout, self.dropout = nn.Dropout(embedding_dropout), nn.Dropout(dropout)
        self.aligned = mark_fusion(DotAttention(g, g, bias=True), "word")
        self.passage_lstm, self.question_lstm = lstm(g + features + g), lstm(g)
        h = self.passage_lstm.output
        self.summary = WeightedSummary(h)
        self.pointer = BilinearPointer(h, h)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens. States of both LSTMs have size h."""
        P, Q = passage.mask, question.mask
        E_p, E_q = (self.embedding_dropout(torch.cat(self.embed.vectors(text), -1)) for text in (passage, question))
        f_align = self.aligned(E_p, E_q, Q)  # (B, n, g)
        p = self.dropout(
            self.passage_lstm(torch.cat([E_p, *self.embed.feature_vectors(passage), f_align], -1), P)
        )  # (B, n, h)
        q = self.summary(self.dropout(self.question_lstm(E_q, Q)), Q)  # (B, h)
        start, end = self.pointer(p, P, q)
        return self.scores(start, end, P)
