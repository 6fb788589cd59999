"""RaSoR. Lee, Salant, Kwiatkowski, Parikh, Das and Berant, "Learning recurrent span representations", 1611.01436."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pydlx._checks import check_one_of
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.attention import DotAttention, WeightedSummary
from pydlx.models.readers.fusions import mark_fusion
from pydlx.models.readers.pointers import FeedForwardPointer, SpanScoring
from pydlx.models.readers.reader import Reader
from pydlx.models.readers.scores import SpanScores, WholeSpanScores
from pydlx.models.registry import register_model
from pydlx.models.text.embedding import CharacterCNN
from pydlx.models.text.encoders import RNN


@register_model("rasor")
class RaSoR(Reader):
    """A score for every span of the passage, computed from the states at its two ends.

    Differences from the paper: LSTMs are plain, without coupled input and forget gates and without recurrent dropout;
    unknown words have zeros instead of random vectors.

    Args:
        vocabulary_size, word_dim, tune_partial, no_answer, encoder: See `Reader`.
        character_count: Size of the character vocabulary, padding and unknown included; 0, as in the paper, for none.
        character_dim: Size of a character's vector.
        character_filters: Filters of the character CNN: the size of its output.
        features: Number of features of a passage token; question features are not used.
        hidden: Units of an LSTM per direction, and of every feed-forward network.
        max_length: Maximum number of tokens of a span; longer answers are skipped in training.
        objective: ``"span"``, one softmax over all spans; ``"span_binary"``, a logistic loss for each span, which
            learns slowly at first with the paper's small initial weights (see `initial_range`); ``"endpoints"``, one
            softmax over starts and one over ends.
        dropout: Of the input of every feed-forward network.
        lstm_dropout: Of the input of every LSTM; one mask per sequence.
        initial_range: Weights and biases are drawn uniformly from ±initial_range; None for PyTorch's defaults.
    """

    reads_question_features = False

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
        hidden: int = 100,
        max_length: int = 30,
        objective: str = "span",
        dropout: float = 0.2,
        lstm_dropout: float = 0.4,
        initial_range: float | None = 0.005,
        no_answer: bool = False,
        **encoder: Any,
    ) -> None:
        check_one_of("RaSoR", "objective", objective, ("span", "span_binary", "endpoints"))
        self.objective = objective
        self.scores_type = SpanScores if objective == "endpoints" else WholeSpanScores
        self.longest_answer = None if objective == "endpoints" else max_length
        characters = CharacterCNN(character_count, character_dim, character_filters) if character_count else None
        super().__init__(vocabulary_size, word_dim, tune_partial, characters, features, dropout, no_answer, **encoder)
        g, h = self.embed.size - features, 2 * hidden
        self.aligned = mark_fusion(DotAttention(g, hidden, bias=True, dropout=dropout), "word")
        self.question_lstm = RNN(g, hidden, 2, dropout=lstm_dropout)
        self.independent = mark_fusion(WeightedSummary(h, hidden, dropout), "summary")
        self.passage_lstm = RNN(self.embed.size + h + g, hidden, 2, dropout=lstm_dropout)
        self.spans = SpanScoring(h, hidden, max_length, dropout) if objective != "endpoints" else None
        self.ends = FeedForwardPointer(h, hidden, dropout) if objective == "endpoints" else None
        if initial_range is not None:
            for name, weights in self.named_parameters():
                if name != "null" and not name.startswith("embed."):
                    nn.init.uniform_(weights, -initial_range, initial_range)

    def forward(self, passage: Tokens, question: Tokens) -> SpanScores | WholeSpanScores:
        """Scores of all spans of the passage's n tokens or, with ``"endpoints"``, start and end scores (B, n)."""
        P, Q = passage.mask, question.mask
        p, q = (torch.cat(self.embed.vectors(text), -1) for text in (passage, question))  # (B, n, g), (B, m, g)
        q_align = self.aligned(p, q, Q)  # (B, n, g)
        q_indep = self.independent(self.question_lstm(q, Q), Q)  # (B, h)
        q_indep = q_indep.unsqueeze(1).expand(-1, p.shape[1], -1)
        p_star = torch.cat([p, *self.embed.feature_vectors(passage), q_indep, q_align], -1)
        h = self.passage_lstm(p_star, P)  # (B, n, h)
        if self.ends is not None:
            start, end = self.ends(h)
            return self.scores(start, end, P)
        assert self.spans is not None
        return WholeSpanScores(self.spans(h, P), None if self.null is None else self.null.expand(h.shape[0], 1))

    def loss(self, passage: Tokens, question: Tokens, start: Tensor, end: Tensor) -> Tensor:
        """See `Reader.loss`; with ``"span_binary"`` see `WholeSpanScores.logistic_loss`."""
        if self.objective != "span_binary":
            return super().loss(passage, question, start, end)
        self.check_answers(start, end)
        scores = self(passage, question)
        assert isinstance(scores, WholeSpanScores)
        return scores.logistic_loss(start, end)
