"""DCN. Xiong, Zhong and Socher, "Dynamic coattention networks for question answering", arXiv 1611.01604."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import Coattention
from pydlx.models.readers.fusions import fuses
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN


class HighwayMaxout(nn.Module):
    """A score for each token u_t, given h, u_s and u_e. Section 2.3, equations 9 to 13.

    With r = tanh(W [h; u_s; u_e]), m¹ = max(W¹ [u_t; r] + b¹) and m² = max(W² m¹ + b²) it is max(W³ [m¹; m²] + b³),
    where max takes the largest of p numbers.

    Args:
        size: Of h, r, m¹ and m².
        state: Of u.
        pool: p.
    """

    def __init__(self, size: int, state: int, pool: int) -> None:
        super().__init__()
        self.pool = whole("HighwayMaxout", "pool", pool, 1)
        self.r = nn.Linear(size + 2 * state, size, bias=False)
        self.m1_of_u = nn.Linear(state, pool * size)
        self.m1_of_r = nn.Linear(size, pool * size, bias=False)
        self.m2 = nn.Linear(size, pool * size)
        self.score = nn.Linear(2 * size, pool)

    def forward(self, known: Tensor, h: Tensor, u_s: Tensor, u_e: Tensor) -> Tensor:
        """Scores (B, n) from h, (B, size), u_s and u_e, (B, state).

        What W¹ and b¹ make of the tokens is the same in every iteration, and most of the work: `known`,
        (B, n, p size), is ``self.m1_of_u(U)``.
        """
        r = self.r(torch.cat([h, u_s, u_e], -1)).tanh()
        m1 = self._largest(known + self.m1_of_r(r).unsqueeze(1))  # (B, n, size)
        m2 = self._largest(self.m2(m1))
        return self._largest(self.score(torch.cat([m1, m2], -1))).squeeze(-1)

    def _largest(self, x: Tensor) -> Tensor:
        # The gradient of max needs the places, a p-th of what that of amax keeps. Without gradients amax is faster.
        x = x.unflatten(-1, (self.pool, -1))
        return x.max(-2).values if torch.is_grad_enabled() else x.amax(-2)


class DynamicDecoder(nn.Module):
    """Finds a span, reads what stands at its ends, and looks again. Section 2.3.

    Args:
        size: Of the LSTM's state h.
        state: Of the tokens' states u.
        pool: See `HighwayMaxout`.
        iterations: The most.
    """

    def __init__(self, size: int, state: int, pool: int, iterations: int) -> None:
        super().__init__()
        self.iterations = whole("DynamicDecoder", "iterations", iterations, 1)
        self.cell = nn.LSTMCell(2 * state, size)
        self.start, self.end = HighwayMaxout(size, state, pool), HighwayMaxout(size, state, pool)

    def forward(self, U: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Scores (B, n) of starts and of ends by U, (B, n, state), after each iteration; -inf in padding.

        In inference those of an example do not change any more once its span does not. In training all are learned.
        """
        batch = torch.arange(U.shape[0], device=U.device)
        known = self.start.m1_of_u(U), self.end.m1_of_u(U)
        s, e = torch.zeros_like(batch), (mask.sum(1) - 1).clamp(min=0)
        h = c = U.new_zeros(U.shape[0], self.cell.hidden_size)
        stopped = torch.zeros_like(batch, dtype=torch.bool)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.iterations):
            u_s, u_e = U[batch, s], U[batch, e]
            h, c = self.cell(torch.cat([u_s, u_e], -1), (h, c))
            start, end = (
                part(of_u, h, u_s, u_e).masked_fill(~mask, -torch.inf)
                for part, of_u in zip((self.start, self.end), known, strict=True)
            )
            if found and not self.training:
                start, end = (
                    torch.where(stopped.unsqueeze(1), old, new)
                    for old, new in zip(found[-1], (start, end), strict=True)
                )
            found.append((start, end))
            before, (s, e) = (s, e), (start.argmax(1), end.argmax(1))
            stopped = stopped | ((s == before[0]) & (e == before[1]))
        return found


@register_model("dcn")
class DCN(Reader):
    """Attention both ways with a sentinel to attend to nothing by, and a decoder that corrects itself.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Characters, padding and the unknown one included; 0, as in the paper, for a reader without.
        character_dim: Size of a character's vector.
        character_filters: Size of what the convolution over characters gives.
        features: Numbers that come with each token.
        hidden: l, units of every LSTM per direction.
        pool: p, of how many numbers maxout takes the largest.
        iterations: Of the decoder, at most. The loss is of all of them.
        dropout: Of the input of each LSTM.
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
        hidden: int = 200,
        pool: int = 16,
        iterations: int = 4,
        dropout: float = 0.15,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        characters = CharacterCNN(character_count, character_dim, character_filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        l = hidden  # noqa: E741, the paper's letter
        self.encoder = RNN(self.embed.size, l, bidirectional=False, dropout=dropout)
        self.coattention = fuses(Coattention(l), "high", "coattention")
        self.fusion = RNN(3 * l, l, dropout=dropout)
        self.decoder = DynamicDecoder(l, 2 * l, pool, iterations)

    def encode(self, tokens: Tokens) -> Tensor:
        """D or Q without their sentinels, (B, n, l)."""
        return self.encoder(torch.cat(self.embed(tokens), -1), tokens.mask)

    def iterate(self, passage: Tokens, question: Tokens) -> list[SpanScores]:
        """Scores (B, n) of a passage's n tokens after each iteration; the question has m."""
        mask = passage.mask
        D, Q = self.encode(passage), self.encode(question)  # (B, n, l), (B, m, l)
        fused, with_sentinel = self.coattention(D, Q, mask, question.mask)  # [D; C^D], (B, n + 1, 3l)
        U = self.fusion(fused, with_sentinel)[:, :-1]  # (B, n, 2l); the sentinel's row, or padding, goes
        U = U.masked_fill(~mask.unsqueeze(-1), 0)
        return [self.scores(start, end, mask) for start, end in self.decoder(U, mask)]

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Those of the last iteration."""
        return self.iterate(passage, question)[-1]

    def loss(self, passage: Tokens, question: Tokens, start: Tensor, end: Tensor) -> Tensor:
        """The sum over all iterations of what `Reader.loss` says."""
        self.check_answers(start, end)
        losses = (scores.loss(start, end) for scores in self.iterate(passage, question))
        return sum(losses, start.new_zeros((), dtype=torch.float32))
