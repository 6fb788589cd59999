"""Finding entities with a trained tagger: from texts to entities with their place in the text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from pydlx._checks import check_flag, check_number, check_type, described, whole
from pydlx.data.entities import AnnotatedText, Entity
from pydlx.data.entity_set import EntitySet, TokenisedEntities
from pydlx.data.text.featurizer import TextFeaturizer
from pydlx.models.entities.decoding import DecodedEntity, without_overlaps
from pydlx.models.entities.tagger import EntityTagger
from pydlx.models.text.batches import batches_by_length

_SETTINGS = {"featurizer", "types", "max_length"}  # keys that a companion must have
_BATCHES_PER_CHUNK = 16  # batches whose texts are sorted by length together

Text = str | Sequence[str]


class FoundEntity(NamedTuple):
    """An entity in a text.

    Attributes:
        type: Name of its type.
        start: Offset of its first character; index of its first token if the text was given as tokens.
        end: Offset of its last character, or index of its last token, inclusive.
        text: The entity as written in the text; tokens are joined by spaces.
        score: From 0 to 1. For models that score spans, 1 / (1 + exp(-s)) of the span's score s, by default above 1/2;
            for taggers of tokens, the geometric mean of the tags' probabilities.
    """

    type: str
    start: int
    end: int
    text: str
    score: float


def find_entities(
    model: EntityTagger, text: Text, *, threshold: float | None = None, flat: bool = False
) -> list[FoundEntity]:
    """Find the entities in a text.

    Args:
        model: A trained tagger, from ``load_model``.
        text: A string, or a sequence of tokens. A text that is longer than in training is read in windows that overlap
            by half; each entity is taken from the window whose core holds the entity's middle.
        threshold: Scores must be greater than this; by default 1/2 for models that score spans, and none for others.
        flat: Whether to drop entities that overlap one of higher score.

    Returns:
        The entities, sorted by start, and longest first for the same start. An empty list for a text without a token.

    Raises:
        ValueError: If the tagger has no vocabulary or gives NaN.

    Example:
        >>> model = load_model("runs/ner/best.ckpt")  # doctest: +SKIP
        >>> find_entities(model, "Anna lives in Rome.")  # doctest: +SKIP
        [FoundEntity(type='PER', start=0, end=3, text='Anna', score=0.98), ...]
    """
    _check_text("find_entities", text)
    return next(find_all_entities(model, [text], threshold=threshold, flat=flat))


def find_all_entities(
    model: EntityTagger,
    texts: Iterable[Text],
    *,
    threshold: float | None = None,
    flat: bool = False,
    batch_size: int = 32,
) -> Iterator[list[FoundEntity]]:
    """Find the entities in many texts lazily and in order, a few hundred texts at a time.

    Args:
        model: A trained tagger, from ``load_model``, on any device; it is put into evaluation mode.
        texts: Strings, or sequences of tokens; see `find_entities`.
        threshold, flat: See `find_entities`.
        batch_size: Number of texts, or windows of them, in a batch.

    Returns:
        An iterator of one list of entities for each text.

    Raises:
        ValueError: If the tagger has no vocabulary; while iterating, if its scores are NaN, as after a training that
            diverged.
    """
    name = "find_all_entities"
    check_type(name, "model", model, EntityTagger, "a tagger")
    settings = model.companion
    if settings is None or not settings.keys() >= _SETTINGS:
        raise ValueError(f"{name}: model must have a vocabulary, as those that pydlx train ner leaves, got none")
    check_type(name, "texts", texts, Iterable, "a sequence of texts")
    if isinstance(texts, str):
        raise TypeError(f"{name}: texts must be a sequence of texts, got {described(texts)}")
    if threshold is not None:
        check_number(name, "threshold", threshold)
        if not 0 <= threshold <= 1:
            raise ValueError(f"{name}: threshold must be from 0 to 1, got {threshold}")
    check_flag(name, "flat", flat)
    whole(name, "batch_size", batch_size, 1)
    featurizer = TextFeaturizer.from_state(settings["featurizer"])
    waiting = map(_annotated, texts)
    parts = iter(lambda: list(itertools.islice(waiting, _BATCHES_PER_CHUNK * batch_size)), [])
    sets = (
        EntitySet(
            TokenisedEntities(part, featurizer.tokeniser),
            featurizer,
            settings["types"],
            max_length=settings["max_length"],
        )
        for part in parts
    )
    found = (found_in_set(model.eval(), part, threshold, flat, batch_size) for part in sets)
    return itertools.chain.from_iterable(found)


def _annotated(text: Text) -> AnnotatedText:
    _check_text("find_all_entities", text)
    return AnnotatedText("", text if isinstance(text, str) else tuple(text))


def _check_text(name: str, text: Any) -> None:
    """Require a string, or a sequence of tokens, which are non-empty strings."""
    if isinstance(text, str):
        return
    wanted = "a string or a sequence of tokens"
    check_type(name, "text", text, Sequence, wanted)
    if isinstance(text, bytes) or not all(isinstance(token, str) and token for token in text):
        raise TypeError(f"{name}: text must be {wanted}, got {described(text)}")


@torch.no_grad()
def found_in_set(
    model: EntityTagger, examples: EntitySet, threshold: float | None, flat: bool, batch_size: int
) -> list[list[FoundEntity]]:
    """Return the entities of each text of a set."""
    texts: list[list[DecodedEntity]] = [[] for _ in examples.source.texts]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        found = model.find(batch.text, threshold=threshold, flat=flat)
        for number, entities in zip(numbers, found, strict=True):
            texts[examples.windows[number][0]] += decided_entities(examples, number, entities)
    flat = flat or not model.finds_nested
    return [entities_in_text(examples, number, entities, flat) for number, entities in enumerate(texts)]


def decided_entities(examples: EntitySet, number: int, entities: Iterable[DecodedEntity]) -> list[DecodedEntity]:
    """Keep the entities whose middle lies in the core of the example's window, as spans of the whole text's tokens."""
    _, window = examples.windows[number]
    moved = (e._replace(start=e.start + window.first, end=e.end + window.first) for e in entities)
    return [e for e in moved if window.core_first <= (e.start + e.end) // 2 < window.core_past]


def entities_in_text(
    examples: EntitySet, place: int, entities: Iterable[DecodedEntity], flat: bool = False
) -> list[FoundEntity]:
    """Convert spans of a text's tokens to entities with offsets in the text; `flat` drops overlapping ones."""
    text, found = examples.source.texts[place], []
    for entity in without_overlaps(entities) if flat else entities:
        kind = examples.types[entity.type]
        start, end = examples.source.text_span(place, entity.start, entity.end)
        found.append(FoundEntity(kind, start, end, text.surface(Entity(kind, start, end)), entity.score))
    return sorted(found, key=lambda e: (e.start, -e.end, e.type))
