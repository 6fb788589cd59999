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
        options: Those of `TextEncoder`.

    Attributes:
        companion: Plain data that belongs to the tagger and stays with it in files: how text becomes numbers, and the
            names of the types.
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
