"""Documents as examples for relation models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pydlx._checks import check_flag, check_type, listed, whole, whole_or_none
from pydlx.data.relation_batch import RelationBatch, RelationExample, ordered_pairs, pair_batch
from pydlx.data.relations import NO_RELATION, RelationDocument
from pydlx.data.report import Note, Report
from pydlx.data.text.featurizer import TextFeaturizer
from pydlx.data.text.texts import TokenisedTexts, tokenise

_FAR = 10  # distance classes go by the number of binary digits, up to this many
DISTANCES = 2 * _FAR + 2  # number of distance classes, the unknown distance included


@dataclass
class PairReport(Report):
    """What the conversion of documents to examples left out. Everything that it drops is listed here.

    Attributes:
        documents: Number of documents.
        pairs: Number of ordered pairs of entities in all examples.
        left_out: Documents without a word or with fewer than two entities, which have no pairs.
        cut: Mentions beyond the maximum length of a document.
    """

    documents: int = 0
    pairs: int = 0
    left_out: list[Note] = field(default_factory=list)
    cut: list[Note] = field(default_factory=list)


class RelationSet(Sequence[RelationExample]):
    """Documents as examples for a relation model; each needs at least a word and two entities.

    Args:
        documents: Documents, such as ``read_docred`` returns.
        featurizer: Converts words to ids.
        relations: Names of the C classes, ``"Na"`` first.
        types: Names of the entity types; mentions of other types are treated as without type.
        labels: Whether to make labels of the documents' facts.
        max_length: Maximum number of tokens of a document, or of wordpieces if the featurizer has them. The rest is cut
            off, and mentions in it are left out. None for no limit.

    Attributes:
        documents: All documents.
        places: Index in `documents` of each example's document.
        lengths: (N,) int64, number of tokens of each example, for :func:`length_buckets`.
        owners: (N,) int64, index of each example itself, as each is a whole document.
        report: What was left out.

    Raises:
        ValueError: If a mention is no span of its document; with `labels`, if a fact's entities do not exist or are the
            same, or its relation is unknown.
    """

    def __init__(
        self,
        documents: Iterable[RelationDocument],
        featurizer: TextFeaturizer,
        relations: Sequence[str],
        types: Sequence[str],
        *,
        labels: bool = True,
        max_length: int | None = None,
    ) -> None:
        name = "RelationSet"
        self.documents = listed(name, "documents", documents, "documents")
        check_type(name, "featurizer", featurizer, TextFeaturizer, "a TextFeaturizer")
        self.featurizer = featurizer
        self.relations, self.types = _names(name, "relations", relations), _names(name, "types", types)
        if self.relations[:1] != [NO_RELATION]:
            raise ValueError(f"{name}: relations must begin with {NO_RELATION!r}, got {self.relations[:1]}")
        check_flag(name, "labels", labels)
        whole_or_none(name, "max_length", max_length, 1)
        for document in self.documents:
            check_type(name, "documents", document, RelationDocument, "documents")
            _check_mentions(document)
            if labels:
                _check_facts(document)
        self._numbers = {relation: number for number, relation in enumerate(self.relations)}
        self._type_numbers = {kind: number for number, kind in enumerate(self.types, 1)}
        self.report = PairReport(len(self.documents))
        self.places = [place for place, document in enumerate(self.documents) if self._has_pairs(document)]
        own = [self.documents[place] for place in self.places]
        texts = tokenise([document_words(document) for document in own], featurizer.tokeniser)
        self._table = featurizer.table(texts.words)
        self._tokens = [self._read(texts, place, max_length) for place in range(len(own))]
        self._entities = [self._entity_parts(place) for place in range(len(own))]
        self._labels = [self._labelled(document) for document in own] if labels else None
        self.lengths = np.array([len(tokens) for tokens in self._tokens], np.int64)
        self.owners = np.arange(len(own))
        self.report.pairs = sum(len(document.entities) * (len(document.entities) - 1) for document in own)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> RelationExample:  # type: ignore[override]
        mentions, distances, types, numbers = self._entities[index]
        return RelationExample(
            self.featurizer.features(self._table, self._tokens[index]),
            types,
            numbers,
            mentions,
            distances,
            len(self.document(index).entities),
            None if self._labels is None else self._table_of(index),
        )

    def document(self, index: int) -> RelationDocument:
        """Return the document of an example."""
        return self.documents[self.places[index]]

    def collate(self, examples: Sequence[RelationExample]) -> RelationBatch:
        """Pad examples to a batch; there must be at least one."""
        return pair_batch(self.featurizer.collate([example.text for example in examples]), examples)

    def _has_pairs(self, document: RelationDocument) -> bool:
        entities = len(document.entities)
        if any(document.sentences) and entities > 1:
            return True
        reason = f"it has {entities} {'entity' if entities == 1 else 'entities'}" if entities < 2 else "it has no word"
        self.report.left_out.append((document.title, reason))
        return False

    def _read(self, texts: TokenisedTexts, place: int, max_length: int | None) -> np.ndarray:
        """Return the first tokens of a document up to `max_length`, at least one."""
        tokens = texts.of(place)[0]
        if max_length is None:
            return tokens
        filled = np.cumsum(self._table.costs[tokens])
        return tokens[: max(1, int(np.searchsorted(filled, max_length, "right")))]

    def _entity_parts(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return mentions, distances, types and numbers of an example, see `RelationExample`."""
        document, length = self.document(index), len(self._tokens[index])
        types, numbers = (np.zeros(length, np.int64) for _ in range(2))
        mentions: list[tuple[int, int, int]] = []
        starts = document.sentence_starts
        for entity, places in enumerate(document.entities):
            for mention in places:
                first, last = (starts[mention.sentence] + word for word in (mention.start, mention.end))
                if last >= length:
                    self.report.cut.append((document.title, f"{mention.name!r} stands behind {length} words"))
                    continue
                mentions.append((entity, first, last))
                types[first : last + 1] = self._type_numbers.get(mention.type, 0)
                numbers[first : last + 1] = entity + 1
        rows = np.array(mentions, np.int64).reshape(-1, 3)
        return rows, distance_numbers(rows, len(document.entities)), types, numbers

    def _labelled(self, document: RelationDocument) -> np.ndarray:
        """Return the facts as (f, 3) int64: head, tail and relation."""
        rows = []
        for fact in document.facts:
            number = self._numbers.get(fact.relation, 0)
            if not number:
                raise ValueError(
                    f"RelationSet: documents must have no other relations than the {len(self.relations) - 1} known "
                    f"ones, got {fact.relation!r} in {document.title!r}"
                )
            rows.append((fact.head, fact.tail, number))
        return np.array(rows, np.int64).reshape(-1, 3)

    def _table_of(self, index: int) -> Tensor:
        """Return the labels (k (k − 1), C) of all pairs of a document."""
        assert self._labels is not None
        count = len(self.document(index).entities)
        table = torch.zeros(count, count, len(self.relations), dtype=torch.bool)
        table[tuple(torch.from_numpy(self._labels[index]).T)] = True
        table[..., 0] = ~table.any(-1)
        return table[tuple(ordered_pairs(count).T)]


