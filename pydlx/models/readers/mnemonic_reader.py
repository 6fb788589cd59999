"""Mnemonic Reader. Hu, Peng and Qiu, "Mnemonic reader for machine comprehension", arXiv 1705.02798, first version."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import SelfAlignment, attend
from pydlx.models.readers.fusion import SFU
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.pointers import MemoryPointer
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterRNN
from pydlx.models.text.encoders import RNN, final_states


class Aligner(nn.Module):
    """One hop of the iterative aligner: alignment with the question, self-alignment, and an LSTM.

    Args:
        hidden: Units of the LSTM per direction.
        dropout: Of its input.
    """

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        size = 2 * hidden
        self.fuse_question = mark_fusion(SFU(size, 3 * size), "high")
        self.self_alignment = mark_fusion(SelfAlignment(), "self")
        self.fuse_passage = SFU(size, 3 * size)
        self.lstm = RNN(size, hidden, dropout=dropout)

    def forward(self, c: Tensor, q: Tensor, passage: Tensor, question: Tensor) -> Tensor:
        """Return new states (B, n, size) from c (B, n, size) and q (B, m, size), given the masks of both."""
        q_tilde = attend(c @ q.transpose(1, 2), question, q)
        c_bar = self.fuse_question(c, torch.cat([q_tilde, c * q_tilde, c - q_tilde], -1))
        c_tilde = self.self_alignment(c_bar, passage)
        c_hat = self.fuse_passage(c_bar, torch.cat([c_tilde, c_bar * c_tilde, c_bar - c_tilde], -1))
        return self.lstm(c_hat, passage)


@register_model("mnemonic_reader")
class MnemonicReader(Reader):
    """Alignment of the passage with the question and with itself in several hops, and a memory-based pointer.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0 for no characters.
        character_dim: Size of a character's vector.
        character_hidden: Units per direction of the LSTM over characters.
        features: Number of features of a token.
        hidden: Units of the other LSTMs per direction, and of the pointer's feed-forward networks.
        hops: T, number of hops of the aligner and of the pointer, each with its own weights.
        dropout: Of the input of each LSTM (one mask per sequence), and within the feed-forward networks.
    """

    features_in_paper = True

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 50,
        character_hidden: int = 50,
        features: int = 0,
        hidden: int = 100,
        hops: int = 2,
        dropout: float = 0.2,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = None
        if character_count:
            characters = CharacterRNN(character_count, character_dim, character_hidden, "lstm")
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        self.encoder = RNN(self.embed.size, hidden, dropout=dropout)
        self.aligners = nn.ModuleList(Aligner(hidden, dropout) for _ in range(whole("MnemonicReader", "hops", hops, 1)))
        self.pointer = MemoryPointer(2 * hidden, hidden, hops, dropout)

    def encode(self, tokens: Tokens) -> Tensor:
        """Return c or q, (B, n, 2 hidden)."""
        return self.encoder(torch.cat(self.embed(tokens), -1), tokens.mask)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Start and end scores (B, n) of the passage's n tokens."""
        P, Q = passage.mask, question.mask
        c, q = self.encode(passage), self.encode(question)  # (B, n, 2 hidden), (B, m, 2 hidden)
        for align in self.aligners:
            c = align(c, q, P, Q)
        start, end = self.pointer(c, P, final_states(q, Q))
        return self.scores(start, end, P)
