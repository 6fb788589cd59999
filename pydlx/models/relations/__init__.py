"""Relations between the entities of documents.

``bilinear`` and ``pooling`` hold the parts of ``document_relations``.
"""

from pydlx.models.relations.bilinear import GroupedBilinear
from pydlx.models.relations.document_relations import DocumentRelations

__all__ = ["DocumentRelations", "GroupedBilinear"]
