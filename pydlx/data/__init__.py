"""Data sets: readers of their files, and sequences of examples for training.

Images are in this package, texts and questions in ``pydlx.data.reading`` and ``pydlx.data.text``.
"""

from pydlx.data.annotations import AnnotationWarning
from pydlx.data.composites import Composite, Light, RandomComposites, RandomRegions, ScenePairs, random_light
from pydlx.data.detection import BoxedImage, CocoBoxes
from pydlx.data.entities import (
    AnnotatedText,
    Entity,
    EntityReport,
    entities_of_tags,
    read_cluener,
    read_entities,
    read_litbank,
    write_entities,
)
from pydlx.data.entity_set import AlignmentReport, EntityBatch, EntityExample, EntitySet, TokenisedEntities
from pydlx.data.image_sets import ClassifiedImage, ImageSet, PhotographFolders, cifar10, stl10
from pydlx.data.label_maps import LabelMapPairs, read_label_map
from pydlx.data.photographs import Photographs
from pydlx.data.relation_batch import RelationBatch, RelationExample
from pydlx.data.relation_set import PairReport, RelationSet
from pydlx.data.relations import (
    NO_RELATION,
    Fact,
    Mention,
    RelationDocument,
    RelationReport,
    read_docred,
    read_relation_names,
    write_facts,
)
from pydlx.data.segmentation import (
    ImageLabelFolders,
    LabelledImage,
    camvid,
    class_pixels,
    median_frequency_weights,
    voc,
)
from pydlx.files import ImageWarning, read_image, write_image

__all__ = [
    "NO_RELATION",
    "AlignmentReport",
    "AnnotatedText",
    "AnnotationWarning",
    "BoxedImage",
    "ClassifiedImage",
    "CocoBoxes",
    "Composite",
    "Entity",
    "EntityBatch",
    "EntityExample",
    "EntityReport",
    "EntitySet",
    "Fact",
    "ImageLabelFolders",
    "ImageSet",
    "ImageWarning",
    "LabelMapPairs",
    "LabelledImage",
    "Light",
    "Mention",
    "PairReport",
    "PhotographFolders",
    "Photographs",
    "RandomComposites",
    "RandomRegions",
    "RelationBatch",
    "RelationDocument",
    "RelationExample",
    "RelationReport",
    "RelationSet",
    "ScenePairs",
    "TokenisedEntities",
    "camvid",
    "cifar10",
    "class_pixels",
    "entities_of_tags",
    "median_frequency_weights",
    "random_light",
    "read_cluener",
    "read_docred",
    "read_entities",
    "read_image",
    "read_label_map",
    "read_litbank",
    "read_relation_names",
    "stl10",
    "voc",
    "write_entities",
    "write_facts",
    "write_image",
]
