"""Calls of what makes examples of documents with relations, and of what finds relations."""

from __future__ import annotations

from relation_samples import DOCUMENTS, RELATIONS, TYPES, featurizer, tiny_model
from torch import nn

from bad_input.arguments import Call, anything, count, flag, number, path, whole
from bad_input.reading import GLOVE
from pydlx.models.relations import find_all_relations

DATA = {
    "RelationSet": Call(
        {
            "documents": anything(DOCUMENTS, None, 5, "ab", ["a"], [None]),
            "featurizer": anything(featurizer(), None, 5, "words", {}),
            "relations": anything(list(RELATIONS), None, 5, "Na", [], [3], ["born in", "Na"], ["Na", "Na"]),
            "types": anything(list(TYPES), None, 5, "PER", [3], ["PER", "PER"]),
            "labels": flag(True),
            "max_length": count(8).without_none(),
        }
    ),
}
TEXT = {"first_words": Call({"source": path(GLOVE).without_none(), "count": whole(1, -1)})}
_MODEL = anything(tiny_model(), None, "document_relations", 5, nn.Identity(), {})
_SETTINGS = {
    "threshold": number(0.4, 0, 1, -1, 2).without_none(),
    "top_k": count(2).without_none(),
}
FINDING = {
    "find_all_relations": Call(
        {
            "model": _MODEL,
            "documents": anything(DOCUMENTS[:2], None, 5, "ab", ["a"], [None]),
            **_SETTINGS,
            "batch_size": count(2),
        },
        run=lambda **given: list(find_all_relations(**given)),
    ),
    "find_relations": Call(
        {"model": _MODEL, "document": anything(DOCUMENTS[0], None, 5, "a", {}, [DOCUMENTS[0]]), **_SETTINGS},
        speaks=("find_all_relations",),
    ),
}
