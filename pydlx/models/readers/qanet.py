"""QANet. Yu and others, "Combining local convolution with global self-attention", arXiv 1804.09541."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx._checks import check_number, whole
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.fusion import Highway
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import EncoderBlock
from pydlx.nn import TrilinearAttention


@register_model("qanet")
class QANet(Reader):
    """Convolutions and self-attention instead of recurrent networks.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0 for no characters.
        character_dim: Size of a character's vector and of the character CNN's output.
        features: Number of features of a token.
        hidden: d, the size of all later layers; even and a multiple of `heads`.
        heads: Number of heads of the self-attention.
        blocks: Number of blocks of the model encoder, which is applied three times.
        dropout: Of the word vectors and of every second sublayer's input.
        character_dropout: Of the character vectors.
        survival: Stochastic depth: probability that the last sublayer of an encoder is kept.
        relu: Whether each convolution ends in relu.
        last_norm: Whether each block ends in another layer norm.
        position: Whether every block adds the position code, or only the first block of an encoder.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 200,
        features: int = 0,
        hidden: int = 128,
        heads: int = 8,
        blocks: int = 7,
        dropout: float = 0.1,
        character_dropout: float = 0.05,
        survival: float = 0.9,
        relu: bool = True,
        last_norm: bool = False,
        position: bool = True,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterCNN(character_count, character_dim, character_dim) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        check_number("QANet", "character_dropout", character_dropout)
        blocks = whole("QANet", "blocks", blocks, 1)
        d = hidden
        block = partial(EncoderBlock, d, dropout=dropout, survival=survival, relu=relu, last_norm=last_norm)
        self.dropouts = [dropout, character_dropout] if characters else [dropout]
        self.project = nn.Linear(self.embed.size, d)
        self.highway = Highway(d, 2)
        self.embedding_encoder = block(4, 7, heads)
        self.similarity = mark_fusion(TrilinearAttention(d), "high", "coattention")
        self.resize = nn.Linear(4 * d, d)
        self.model_encoder = mark_fusion(
            nn.ModuleList(
                block(2, 5, heads, sublayers=(4 * b, 4 * blocks), position=position or b == 0) for b in range(blocks)
            ),
            "self",
        )
        self.dropout = nn.Dropout(dropout)
        self.start, self.end = nn.Linear(2 * d, 1), nn.Linear(2 * d, 1)

    def encode(self, tokens: Tokens) -> Tensor:
        """Return the output of the embedding encoder, (B, n, d)."""
        parts = self.embed(tokens)
        for index, probability in enumerate(self.dropouts):
            parts[index] = F.dropout(parts[index], probability, self.training)
        return self.embedding_encoder(self.highway(self.project(torch.cat(parts, -1))), tokens.mask)

    def model(self, x: Tensor, mask: Tensor) -> Tensor:
        """Apply the model encoder to x (B, n, d)."""
        for block in self.model_encoder:
            x = block(x, mask)
        return x

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens."""
        mask = passage.mask
        C, Q = self.encode(passage), self.encode(question)  # (B, n, d), (B, m, d)
        _, S_bar, S_bar_bar = self.similarity(C, Q, mask, question.mask)  # softmaxes over Q and over C, (B, n, m)
        A = S_bar @ Q  # (B, n, d)
        B = S_bar @ (S_bar_bar.transpose(1, 2) @ C)  # (B, n, d); the order avoids a (B, n, n) product
        M0 = self.model(self.resize(torch.cat([C, A, C * A, C * B], -1)), mask)  # (B, n, d)
        M1 = self.model(self.dropout(M0), mask)
        M2 = self.model(self.dropout(M1), mask)
        start = self.start(torch.cat([M0, M1], -1)).squeeze(-1)
        end = self.end(torch.cat([M0, M2], -1)).squeeze(-1)
        return self.scores(start, end, mask)
