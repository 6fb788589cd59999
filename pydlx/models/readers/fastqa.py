"""FastQA and FastQAExt. Weissenborn, Wiese and Seiffe, "Making neural QA as simple as possible", arXiv 1703.04816."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.data.text.tokens import UNKNOWN, Tokens
from pydlx.models.readers.attention import WeightedSummary, masked_softmax
from pydlx.models.readers.fusion import GatedSum, Highway
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import ConditionalScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN, flip
from pydlx.ops.ranking import best


class WeightedWordInQuestion(nn.Module):
    """The feature wiq^w, how similar a passage word is to the question's words: Σ_i softmax_j(v · (q_i ∘ p_j)).

    Args:
        size: Size of p and q.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.randn(size) / size**0.5)

    def forward(self, p: Tensor, q: Tensor, p_mask: Tensor, q_mask: Tensor) -> Tensor:
        """Return the feature (B, n) of passage words p (B, n, size), given question words q (B, m, size)."""
        scores = (q * self.v) @ p.transpose(1, 2)  # (B, m, n)
        return (masked_softmax(scores, p_mask.unsqueeze(1)) * q_mask.unsqueeze(2)).sum(1)


class EndGivenStart(nn.Module):
    """End scores v · relu(W [h; z; h ∘ z; h_s; h ∘ h_s] + b) of a passage's states h; h_s is h at the start.

    Section 3.3.

    Args:
        size: Size of h and z.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        # W is split by its inputs, because the products with h, z and h ∘ z are the same for all starts.
        self.of_token = nn.Linear(2 * size, size)
        self.of_question, self.of_start, self.of_product = (nn.Linear(size, size, bias=False) for _ in range(3))
        self.outer = nn.Linear(size, 1, bias=False)

    def forward(self, h: Tensor, z: Tensor, given: Tensor) -> Tensor:
        """Return scores (B, k, n) for h (B, n, size), z (B, size) and given starts (B, k)."""
        h_s = h.gather(1, given.unsqueeze(2).expand(-1, -1, h.shape[2]))  # (B, k, size)
        shared = self.of_token(torch.cat([h, h * z.unsqueeze(1)], -1)) + self.of_question(z).unsqueeze(1)
        own = self.of_product(h.unsqueeze(1) * h_s.unsqueeze(2)) + self.of_start(h_s).unsqueeze(2)
        return self.outer((shared.unsqueeze(1) + own).relu()).squeeze(-1)


@register_model("fastqa")
class FastQA(Reader):
    """One LSTM with features that tell which words occur in the question, and an end that is scored given the start.

    The feature wiq^b, that a word occurs in the question, compares word ids; `features` may add, for instance, the
    comparison in lower case.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0 for no characters.
        character_dim: Size of a character's vector.
        character_filters: Filters of the character CNN; `hidden` by default.
        features: Number of features of a token.
        hidden: n', the size of all later layers, and LSTM units per direction.
        dropout: Of the LSTM's input; one mask per sequence.
        beam: k, the number of best starts for which ends are scored in inference.
    """

    scores_type = ConditionalScores

    def __init__(
        self,
        *,
        vocabulary_size: int,
        word_dim: int = 300,
        tune_partial: int | None = 0,
        character_count: int = 0,
        character_dim: int = 20,
        character_filters: int | None = None,
        features: int = 0,
        hidden: int = 300,
        dropout: float = 0.5,
        beam: int = 1,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        filters = hidden if character_filters is None else character_filters
        characters = CharacterCNN(character_count, character_dim, filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        self.beam = whole(type(self).__name__, "beam", beam, 1)
        self.project = nn.Linear(self.embed.size - features, hidden, bias=False)
        self.highway = Highway(hidden, 1)
        self.weighted_in_question = mark_fusion(WeightedWordInQuestion(hidden), "word")
        self.encoder = RNN(hidden + 2 + features, hidden, dropout=dropout)
        self.passage_states, self.question_states = _sum_of_directions(hidden), _sum_of_directions(hidden)
        self.summary = WeightedSummary(hidden)
        self.start_inner, self.start_outer = nn.Linear(3 * hidden, hidden), nn.Linear(hidden, 1, bias=False)
        self.end = EndGivenStart(hidden)

    def encode(self, passage: Tokens, question: Tokens) -> tuple[Tensor, Tensor]:
        """Return the states of both texts, (B, n, n') and (B, m, n')."""
        P, Q = passage.mask, question.mask
        p, q = (self.highway(self.project(torch.cat(self.embed.vectors(text), -1))) for text in (passage, question))
        found = _in_question(passage, question).to(p.dtype), self.weighted_in_question(p, q, P, Q).to(p.dtype)
        in_question = torch.stack(found, -1)
        h = self.encoder(torch.cat([p, in_question, *self.embed.feature_vectors(passage)], -1), P)
        z = self.encoder(torch.cat([q, q.new_ones(*Q.shape, 2), *self.embed.feature_vectors(question)], -1), Q)
        return self.passage_states(h).tanh(), self.question_states(z).tanh()

    def fuse(self, h: Tensor, z: Tensor, passage: Tensor, question: Tensor) -> Tensor:
        """Fuse the passage's states h with the question's states z; FastQA returns h, `FastQAExt` overrides this."""
        return h

    def forward(self, passage: Tokens, question: Tokens, given: Tensor | None = None) -> ConditionalScores:
        """Start scores (B, n) of the passage's n tokens, and end scores (B, k, n) given the k best starts.

        `given`, (B, k), replaces the best starts.
        """
        P, Q = passage.mask, question.mask
        h, z = self.encode(passage, question)  # (B, n, n'), (B, m, n')
        h, summary = self.fuse(h, z, P, Q), self.summary(z, Q)  # (B, n, n'), (B, n')
        Z = summary.unsqueeze(1).expand_as(h)
        start = self.start_outer(self.start_inner(torch.cat([h, Z, h * Z], -1)).relu()).squeeze(-1)
        start = start.masked_fill(~P, -torch.inf)
        if given is None:
            given = best(start, torch.sym_min(self.beam, start.shape[1]))[1]
        before = torch.arange(h.shape[1], device=h.device) < given.unsqueeze(2)  # (B, k, n)
        end = self.end(h, summary, given).masked_fill(before | ~P.unsqueeze(1), -torch.inf)
        return ConditionalScores(start, given, end, None if self.null is None else self.null.expand(start.shape[0], 1))

    def loss(self, passage: Tokens, question: Tokens, start: Tensor, end: Tensor) -> Tensor:
        """See `Reader.loss`; the end is trained given the right start."""
        self.check_answers(start, end)
        return self(passage, question, start.clamp(min=0).unsqueeze(1)).loss(start, end)


def _in_question(passage: Tokens, question: Tokens) -> Tensor:
    """Return (B, n), True at words that occur in the question."""
    known = (question.words > UNKNOWN).unsqueeze(1)
    return ((passage.words.unsqueeze(2) == question.words.unsqueeze(1)) & known).any(2)


def _sum_of_directions(size: int) -> nn.Linear:
    """Return the layer B, initialised to [I; I]: the sum of both directions' states."""
    layer = nn.Linear(2 * size, size, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(size).repeat(1, 2))
    return layer


