"""Finding relations with a trained model: from documents to facts, each with the sentences that name both entities."""

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

_SETTINGS = {"featurizer", "relations", "types", "max_length", "top_k"}  # what a companion holds
_PARTS = 16  # batches whose documents are sorted by length together


class FoundRelation(NamedTuple):
    """A relation between two entities of a document.

    Attributes:
        head: The first entity's number.
        tail: The second one's.
        relation: Its name, such as ``"P17"``.
        score: 1 / (1 + exp(threshold - logit)), above 1/2.
        evidence: The sentences that name both entities, ascending. The model does not choose them.
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
        model: A trained one, from ``load_model``.
        document: With its entities; facts are not looked at. A pretrained encoder reads no more of it than in training.
        threshold: What a score must exceed, from 0 to 1; by default 1/2, the model's own threshold.
        top_k: Most relations of a pair, see ``threshold_labels``; by default as in training.

    Returns:
        The relations by falling score; none in a document without a word or with fewer than two entities.

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
    """Find the relations in many documents, in their order, about a hundred at a time.

    Args:
        model: A trained one, from ``load_model``, on any device; it is put into evaluation mode.
        documents: Of ``read_docred``, or one's own; see `find_relations`.
        threshold: Likewise.
        top_k: Likewise.
        batch_size: Documents that are read at once.

    Returns:
        A list for each document.

    Raises:
        ValueError: If the model has no vocabulary; on the way, if a document does not hold its mentions, or the logits
            are NaN, as after a training that diverged.
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
    parts = iter(lambda: list(itertools.islice(waiting, _PARTS * batch_size)), [])
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
    """How logits become relations."""

    threshold: float
    top_k: int | None


@torch.no_grad()
def _found_in_set(
    model: DocumentRelations, examples: RelationSet, decoding: _Decoding, batch_size: int
) -> list[list[FoundRelation]]:
    """The relations of all documents of a set, read by length so that batches hold little padding."""
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
    """What logits (k (k − 1), C) of a document with k entities say, by falling score; see `find_relations`."""
    named = [{mention.sentence for mention in places} for places in document.entities]
    pairs = ordered_pairs(len(document.entities)).tolist()
    scores = (logits - logits[:, :1]).sigmoid()
    raised = logits[:, :1] + math.log(threshold / (1 - threshold))
    above = threshold_labels(torch.cat([raised, logits[:, 1:]], 1), top_k)
    found = []
    for row, column in above[:, 1:].nonzero().tolist():
        head, tail = pairs[row]
        evidence = tuple(sorted(named[head] & named[tail]))
        found.append(FoundRelation(head, tail, relations[column + 1], scores[row, column + 1].item(), evidence))
    return sorted(found, key=lambda each: -each.score)


def entity_name(document: RelationDocument, entity: int) -> str:
    """What an entity is called where it is first named; its number if it is named nowhere."""
    places = document.entities[entity]
    return min(places, key=lambda mention: mention[:2]).name if places else f"entity {entity}"
