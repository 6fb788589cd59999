"""GlobalPointer taggers: a score for every span and type. Su et al., arXiv 2208.03054."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pydlx.data.text.batch import TextBatch
from pydlx.models.entities.decoding import DecodedEntity, decode_entities
from pydlx.models.entities.tagger import EntityTagger, check_scores
from pydlx.models.registry import register_model
from pydlx.nn import EfficientGlobalPointer, GlobalPointer


class _SpanTagger(EntityTagger):
    """A tagger with a head that scores spans.

    Args:
        head_size: Size of queries and keys; even.
        rotary: Whether queries and keys have the rotary position code.
        options: See `EntityTagger`.
    """

    head_class: ClassVar[type[GlobalPointer] | type[EfficientGlobalPointer]]

    def __init__(self, *, head_size: int = 64, rotary: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.head = self.head_class(self.encoder.output, self.types, head_size, rotary)

    def forward(self, text: TextBatch) -> Tensor:
        """Return scores (B, C, n, n) of spans by first and last token, inclusive; -inf where there is no span."""
        return self.head(self.encoder(text), text.mask)

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """Return the zlpr loss: log(1 + Σ_entities exp(-s)) + log(1 + Σ_others exp(s)), mean over texts and types."""
        return self.head.loss(self.encoder(text), spans, text.mask)

    def find(self, text: TextBatch, *, threshold: float | None = None, flat: bool = False) -> list[list[DecodedEntity]]:
        """Return the entities of each text, by start; scores are 1 / (1 + exp(-s)), by default above 1/2."""
        lowest = 0.0 if threshold is None else torch.tensor(threshold, dtype=torch.float64).logit().item()
        scores = self(text)
        check_scores(scores)
        found = decode_entities(scores, text.mask, threshold=lowest, flat=flat)
        return [[entity._replace(score=_probability(entity.score)) for entity in entities] for entities in found]


@register_model("global_pointer")
class GlobalPointerTagger(_SpanTagger):
    """A query and a key per token and type, whose product is the score of a span; see `pydlx.nn.GlobalPointer`."""

    head_class = GlobalPointer


@register_model("efficient_global_pointer")
class EfficientGlobalPointerTagger(_SpanTagger):
    """A query and a key per token for all types, and start and end scores per type.

    See `pydlx.nn.EfficientGlobalPointer`.
    """

    head_class = EfficientGlobalPointer


def _probability(score: float) -> float:
    return torch.tensor(score, dtype=torch.float64).sigmoid().item()
