"""Relation extraction: relations between the entities of a document.

``document_relations`` is the model, ``bilinear`` and ``pooling`` hold its layers, ``finding`` applies a trained model
to documents.
"""

from pydlx.models.relations.bilinear import GroupedBilinear
from pydlx.models.relations.document_relations import DocumentRelations
from pydlx.models.relations.finding import FoundRelation, entity_name, find_all_relations, find_relations

__all__ = [
    "DocumentRelations",
    "FoundRelation",
    "GroupedBilinear",
    "entity_name",
    "find_all_relations",
    "find_relations",
]
