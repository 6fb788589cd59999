"""Recipes that train the models of ``pydlx.models`` with Lightning: ``pip install "pydlx[train]"``.

A recipe is a module with a dataclass of options, named in ``RECIPES``, and a function ``train(options)``. From the
command line, ``pydlx train fcn data=camvid backbone=slim_vgg`` runs one.
"""

# Name -> (module, class of options, description).
RECIPES = {
    "blending_gan": ("pydlx.training.blending_gan", "BlendingGANOptions", "GP-GAN's network, on pasted photographs"),
    "choice": ("pydlx.training.choice", "ChoiceOptions", "readers for multiple choice"),
    "cloze": ("pydlx.training.cloze", "ClozeOptions", "readers for cloze questions"),
    "cornernet": ("pydlx.training.cornernet", "CornerNetOptions", "CornerNet for object detection"),
    "fcn": ("pydlx.training.fcn", "FCNOptions", "FCN-32s, 16s, 8s for semantic segmentation"),
    "free_answer": ("pydlx.training.free_answer", "FreeAnswerOptions", "readers that answer from several documents"),
    "lapgan": ("pydlx.training.lapgan", "LapganOptions", "LAPGAN, which generates pictures"),
    "ner": ("pydlx.training.ner", "NerOptions", "GlobalPointer and others for named entities"),
    "reader": ("pydlx.training.reader", "ReaderOptions", "BiDAF, R-Net and others for question answering"),
    "relation": ("pydlx.training.relation", "RelationOptions", "relations between the entities of documents"),
}

__all__ = ["RECIPES"]
