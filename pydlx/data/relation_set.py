"""Documents as examples for models of relations."""

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

_FAR = 10  # distances are told apart by their number of binary digits, up to this many
DISTANCES = 2 * _FAR + 2  # different distances, the unknown one included


@dataclass
class PairReport(Report):
    """What became of documents and mentions on their way to examples. Nothing is dropped that is not listed here.

    Attributes:
        documents: How many there are.
        pairs: How many ordered pairs of entities their examples have.
        left_out: Documents without a word, or with fewer than two entities: they have no pair.
        cut: Mentions behind what the model reads of a document.
    """

    documents: int = 0
    pairs: int = 0
    left_out: list[Note] = field(default_factory=list)
    cut: list[Note] = field(default_factory=list)


class RelationSet(Sequence[RelationExample]):
    """Documents as examples: those that have a word and two entities at least.

    Args:
        documents: Of ``read_docred``, or one's own.
        featurizer: Makes tensors of words.
        relations: Names of the C classes, ``"Na"`` first.
        types: Names of the types of entities; another type counts as none.
        labels: Whether facts become labels.
        max_length: Tokens, or wordpieces if the featurizer makes such, that are read of a document. The rest is cut
            off, and mentions in it are left out. None for no limit.

    Attributes:
        documents: All documents.
        places: The place of each example's document among them.
        lengths: (N,) int64, tokens of each example, for :func:`length_buckets`.
        owners: (N,) int64, each example's own number, as each is a whole document.
        report: What was left out.

    Raises:
        ValueError: A mention is no span of its document; or with `labels` a fact is of entities that are not there, of
            an entity with itself, or of an unknown relation.
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
        self._marks = [self._marked(place) for place in range(len(own))]
        self._labels = [self._labelled(document) for document in own] if labels else None
        self.lengths = np.array([len(tokens) for tokens in self._tokens], np.int64)
        self.owners = np.arange(len(own))
        self.report.pairs = sum(len(document.entities) * (len(document.entities) - 1) for document in own)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> RelationExample:  # type: ignore[override]
        mentions, distances, types, numbers = self._marks[index]
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
        """The document of an example."""
        return self.documents[self.places[index]]

    def collate(self, examples: Sequence[RelationExample]) -> RelationBatch:
        """Pads examples to a batch; there must be one at least."""
        return pair_batch(self.featurizer.collate([example.text for example in examples]), examples)

    def _has_pairs(self, document: RelationDocument) -> bool:
        entities = len(document.entities)
        if any(document.sentences) and entities > 1:
            return True
        reason = f"it has {entities} {'entity' if entities == 1 else 'entities'}" if entities < 2 else "it has no word"
        self.report.left_out.append((document.title, reason))
        return False

    def _read(self, texts: TokenisedTexts, place: int, max_length: int | None) -> np.ndarray:
        """The tokens of a document that are read, one at least."""
        tokens = texts.of(place)[0]
        if max_length is None:
            return tokens
        filled = np.cumsum(self._table.costs[tokens])
        return tokens[: max(1, int(np.searchsorted(filled, max_length, "right")))]

    def _marked(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mentions, distances, and of each token its type and the number of its entity."""
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
        """The facts as (f, 3) head, tail and relation."""
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
        """The labels of all pairs of a document."""
        assert self._labels is not None
        count = len(self.document(index).entities)
        table = torch.zeros(count, count, len(self.relations), dtype=torch.bool)
        table[tuple(torch.from_numpy(self._labels[index]).T)] = True
        table[..., 0] = ~table.any(-1)
        return table[tuple(ordered_pairs(count).T)]


def document_words(document: RelationDocument) -> tuple[str, ...]:
    """The words of all sentences."""
    return tuple(word for sentence in document.sentences for word in sentence)


def distance_numbers(mentions: np.ndarray, entities: int) -> np.ndarray:
    """How far the nearest mentions of two entities are apart, in the order of :func:`ordered_pairs`.

    Args:
        mentions: (m, 3) int64: entity, first token and last token.
        entities: k.

    Returns:
        (k (k − 1),) int64, below ``DISTANCES``. With d binary digits, 10 at most, of the number of tokens from the
        head's first one to the tail's: 10 + d where the tail comes later, 10 − d where the head does, the former of
        two such; ``DISTANCES - 1`` where an entity has no mention.
    """
    whole("distance_numbers", "entities", entities, 0)
    apart = np.full((entities, entities), np.inf)
    heads, starts = mentions[:, 0], mentions[:, 1]
    steps = starts[None] - starts[:, None]
    # Nearest last, as the last of several values for one place is the one that stays; of two as near the later tail.
    order = np.lexsort((steps.ravel() > 0, -np.abs(steps).ravel()))
    rows, columns = np.divmod(order, len(starts) or 1)
    apart[heads[rows], heads[columns]] = steps[rows, columns]
    known = np.isfinite(apart)
    digits = np.zeros_like(apart, np.int64)
    digits[known] = np.minimum(np.frexp(np.abs(apart[known]))[1], _FAR)
    numbers = np.where(known, _FAR + np.where(apart > 0, digits, -digits), DISTANCES - 1)
    return numbers[~np.eye(entities, dtype=bool)]


def _check_mentions(document: RelationDocument) -> None:
    """Refuses mentions outside of their sentence."""
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
    """Refuses facts of entities that are not there, or of one with itself."""
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