class CoattendedFusion(nn.Module):
    """fuse(x_t, Σ_k softmax_k(v · (x_t ∘ y_k)) y_k), where fuse is `GatedSum`. Section 4.2.

    Args:
        size: Size of x and y.
        other: Whether x_t does not attend to y_t, for fusion of a text with itself.
    """

    def __init__(self, size: int, *, other: bool = False) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.randn(size) / size**0.5)
        self.fuse = GatedSum(size)
        self.other = other

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Fuse x (B, n, size) with y (B, m, size), whose mask is given; returns (B, n, size)."""
        allowed = mask.unsqueeze(1)
        if self.other:
            allowed = allowed & ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        return self.fuse(x, masked_softmax((x * self.v) @ y.transpose(1, 2), allowed) @ y)


class RunningFusion(nn.Module):
    """h_t = fuse(x_t, h_{t-1}) forwards, the same backwards, and a fusion of both. Section 4.2.

    Args:
        size: Size of x.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.of_x = nn.ModuleList(
            nn.Linear(size, size) for _ in range(2)
        )  # the gate's two halves, one pair per direction
        self.of_h = nn.ParameterList(nn.Parameter(torch.randn(size, size) / (2 * size) ** 0.5) for _ in range(2))
        self.fuse = GatedSum(size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Fuse the states of x (B, n, size) with their neighbours; returns (B, n, size)."""
        given = torch.stack([x, flip(x, mask)])  # (2, B, n, size): both directions in one loop
        gates = torch.stack([layer(text) for layer, text in zip(self.of_x, given, strict=True)])
        weights = torch.stack([*self.of_h])
        h, states = torch.zeros_like(given[:, :, 0]), []
        for x_t, gate in zip(given.unbind(2), gates.unbind(2), strict=True):
            h = h + (gate + h @ weights).sigmoid() * (x_t - h)
            states.append(h)
        forwards, backwards = torch.stack(states, 2)
        return self.fuse(forwards, flip(backwards, mask))


@register_model("fastqa_ext")
class FastQAExt(FastQA):
    """FastQA with three fusions of the passage's states: with each other, with the question's, and with neighbours.

    Args:
        hidden, beam, options: See `FastQA`.
    """

    def __init__(self, *, hidden: int = 300, beam: int = 5, **options: Any) -> None:
        super().__init__(hidden=hidden, beam=beam, **options)
        self.intra = mark_fusion(CoattendedFusion(hidden, other=True), "self")
        self.inter = mark_fusion(CoattendedFusion(hidden), "high")
        self.running = RunningFusion(hidden)

    def fuse(self, h: Tensor, z: Tensor, passage: Tensor, question: Tensor) -> Tensor:
        """Return the states after the three fusions, (B, n, n')."""
        h = self.intra(h, h, passage)
        return self.running(self.inter(h, z, question), passage)
