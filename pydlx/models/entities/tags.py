"""BIO tags of tokens: 0 is outside (O); an entity of type c has 1 + 2c at its first token (B), then 2 + 2c (I)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pydlx.data.entity_set import outermost
from pydlx.models.entities.decoding import DecodedEntity

OUTSIDE = 0


def tags_of_spans(spans: Tensor, mask: Tensor) -> Tensor:
    """Return the tags (B, n) of entities, int64, `OUTSIDE` in padding.

    As a token has one tag, only one of several overlapping entities is tagged, see `outermost`.

    Args:
        spans: (N, 4); each row is an entity's text, type, first and last token, inclusive.
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
    """Return the entities of a text's tags. As in conlleval, an I tag that continues no entity of its type begins one.

    Args:
        tags: Tags of the text's n tokens.
        scores: Log-probability of each tag. An entity's score is the geometric mean of its tags' probabilities.
    """
    entities: list[DecodedEntity] = []
    kind, start = -1, 0  # of the open entity; -1 for none
    for place, tag in enumerate([*tags, OUTSIDE]):
        goes_on = tag != OUTSIDE and tag % 2 == 0 and (tag - 1) // 2 == kind
        if kind >= 0 and not goes_on:
            score = torch.tensor(scores[start:place]).mean().exp().item()
            entities.append(DecodedEntity(kind, start, place - 1, score))
            kind = -1
        if tag != OUTSIDE and not goes_on:
            kind, start = (tag - 1) // 2, place
    return entities
