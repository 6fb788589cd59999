"""From the scores of all spans to entities, nested or flat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from pydlx._checks import check_bool, check_flag, check_floating, check_not_nan


class DecodedEntity(NamedTuple):
    """A span of tokens and what it is.

    Attributes:
        type: Its number.
        start: Its first token.
        end: Its last token, inclusive.
        score: Of the span.
    """

    type: int
    start: int
    end: int
    score: float


def decode_entities(
    scores: Tensor, mask: Tensor, *, threshold: float = 0.0, flat: bool = False
) -> list[list[DecodedEntity]]:
    """The spans whose score is above a threshold.

    Su et al., "Global Pointer", arXiv 2208.03054, section 3: each type's cells above 0 are its entities, nested,
    overlapping or not. Cells in padding, below the diagonal and with NaN are none.

    Args:
        scores: (B, C, n, n) of C types, by first and last token, inclusive.
        mask: (B, n), bool: True at tokens.
        threshold: What a score must exceed.
        flat: Take the highest score first, the earliest and then the longest of equal ones, and none that overlaps one
            that is taken.

    Returns:
        For each of B texts its entities, by start; of the same start the longest first.

    Raises:
        ValueError: If the shapes do not fit.
    """
    check_floating("decode_entities", "scores", scores)
    check_bool("decode_entities", "mask", mask)
    check_not_nan("decode_entities", "threshold", threshold)
    check_flag("decode_entities", "flat", flat)
    if scores.dim() != 4 or scores.shape[2] != scores.shape[3] or mask.shape != (scores.shape[0], scores.shape[3]):
        raise ValueError(
            "decode_entities: scores must have shape (B, C, n, n) and mask (B, n), "
            f"got {tuple(scores.shape)} and {tuple(mask.shape)}"
        )
    real = (mask.unsqueeze(1) & mask.unsqueeze(2)).triu().unsqueeze(1)
    cells = ((scores > threshold) & real).nonzero()
    values = scores[tuple(cells.unbind(1))].tolist()
    texts: list[list[DecodedEntity]] = [[] for _ in range(len(mask))]
    for (item, kind, start, end), score in zip(cells.tolist(), values, strict=True):
        texts[item].append(DecodedEntity(kind, start, end, score))
    return [_in_order(without_overlaps(entities) if flat else entities) for entities in texts]


def without_overlaps(entities: Iterable[DecodedEntity]) -> list[DecodedEntity]:
    """Those that remain when the highest score comes first, and none is taken that overlaps one before it."""
    taken: list[DecodedEntity] = []
    for entity in sorted(entities, key=lambda e: (-e.score, e.start, -e.end, e.type)):
        if all(entity.end < other.start or other.end < entity.start for other in taken):
            taken.append(entity)
    return taken


def _in_order(entities: list[DecodedEntity]) -> list[DecodedEntity]:
    return sorted(entities, key=lambda e: (e.start, -e.end, e.type))
