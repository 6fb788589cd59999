"""GlobalPointer: a score for every span and type. Su et al., arXiv 2208.03054."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from pydlx.data.text.batch import TextBatch
from pydlx.models.entities.decoding import DecodedEntity, decode_entities
from pydlx.models.entities.tagger import EntityTagger, check_scores
from pydlx.models.registry import register_model
from pydlx.nn import EfficientGlobalPointer, GlobalPointer


class _Pointing(EntityTagger):
    """A tagger with a head that scores spans.

    Args:
        head_size: Of a query, even.
        rotary: Whether scores know how far the ends lie apart.
        options: See `EntityTagger`.
    """

    head_class: ClassVar[type[GlobalPointer] | type[EfficientGlobalPointer]]

    def __init__(self, *, head_size: int = 64, rotary: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.head = self.head_class(self.encoder.output, self.types, head_size, rotary)

    def forward(self, text: TextBatch) -> Tensor:
        """Scores (B, C, n, n) of spans by first and last token, inclusive; -inf where there is none."""
        return self.head(self.encoder(text), text.mask)

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """The mean over texts and types of log(1 + Σ exp(-s)) over entities + log(1 + Σ exp(s)) over other spans."""
        return self.head.loss(self.encoder(text), spans, text.mask)

    def find(self, text: TextBatch, *, threshold: float | None = None, flat: bool = False) -> list[list[DecodedEntity]]:
        """The entities of each text, by start. A span's score s is 1 / (1 + exp(-s)) here, above 1/2 by default."""
        least = 0.0 if threshold is None else torch.tensor(threshold, dtype=torch.float64).logit().item()
        scores = self(text)
        check_scores(scores)
        found = decode_entities(scores, text.mask, threshold=least, flat=flat)
        return [[entity._replace(score=_probability(entity.score)) for entity in entities] for entities in found]


@register_model("global_pointer")
class GlobalPointerTagger(_Pointing):
    """Queries and keys for each type, whose product is the score of a span; `pydlx.nn.GlobalPointer`."""

    head_class = GlobalPointer


@register_model("efficient_global_pointer")
class EfficientGlobalPointerTagger(_Pointing):
    """One query and key for all types, and two scores of each token for each; `pydlx.nn.EfficientGlobalPointer`."""

    head_class = EfficientGlobalPointer


def _probability(score: float) -> float:
    return torch.tensor(score, dtype=torch.float64).sigmoid().item()
