"""What all taggers have in common: an encoder of texts, and entities that come out."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from pydlx._checks import whole
from pydlx.data.text.batch import TextBatch
from pydlx.models.entities.decoding import DecodedEntity
from pydlx.models.text.text_encoder import TextEncoder


class EntityTagger(nn.Module):
    """A model that finds entities in texts.

    Args:
        types: How many types of entities there are.
        encoder, vocabulary_size, word_dim, tune_partial, bigram_count, bigram_dim, character_count, character_dim,
            character_filters, hidden, layers, heads, dropout, word_dropout, encoder_config, pooling: See `TextEncoder`.

    Attributes:
        companion: Plain data that belongs to the tagger and stays with it in files: how text becomes numbers, and the
            names of the types.
        finds_nested: Whether entities may overlap.
    """

    companion: dict[str, Any] | None = None
    finds_nested: ClassVar[bool] = True

    def __init__(
        self,
        *,
        types: int,
        encoder: str = "lstm",
        vocabulary_size: int = 0,
        word_dim: int = 100,
        tune_partial: int | None = None,
        bigram_count: int = 0,
        bigram_dim: int = 50,
        character_count: int = 0,
        character_dim: int = 30,
        character_filters: int = 50,
        hidden: int = 200,
        layers: int | None = None,
        heads: int = 8,
        dropout: float = 0.5,
        word_dropout: float = 0.0,
        encoder_config: str | None = None,
        pooling: str = "first",
    ) -> None:
        super().__init__()
        self.types = whole(type(self).__name__, "types", types, 1)
        self.encoder = TextEncoder(
            encoder,
            vocabulary_size=vocabulary_size,
            word_dim=word_dim,
            tune_partial=tune_partial,
            bigram_count=bigram_count,
            bigram_dim=bigram_dim,
            character_count=character_count,
            character_dim=character_dim,
            character_filters=character_filters,
            hidden=hidden,
            layers=layers,
            heads=heads,
            dropout=dropout,
            word_dropout=word_dropout,
            encoder_config=encoder_config,
            pooling=pooling,
        )

    def forward(self, text: TextBatch) -> Tensor:
        """Scores of spans or tags."""
        raise NotImplementedError

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """What training minimises.

        Args:
            text: B texts of up to n tokens.
            spans: (N, 4) int64: text, type, first and last token, inclusive, of each entity.
        """
        raise NotImplementedError

    def find(self, text: TextBatch, *, threshold: float | None = None, flat: bool = False) -> list[list[DecodedEntity]]:
        """The entities of each text, by start, with scores from 0 to 1.

        Args:
            text: B texts.
            threshold: What a score must exceed; by default what the model was trained for.
            flat: Whether none may overlap another one.
        """
        raise NotImplementedError


def check_scores(scores: Tensor) -> None:
    """Require numbers; minus infinity is one."""
    if bool(scores.isnan().any()):
        raise ValueError("find_all_entities: model must give numbers for scores, got NaN")
