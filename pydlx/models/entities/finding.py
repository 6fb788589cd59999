"""Finding entities with a trained tagger: from texts to characters that stand in them."""

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

_SETTINGS = {"featurizer", "types", "max_length"}  # what a companion holds
_PARTS = 16  # batches whose texts are sorted by length together

Text = str | Sequence[str]


class FoundEntity(NamedTuple):
    """An entity that stands in a text.

    Attributes:
        type: Its name.
        start: Its first character, or token of a text that came as tokens.
        end: Its last one, inclusive.
        text: Its characters as they stand there; tokens with a space between two.
        score: From 0 to 1. Of spans 1 / (1 + exp(-s)), above 1/2 where they count; of tags the geometric mean of their
            probabilities.
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
        text: A string, or a sequence of tokens. One that is longer than the tagger was trained on is read in windows
            that overlap by half; the window decides in whose half an entity's middle lies.
        threshold: Least score; by default 1/2 of models that score spans, and none of others.
        flat: Whether to leave out, of entities that overlap, those of lower score.

    Returns:
        The entities by start; of the same start the longest first. None in a text without a token.

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
    """Find the entities in many texts, in their order, a few hundred at a time.

    Args:
        model: A trained tagger, from ``load_model``, on any device; it is put into evaluation mode.
        texts: Strings, or sequences of tokens; see `find_entities`.
        threshold: Likewise.
        flat: Likewise.
        batch_size: Texts that are read at once.

    Returns:
        A list for each text.

    Raises:
        ValueError: If the tagger has no vocabulary; on the way, if its scores are NaN, as after a training that
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
    parts = iter(lambda: list(itertools.islice(waiting, _PARTS * batch_size)), [])
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
    """Require a string, or a sequence of tokens, which are strings that are not empty."""
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
    """The entities of each text of a set."""
    texts: list[list[DecodedEntity]] = [[] for _ in examples.source.texts]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        found = model.find(batch.text, threshold=threshold, flat=flat)
        for number, entities in zip(numbers, found, strict=True):
            texts[examples.windows[number][0]] += decided_entities(examples, number, entities)
    flat = flat or not model.finds_nested
    return [standing_entities(examples, number, entities, flat) for number, entities in enumerate(texts)]


def decided_entities(examples: EntitySet, number: int, entities: Iterable[DecodedEntity]) -> list[DecodedEntity]:
    """Of the entities of an example those that its window decides about, by tokens of the whole text."""
    _, window = examples.windows[number]
    moved = (e._replace(start=e.start + window.first, end=e.end + window.first) for e in entities)
    return [e for e in moved if window.core_first <= (e.start + e.end) // 2 < window.core_past]


def standing_entities(
    examples: EntitySet, place: int, entities: Iterable[DecodedEntity], flat: bool = False
) -> list[FoundEntity]:
    """Entities of a text's tokens as they stand in the text; `flat` leaves out overlaps, as of two windows."""
    text, found = examples.source.texts[place], []
    for entity in without_overlaps(entities) if flat else entities:
        kind = examples.types[entity.type]
        start, end = examples.source.text_span(place, entity.start, entity.end)
        found.append(FoundEntity(kind, start, end, text.surface(Entity(kind, start, end)), entity.score))
    return sorted(found, key=lambda e: (e.start, -e.end, e.type))
