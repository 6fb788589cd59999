"""Documents become batches of entities and pairs; everything left out is noted."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")

from relation_samples import ALONE, BARE, DOCUMENTS, RELATIONS, TYPES, UNNAMED, batch_of, featurizer, relation_set

from pydlx.data import Fact, Mention, RelationDocument, RelationSet
from pydlx.data.relation_batch import ordered_pairs
from pydlx.data.relation_set import DISTANCES, distance_numbers


def test_an_example_holds_entities_pairs_and_labels():
    example = relation_set()[0]
    assert example.entities == 3
    assert example.types.tolist() == [2, 0, 0, 0, 1, 0, 0, 2, 0, 0, 1, 1, 0]
    assert example.numbers.tolist() == [1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 3, 3, 0]
    assert example.mentions.tolist() == [[0, 0, 0], [0, 7, 7], [1, 4, 4], [2, 10, 11]]
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert ordered_pairs(3).tolist() == [list(pair) for pair in pairs]
    facts = {(0, 1): 1, (0, 2): 2, (2, 0): 3}
    assert example.labels.int().argmax(1).tolist() == [facts.get(pair, 0) for pair in pairs]
    assert example.labels.sum(1).tolist() == [1] * 6


def test_a_batch_numbers_entities_on():
    batch = batch_of([DOCUMENTS[0], UNNAMED, DOCUMENTS[1]])
    assert batch.sizes == (3, 3, 3)
    assert batch.pair_counts == [6, 6, 6]
    assert batch.mentions[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert batch.mentions[:, 3].tolist() == [0, 0, 1, 2, 3, 5, 6, 6, 7, 8]
    assert batch.mentions[4:6, 1:3].tolist() == [[0, 0], [3, 3]]
    assert batch.pairs[6:12].tolist() == (ordered_pairs(3) + 3).tolist()
    assert batch.types.shape == batch.numbers.shape == batch.text.mask.shape == (3, 13)
    assert not batch.types[1, 4:].any()
    assert batch.labels[6:12, 0].all() and not batch.labels[6:12, 1:].any()


def test_documents_without_pairs_are_noted_and_left_out():
    empty = RelationDocument("Empty", ((),), ((), ()))
    examples = relation_set([ALONE, DOCUMENTS[0], BARE, empty])
    assert (len(examples), examples.places, examples.document(0)) == (1, [1], DOCUMENTS[0])
    assert examples.report.left_out == [
        ("Alone", "it has 1 entity"),
        ("Bare", "it has 0 entities"),
        ("Empty", "it has no word"),
    ]
    assert str(examples.report) == "4 documents, 6 pairs, 3 left out"
    assert len(relation_set([])) == 0


def test_what_is_behind_the_limit_is_cut_off_with_its_mentions():
    examples = relation_set([DOCUMENTS[0]], max_length=11)
    example = examples[0]
    assert len(example.text.words) == len(example.types) == examples.lengths[0] == 11
    assert example.mentions.tolist() == [[0, 0, 0], [0, 7, 7], [1, 4, 4]]
    assert examples.report.cut == [("Anna 0", "'old Lima' stands behind 11 words")]
    assert example.labels.shape == (6, 4)  # facts are kept
    assert example.distances[ordered_pairs(3).tolist().index([0, 2])] == DISTANCES - 1


def test_unknown_types_are_none_and_labels_may_be_left_out():
    strange = dataclasses.replace(
        UNNAMED, entities=((Mention(0, 0, 0, "Anna", "CAT"),), (Mention(0, 3, 3, "Oslo", "LOC"),))
    )
    example = relation_set([strange], labels=False)[0]
    assert (example.types.tolist(), example.labels) == ([0, 0, 0, 1], None)
    batch = relation_set([strange], labels=False)
    assert batch.collate(list(batch)).labels is None
    impossible = dataclasses.replace(strange, facts=(Fact(0, 9, "eats"), Fact(1, 1, "eats")))
    assert len(relation_set([impossible], labels=False)) == 1  # labels are not read


def wrong(**change):
    return [dataclasses.replace(DOCUMENTS[0], **change)]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (wrong(entities=((Mention(2, 0, 0, "x", "PER"),), ())), "got words 0 to 0 of 0 in sentence 2 for entity 0"),
        (wrong(entities=((Mention(0, 5, 6, "x", "PER"),), ())), "got words 5 to 6 of 6 in sentence 0"),
        (wrong(entities=((), (Mention(-1, 0, 0, "x", "PER"),))), "in sentence -1 for entity 1 of 'Anna 0'"),
        (wrong(facts=(Fact(0, 3, "born in"),)), "facts of two of their 3 entities, got 0 and 3 in 'Anna 0'"),
        (wrong(facts=(Fact(1, 1, "born in"),)), "got 1 and 1"),
        (wrong(facts=(Fact(0, 1, "eats"),)), "no other relations than the 3 known ones, got 'eats' in 'Anna 0'"),
        (wrong(facts=(Fact(0, 1, "Na"),)), "got 'Na'"),
    ],
)
def test_documents_that_do_not_fit_are_refused(documents, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        relation_set(documents)


def test_relations_begin_with_that_of_none():
    with pytest.raises(ValueError, match="relations must begin with 'Na', got \\['a'\\]"):
        RelationSet(DOCUMENTS, featurizer(), ["a", "Na"], TYPES)
    with pytest.raises(ValueError, match="types must be a sequence of different names"):
        RelationSet(DOCUMENTS, featurizer(), RELATIONS, ["LOC", "LOC"])


def test_examples_have_labels_all_or_none():
    known, unknown = relation_set(), relation_set(labels=False)
    with pytest.raises(ValueError, match="all have labels or none, got 1 of 2"):
        known.collate([known[0], unknown[0]])


def test_distances_are_those_of_the_nearest_mentions():
    random = np.random.default_rng(0)
    for _ in range(30):
        count = int(random.integers(1, 6))
        size = int(random.integers(0, 12))
        mentions = np.stack([random.integers(0, count, size), random.integers(0, 1500, size), np.zeros(size, int)], 1)
        wanted = []
        for head, tail in ordered_pairs(count).tolist():
            steps = [
                int(last - first)
                for first in mentions[mentions[:, 0] == head, 1]
                for last in mentions[mentions[:, 0] == tail, 1]
            ]
            nearest = min(steps, key=lambda step: (abs(step), step < 0), default=None)
            if nearest is None:
                wanted.append(DISTANCES - 1)
            else:
                wanted.append(10 + min(len(f"{abs(nearest):b}"), 10) * (1 if nearest > 0 else -1) * (nearest != 0))
        assert distance_numbers(mentions, count).tolist() == wanted
    assert torch.tensor(wanted).max() < DISTANCES
