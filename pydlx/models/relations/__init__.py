"""Relations between the entities of documents.

``bilinear`` and ``pooling`` hold the parts of ``document_relations``.
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