def document_words(document: RelationDocument) -> tuple[str, ...]:
    """Return the words of all sentences."""
    return tuple(word for sentence in document.sentences for word in sentence)


def distance_numbers(mentions: np.ndarray, entities: int) -> np.ndarray:
    """Return the distance class of each pair of entities, in the order of :func:`ordered_pairs`.

    The distance is the number of tokens between the first tokens of those mentions of head and tail that are nearest to
    each other. Its class goes by its number d of binary digits, at most 10.

    Args:
        mentions: (m, 3) int64; each row is a mention's entity, first token and last token.
        entities: k.

    Returns:
        (k (k − 1),) int64, below ``DISTANCES``: 10 + d if the tail comes later, 10 − d if the head does, and 10 + d if
        both are as near; ``DISTANCES - 1`` if an entity has no mention.
    """
    whole("distance_numbers", "entities", entities, 0)
    apart = np.full((entities, entities), np.inf)
    heads, starts = mentions[:, 0], mentions[:, 1]
    steps = starts[None] - starts[:, None]
    # Sort by falling distance, because the last assignment to an element stays; at ties a later tail comes last.
    order = np.lexsort((steps.ravel() > 0, -np.abs(steps).ravel()))
    rows, columns = np.divmod(order, len(starts) or 1)
    apart[heads[rows], heads[columns]] = steps[rows, columns]
    known = np.isfinite(apart)
    digits = np.zeros_like(apart, np.int64)
    digits[known] = np.minimum(np.frexp(np.abs(apart[known]))[1], _FAR)
    numbers = np.where(known, _FAR + np.where(apart > 0, digits, -digits), DISTANCES - 1)
    return numbers[~np.eye(entities, dtype=bool)]


def _check_mentions(document: RelationDocument) -> None:
    """Refuse mentions outside of their sentence."""
    for entity, places in enumerate(document.entities):
        for mention in places:
            sentence = mention.sentence
            words = len(document.sentences[sentence]) if 0 <= sentence < len(document.sentences) else 0
            if not 0 <= mention.start <= mention.end < words:
                raise ValueError(
                    f"RelationSet: documents must hold their mentions, got words {mention.start} to {mention.end} of "
                    f"{words} in sentence {sentence} for entity {entity} of {document.title!r}"
                )


def _check_facts(document: RelationDocument) -> None:
    """Refuse facts whose entities do not exist or are the same."""
    count = len(document.entities)
    for fact in document.facts:
        if not (0 <= fact.head < count and 0 <= fact.tail < count and fact.head != fact.tail):
            raise ValueError(
                f"RelationSet: documents must have facts of two of their {count} entities, got {fact.head} and "
                f"{fact.tail} in {document.title!r}"
            )


def _names(name: str, argument: str, values: Sequence[str]) -> list[str]:
    names = listed(name, argument, values, "a sequence of different names")
    if not all(isinstance(value, str) for value in names) or len(set(names)) != len(names):
        raise ValueError(f"{name}: {argument} must be a sequence of different names, got {names}")
    return names
