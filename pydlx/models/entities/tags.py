"""Tags of tokens in place of spans: 0 is outside; of type c, 1 + 2c begins an entity and 2 + 2c goes on in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pydlx.data.entity_set import outermost
from pydlx.models.entities.decoding import DecodedEntity

OUTSIDE = 0


def tags_of_spans(spans: Tensor, mask: Tensor) -> Tensor:
    """The tags (B, n) of entities, int64, `OUTSIDE` in padding.

    A token has one tag, so that of entities that overlap one remains, see `outermost`.

    Args:
        spans: (N, 4) of text, type, first and last token, inclusive.
        mask: (B, n), True at tokens.
    """
    tags = torch.full(mask.shape, OUTSIDE)
    of_items: dict[int, list[list[int]]] = {}
    for item, *span in spans.tolist():
        of_items.setdefault(item, []).append(span)
    for item, own in of_items.items():
        for kind, start, end in outermost(own):
            tags[item, start : end + 1] = 2 + 2 * kind
            tags[item, start] = 1 + 2 * kind
    return tags.to(mask.device)


def spans_of_tags(tags: Sequence[int], scores: Sequence[float]) -> list[DecodedEntity]:
    """The entities of a text's tags, as conlleval reads them: what goes on in nothing of its type begins an entity.

    Args:
        tags: Of n tokens.
        scores: Logarithm of each tag's probability. An entity's score is the geometric mean of those of its tags.
    """
    entities: list[DecodedEntity] = []
    kind, start = -1, 0  # of the entity that is open
    for place, tag in enumerate([*tags, OUTSIDE]):
        goes_on = tag != OUTSIDE and tag % 2 == 0 and (tag - 1) // 2 == kind
        if kind >= 0 and not goes_on:
            score = torch.tensor(scores[start:place]).mean().exp().item()
            entities.append(DecodedEntity(kind, start, place - 1, score))
            kind = -1
        if tag != OUTSIDE and not goes_on:
            kind, start = (tag - 1) // 2, place
    return entities
