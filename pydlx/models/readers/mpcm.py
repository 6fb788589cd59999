"""MPCM. Wang, Mi, Hamza and Florian, "Multi-perspective context matching for machine comprehension", 1612.04211."""

from __future__ import annotations

from typing import Any

import torch

from pydlx._checks import check_flag
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.matching import CosineFilter, MultiPerspectiveMatching
from pydlx.models.readers.pointers import FeedForwardPointer
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterRNN
from pydlx.models.text.encoders import RNN


@register_model("mpcm")
class MPCM(Reader):
    """Matching of the context of each passage token with the question's, in several perspectives.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0 for no characters.
        character_dim: Size of a character's vector.
        character_hidden: Units of the LSTM over characters, which reads forwards.
        features: Number of features of a token.
        hidden: Units of the other LSTMs per direction, and of the feed-forward networks.
        perspectives: l.
        filter_characters: Whether the cosines of the filter layer include the character vectors.
        share_perspectives: Whether all six comparisons share the weights W.
        dropout: Of the input of each LSTM (one mask per sequence), and of the feed-forward networks.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 20,
        character_hidden: int = 50,
        features: int = 0,
        hidden: int = 100,
        perspectives: int = 50,
        filter_characters: bool = True,
        share_perspectives: bool = False,
        dropout: float = 0.2,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = None
        if character_count:
            characters = CharacterRNN(character_count, character_dim, character_hidden, "lstm", bidirectional=False)
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        check_flag("MPCM", "filter_characters", filter_characters)
        self.compared = 2 if filter_characters else 1
        self.filter = mark_fusion(CosineFilter(), "word")
        self.context = RNN(self.embed.size, hidden, dropout=dropout)
        self.matching = mark_fusion(MultiPerspectiveMatching(hidden, perspectives, share=share_perspectives), "high")
        self.aggregation = RNN(self.matching.output, hidden, dropout=dropout)
        self.pointer = FeedForwardPointer(2 * hidden, hidden, dropout)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens."""
        P, Q = passage.mask, question.mask
        of_p, of_q = self.embed.vectors(passage), self.embed.vectors(question)  # vectors of words and of characters
        r = self.filter(*(torch.cat(parts[: self.compared], -1) for parts in (of_p, of_q)), Q)  # (B, n, 1)
        p = torch.cat([*(r * part for part in of_p), *self.embed.feature_vectors(passage)], -1)
        q = torch.cat([*of_q, *self.embed.feature_vectors(question)], -1)
        h_p, h_q = self.context(p, P), self.context(q, Q)  # (B, n, 2 hidden), (B, m, 2 hidden)
        m = self.matching(h_p, h_q, Q)  # (B, n, 6 l)
        start, end = self.pointer(self.aggregation(m, P))
        return self.scores(start, end, P)
