"""Recipes that train the models of ``pydlx.models`` with Lightning: ``pip install "pydlx[train]"``.

A recipe is a module with a dataclass of options, named in ``RECIPES``, and a function ``train(options)``. ``pydlx train
fcn data=camvid backbone=slim_vgg`` runs one from the command line.
"""

# Name -> (module, its class of options, what it trains).
RECIPES = {
    "blending_gan": ("pydlx.training.blending_gan", "BlendingGANOptions", "GP-GAN's network, on pasted photographs"),
    "choice": ("pydlx.training.choice", "ChoiceOptions", "readers that choose one of several answers"),
    "cloze": ("pydlx.training.cloze", "ClozeOptions", "readers that fill the gap in a sentence"),
    "cornernet": ("pydlx.training.cornernet", "CornerNetOptions", "CornerNet for boxes"),
    "fcn": ("pydlx.training.fcn", "FCNOptions", "FCN-32s, 16s, 8s for labels of pixels"),
    "free_answer": ("pydlx.training.free_answer", "FreeAnswerOptions", "readers that answer from several documents"),
    "lapgan": ("pydlx.training.lapgan", "LapganOptions", "LAPGAN, which makes pictures"),
    "ner": ("pydlx.training.ner", "NerOptions", "GlobalPointer and others, which find named entities"),
    "reader": ("pydlx.training.reader", "ReaderOptions", "BiDAF, R-Net and others, which answer questions"),
    "relation": ("pydlx.training.relation", "RelationOptions", "relations between the entities of documents"),
}

__all__ = ["RECIPES"]
