"""Finding relations with a trained model: from documents to relations between their entities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pydlx._checks import check_number, check_type, described, whole, whole_or_none
from pydlx.data.relation_batch import ordered_pairs
from pydlx.data.relation_set import RelationSet
from pydlx.data.relations import RelationDocument
from pydlx.data.text.featurizer import TextFeaturizer
from pydlx.losses.adaptive_threshold import threshold_labels
from pydlx.models.relations.document_relations import DocumentRelations
from pydlx.models.text.batches import batches_by_length

_SETTINGS = {"featurizer", "relations", "types", "max_length", "top_k"}  # keys that a companion must have
_BATCHES_PER_CHUNK = 16  # batches whose documents are sorted by length together


class FoundRelation(NamedTuple):
    """A relation between two entities of a document.

    Attributes:
        head: Index of the head entity.
        tail: Index of the tail entity.
        relation: Its name, such as ``"P17"``.
        score: 1 / (1 + exp(threshold - logit)), by default above 1/2.
        evidence: Indices of the sentences that mention both entities, ascending. The model does not choose them.
    """

    head: int
    tail: int
    relation: str
    score: float
    evidence: tuple[int, ...]


def find_relations(
    model: DocumentRelations, document: RelationDocument, *, threshold: float | None = None, top_k: int | None = None
) -> list[FoundRelation]:
    """Find the relations between the entities of a document.

    Args:
        model: A trained model, from ``load_model``.
        document: The document with its entities; its facts are not used. A pretrained encoder reads only as many tokens
            as in training.
        threshold: Scores must be greater than this, between 0 and 1; by default 1/2, the model's own threshold.
        top_k: Maximum number of relations of a pair, see ``threshold_labels``; by default as in training.

    Returns:
        The relations by descending score; an empty list for a document without words or with fewer than two entities.

    Raises:
        ValueError: If the model has no vocabulary or gives NaN, or the document does not hold its mentions.

    Example:
        >>> model = load_model("runs/relations/best.ckpt")  # doctest: +SKIP
        >>> find_relations(model, document)[0]  # doctest: +SKIP
        FoundRelation(head=0, tail=3, relation='P17', score=0.97, evidence=(0, 2))
    """
    check_type("find_relations", "document", document, RelationDocument, "a RelationDocument")
    return next(find_all_relations(model, [document], threshold=threshold, top_k=top_k))


def find_all_relations(
    model: DocumentRelations,
    documents: Iterable[RelationDocument],
    *,
    threshold: float | None = None,
    top_k: int | None = None,
    batch_size: int = 8,
) -> Iterator[list[FoundRelation]]:
    """Find the relations in many documents lazily and in order, about a hundred documents at a time.

    Args:
        model: A trained model, from ``load_model``, on any device; it is put into evaluation mode.
        documents: Documents, such as ``read_docred`` returns; see `find_relations`.
        threshold, top_k: See `find_relations`.
        batch_size: Number of documents in a batch.

    Returns:
        An iterator of one list of relations for each document.

    Raises:
        ValueError: If the model has no vocabulary; while iterating, if a document does not hold its mentions, or the
            logits are NaN, as after a training that diverged.
    """
    name = "find_all_relations"
    check_type(name, "model", model, DocumentRelations, "a model of relations")
    settings = model.companion
    if settings is None or not settings.keys() >= _SETTINGS:
        raise ValueError(f"{name}: model must have a vocabulary, as those that pydlx train relation leaves, got none")
    check_type(name, "documents", documents, Iterable, "a sequence of RelationDocument")
    if threshold is not None:
        check_number(name, "threshold", threshold)
        if not 0 < threshold < 1:
            raise ValueError(f"{name}: threshold must be between 0 and 1, got {threshold}")
    whole_or_none(name, "top_k", top_k, 1)
    whole(name, "batch_size", batch_size, 1)
    featurizer = TextFeaturizer.from_state(settings["featurizer"])
    waiting = _checked(documents)
    parts = iter(lambda: list(itertools.islice(waiting, _BATCHES_PER_CHUNK * batch_size)), [])
    sets = (
        RelationSet(
            part,
            featurizer,
            settings["relations"],
            settings["types"],
            labels=False,
            max_length=settings["max_length"],
        )
        for part in parts
    )
    decoding = _Decoding(0.5 if threshold is None else threshold, settings["top_k"] if top_k is None else top_k)
    return itertools.chain.from_iterable(_found_in_set(model.eval(), part, decoding, batch_size) for part in sets)


def _checked(documents: Iterable[RelationDocument]) -> Iterator[RelationDocument]:
    for document in documents:
        if not isinstance(document, RelationDocument):
            raise TypeError(
                f"find_all_relations: documents must hold nothing but RelationDocument, got {described(document)}"
            )
        yield document


class _Decoding(NamedTuple):
    """Options of decoding logits to relations; see `find_relations`."""

    threshold: float
    top_k: int | None


@torch.no_grad()
def _found_in_set(
    model: DocumentRelations, examples: RelationSet, decoding: _Decoding, batch_size: int
) -> list[list[FoundRelation]]:
    """Return the relations of all documents of a set."""
    found: list[list[FoundRelation]] = [[] for _ in examples.documents]
    for numbers, batch in batches_by_length(model, examples, batch_size):
        logits = model(batch).float().cpu()
        if bool(logits.isnan().any()):
            raise ValueError("find_all_relations: model must give numbers for logits, got NaN")
        for number, rows in zip(numbers, logits.split(batch.pair_counts), strict=True):
            document = examples.document(number)
            found[examples.places[number]] = found_relations(rows, document, examples.relations, *decoding)
    return found


def found_relations(
    logits: Tensor,
    document: RelationDocument,
    relations: Sequence[str],
    threshold: float = 0.5,
    top_k: int | None = None,
) -> list[FoundRelation]:
    """Decode logits (k (k − 1), C) of a document with k entities to relations by descending score."""
    named = [{mention.sentence for mention in places} for places in document.entities]
    pairs = ordered_pairs(len(document.entities)).tolist()
    scores = (logits - logits[:, :1]).sigmoid()
    shifted = logits[:, :1] + math.log(threshold / (1 - threshold))
    above = threshold_labels(torch.cat([shifted, logits[:, 1:]], 1), top_k)
    found = []
    for row, column in above[:, 1:].nonzero().tolist():
        head, tail = pairs[row]
        evidence = tuple(sorted(named[head] & named[tail]))
        found.append(FoundRelation(head, tail, relations[column + 1], scores[row, column + 1].item(), evidence))
    return sorted(found, key=lambda each: -each.score)


def entity_name(document: RelationDocument, entity: int) -> str:
    """Return the name of an entity at its first mention, or ``"entity 3"`` if it has no mention."""
    places = document.entities[entity]
    return min(places, key=lambda mention: mention[:2]).name if places else f"entity {entity}"
