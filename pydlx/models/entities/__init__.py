"""Named entity recognition: models that find entities, nested or flat, in texts.

``global_pointer`` scores spans, ``sequence_taggers`` tag tokens; both use the encoder of ``pydlx.models.text``.
``finding`` applies a trained tagger to texts.
"""

from pydlx.models.entities.decoding import DecodedEntity, decode_entities
from pydlx.models.entities.finding import FoundEntity, find_all_entities, find_entities
from pydlx.models.entities.global_pointer import EfficientGlobalPointerTagger, GlobalPointerTagger
from pydlx.models.entities.sequence_taggers import BIOTagger, CRFTagger
from pydlx.models.entities.tagger import EntityTagger

__all__ = [
    "BIOTagger",
    "CRFTagger",
    "DecodedEntity",
    "EfficientGlobalPointerTagger",
    "EntityTagger",
    "FoundEntity",
    "GlobalPointerTagger",
    "decode_entities",
    "find_all_entities",
    "find_entities",
]
