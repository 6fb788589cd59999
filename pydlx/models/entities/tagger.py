"""The base class of all entity taggers."""

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
        types: Number of types of entities.
        options: Options of `TextEncoder`.

    Attributes:
        companion: Plain data that is saved with the tagger: how text becomes ids, and the names of the types.
        finds_nested: Whether entities may overlap.
    """

    companion: dict[str, Any] | None = None
    finds_nested: ClassVar[bool] = True
    options_of: ClassVar[type] = TextEncoder

    def __init__(self, *, types: int, **options: Any) -> None:
        super().__init__()
        self.types = whole(type(self).__name__, "types", types, 1)
        self.encoder = TextEncoder(**options)

    def forward(self, text: TextBatch) -> Tensor:
        """Return scores of spans or tags."""
        raise NotImplementedError

    def loss(self, text: TextBatch, spans: Tensor) -> Tensor:
        """Return the training loss.

        Args:
            text: B texts of up to n tokens.
            spans: (N, 4) int64; each row is an entity's text, type, first and last token, inclusive.
        """
        raise NotImplementedError

    def find(self, text: TextBatch, *, threshold: float | None = None, flat: bool = False) -> list[list[DecodedEntity]]:
        """Return the entities of each text, by start, with scores from 0 to 1.

        Args:
            text: B texts.
            threshold: Scores must be greater than this; by default as the model was trained.
            flat: Whether to drop entities that overlap one of higher score.
        """
        raise NotImplementedError


def check_scores(scores: Tensor) -> None:
    """Refuse NaN; -inf is allowed."""
    if bool(scores.isnan().any()):
        raise ValueError("find_all_entities: model must give numbers for scores, got NaN")
