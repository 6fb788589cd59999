"""Small documents with entities and relations to train and ask models of relations."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import torch

from pydlx.data import Fact, Mention, RelationDocument, RelationSet
from pydlx.data.relation_set import document_words
from pydlx.data.text import TextFeaturizer, Vocabulary, character_counts, create_tokeniser
from pydlx.models import create_model

PLACES = ("Rome", "Oslo", "Bonn", "Lima", "Delhi", "Quito", "Paris", "Seoul")
RELATIONS = ("Na", "born in", "lives in", "home of")
TYPES = ("LOC", "PER")


def document(number: int) -> RelationDocument:
    """Anna was born in one place and lives in another one; she, but not the places, is named in both sentences."""
    born, home = PLACES[number % 8], PLACES[(number + 3) % 8]
    sentences = ((f"Anna{number}", "was", "born", "in", born, "."), ("Now", "Anna", "lives", "in", "old", home, "."))
    anna = (Mention(0, 0, 0, f"Anna{number}", "PER"), Mention(1, 1, 1, "Anna", "PER"))
    places = (Mention(0, 4, 4, born, "LOC"),), (Mention(1, 4, 5, f"old {home}", "LOC"),)
    facts = (Fact(0, 1, "born in", (0,)), Fact(0, 2, "lives in", (1,)), Fact(2, 0, "home of", (1,)))
    return RelationDocument(f"Anna {number}", sentences, (anna, *places), facts)


DOCUMENTS = [document(number) for number in range(8)]
ALONE = RelationDocument("Alone", (("Anna", "."),), ((Mention(0, 0, 0, "Anna", "PER"),),))
BARE = RelationDocument("Bare", (("Nobody", "."),), ())
# Its second entity is named nowhere.
UNNAMED = RelationDocument(
    "Unnamed",
    (("Anna", "lives", "in", "Oslo"),),
    ((Mention(0, 0, 0, "Anna", "PER"),), (), (Mention(0, 3, 3, "Oslo", "LOC"),)),
)


def record(document: RelationDocument) -> dict:
    """A document in DocRED's form."""
    return {
        "title": document.title,
        "sents": document.sentences,
        "vertexSet": [
            [{"name": m.name, "sent_id": m.sentence, "pos": [m.start, m.end + 1], "type": m.type} for m in places]
            for places in document.entities
        ],
        "labels": [{"h": f.head, "t": f.tail, "r": f.relation, "evidence": f.evidence} for f in document.facts],
    }


def document_file(path: Path, documents=DOCUMENTS) -> Path:
    path.write_text(json.dumps([record(document) for document in documents]))
    return path


def featurizer(documents=DOCUMENTS, pieces=None) -> TextFeaturizer:
    counts = Counter(word for document in documents for word in document_words(document))
    characters = Vocabulary.from_counts(character_counts(counts))
    return TextFeaturizer(
        create_tokeniser("spaces"), Vocabulary.from_counts(counts), characters=characters, pieces=pieces
    )


def relation_set(documents=DOCUMENTS, *, labels=True, max_length=None, pieces=None) -> RelationSet:
    texts = featurizer(pieces=pieces)
    return RelationSet(documents, texts, RELATIONS, TYPES, labels=labels, max_length=max_length)


def batch_of(documents=DOCUMENTS, **options):
    examples = relation_set(documents, **options)
    return examples.collate(list(examples))


def tiny_model(*, seed=0, pieces=None, **options):
    """An untrained model with a vocabulary, in evaluation mode."""
    texts = featurizer(pieces=pieces)
    torch.manual_seed(seed)
    model = create_model(
        "document_relations",
        **{
            "relations": len(RELATIONS),
            "types": len(TYPES),
            "numbers": 2,
            "vocabulary_size": len(texts.vocabulary),
            "character_count": len(texts.characters),
            "word_dim": 4,
            "character_filters": 4,
            "hidden": 4,
            "pair_size": 8,
            "block": 4,
            "joint": 8,
        }
        | options,
    )
    model.companion = {
        "featurizer": texts.state(),
        "relations": list(RELATIONS),
        "types": list(TYPES),
        "max_length": None,
        "top_k": None,
    }
    return model.eval()
