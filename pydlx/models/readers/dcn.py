"""DCN. Xiong, Zhong and Socher, "Dynamic coattention networks for question answering", arXiv 1611.01604."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import Coattention
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN


class HighwayMaxout(nn.Module):
    """Highway maxout network, section 2.3: a score for each token u_t, given h, u_s and u_e.

    The score is max(W³ [m¹; m²] + b³) with r = tanh(W [h; u_s; u_e]), m¹ = max(W¹ [u_t; r] + b¹) and
    m² = max(W² m¹ + b²), where max is maxout over p numbers.

    Args:
        size: Size of h, r, m¹ and m².
        state: Size of u.
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

    def forward(self, m1_of_u: Tensor, h: Tensor, u_s: Tensor, u_e: Tensor) -> Tensor:
        """Return scores (B, n), given h (B, size), u_s and u_e (B, state).

        `m1_of_u`, (B, n, p size), is ``self.m1_of_u(U)``: the part of W¹ [u_t; r] + b¹ that depends on u_t alone, which
        is most of the work and the same in every iteration.
        """
        r = self.r(torch.cat([h, u_s, u_e], -1)).tanh()
        m1 = self._maxout(m1_of_u + self.m1_of_r(r).unsqueeze(1))  # (B, n, size)
        m2 = self._maxout(self.m2(m1))
        return self._maxout(self.score(torch.cat([m1, m2], -1))).squeeze(-1)

    def _maxout(self, x: Tensor) -> Tensor:
        # For its gradient, max keeps indices, a p-th of the input that amax keeps. Without gradients amax is faster.
        x = x.unflatten(-1, (self.pool, -1))
        return x.max(-2).values if torch.is_grad_enabled() else x.amax(-2)


class DynamicDecoder(nn.Module):
    """Iterative span search, section 2.3: each iteration scores starts and ends anew, given the span found before.

    Args:
        size: Size of the LSTM's state h.
        state: Size of the tokens' states u.
        pool: See `HighwayMaxout`.
        iterations: Maximum number of iterations.
    """

    def __init__(self, size: int, state: int, pool: int, iterations: int) -> None:
        super().__init__()
        self.iterations = whole("DynamicDecoder", "iterations", iterations, 1)
        self.cell = nn.LSTMCell(2 * state, size)
        self.start, self.end = HighwayMaxout(size, state, pool), HighwayMaxout(size, state, pool)

    def forward(self, U: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return start and end scores (B, n) after each iteration, for states U (B, n, state); -inf in padding.

        In inference, an example whose span repeats keeps its scores. In training, every iteration computes new ones.
        """
        batch = torch.arange(U.shape[0], device=U.device)
        m1_of_u = self.start.m1_of_u(U), self.end.m1_of_u(U)
        s, e = torch.zeros_like(batch), (mask.sum(1) - 1).clamp(min=0)
        h = c = U.new_zeros(U.shape[0], self.cell.hidden_size)
        stopped = torch.zeros_like(batch, dtype=torch.bool)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.iterations):
            u_s, u_e = U[batch, s], U[batch, e]
            h, c = self.cell(torch.cat([u_s, u_e], -1), (h, c))
            start, end = (
                part(of_u, h, u_s, u_e).masked_fill(~mask, -torch.inf)
                for part, of_u in zip((self.start, self.end), m1_of_u, strict=True)
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
    """Attention in both directions, with a sentinel for tokens that match nothing, and an iterative decoder.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0, as in the paper, for none.
        character_dim: Size of a character's vector.
        character_filters: Filters of the character CNN: the size of its output.
        features: Number of features of a token.
        hidden: l, units of every LSTM per direction.
        pool: p, the pool size of maxout.
        iterations: Maximum number of iterations of the decoder. The loss sums over all of them.
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
        self.coattention = mark_fusion(Coattention(l), "high", "coattention")
        self.fusion = RNN(3 * l, l, dropout=dropout)
        self.decoder = DynamicDecoder(l, 2 * l, pool, iterations)

    def encode(self, tokens: Tokens) -> Tensor:
        """Return D or Q without its sentinel, (B, n, l)."""
        return self.encoder(torch.cat(self.embed(tokens), -1), tokens.mask)

    def iterate(self, passage: Tokens, question: Tokens) -> list[SpanScores]:
        """Return start and end scores (B, n) of the passage's n tokens after each iteration."""
        mask = passage.mask
        D, Q = self.encode(passage), self.encode(question)  # (B, n, l), (B, m, l)
        fused, with_sentinel = self.coattention(D, Q, mask, question.mask)  # [D; C^D], (B, n + 1, 3l)
        U = self.fusion(fused, with_sentinel)[
            :, :-1
        ]  # (B, n, 2l): drops the last row, padding or a full passage's sentinel
        U = U.masked_fill(~mask.unsqueeze(-1), 0)
        return [self.scores(start, end, mask) for start, end in self.decoder(U, mask)]

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores:
        """Return the scores of the last iteration."""
        return self.iterate(passage, question)[-1]

    def loss(self, passage: Tokens, question: Tokens, start: Tensor, end: Tensor) -> Tensor:
        """Return the sum of `Reader.loss` over all iterations."""
        self.check_answers(start, end)
        losses = (scores.loss(start, end) for scores in self.iterate(passage, question))
        return sum(losses, start.new_zeros((), dtype=torch.float32))
