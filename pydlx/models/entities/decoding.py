"""Decoding span scores to entities, nested or flat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from pydlx._checks import check_bool, check_flag, check_floating, check_not_nan


class DecodedEntity(NamedTuple):
    """An entity as a span of tokens.

    Attributes:
        type: Index of its type.
        start: Index of its first token.
        end: Index of its last token, inclusive.
        score: Score of the span.
    """

    type: int
    start: int
    end: int
    score: float


def decode_entities(
    scores: Tensor, mask: Tensor, *, threshold: float = 0.0, flat: bool = False
) -> list[list[DecodedEntity]]:
    """Return the spans whose score exceeds a threshold.

    Su et al., "Global Pointer", arXiv 2208.03054, section 3: every span with a score above 0 is an entity of its type,
    and entities may be nested or overlap. Spans in padding, with end before start, or with NaN are ignored.

    Args:
        scores: (B, C, n, n), scores of spans for C types; rows are first tokens, columns last tokens, inclusive.
        mask: (B, n) bool, True at tokens.
        threshold: Scores must be greater than this.
        flat: Whether to choose entities that do not overlap, greedily by descending score; ties go to the earlier
            start, then to the longer span.

    Returns:
        The entities of each of the B texts, sorted by start, and longest first for the same start.

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
    valid = (mask.unsqueeze(1) & mask.unsqueeze(2)).triu().unsqueeze(1)
    spans = ((scores > threshold) & valid).nonzero()
    values = scores[tuple(spans.unbind(1))].tolist()
    texts: list[list[DecodedEntity]] = [[] for _ in range(len(mask))]
    for (item, kind, start, end), score in zip(spans.tolist(), values, strict=True):
        texts[item].append(DecodedEntity(kind, start, end, score))
    return [_in_order(without_overlaps(entities) if flat else entities) for entities in texts]


def without_overlaps(entities: Iterable[DecodedEntity]) -> list[DecodedEntity]:
    """Choose entities greedily by descending score, without any that overlaps one chosen before."""
    taken: list[DecodedEntity] = []
    for entity in sorted(entities, key=lambda e: (-e.score, e.start, -e.end, e.type)):
        if all(entity.end < other.start or other.end < entity.start for other in taken):
            taken.append(entity)
    return taken


def _in_order(entities: list[DecodedEntity]) -> list[DecodedEntity]:
    return sorted(entities, key=lambda e: (e.start, -e.end, e.type))
