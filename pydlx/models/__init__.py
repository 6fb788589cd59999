"""Networks by name, each written as its paper is.

``segmentation`` holds fully convolutional networks, ``detection`` CornerNet, ``gan`` generative ones. ``create_model``
builds any of them, ``save_model`` and ``load_model`` keep them in files that say what they are.
"""

from pydlx.models.checkpoint import load_model, save_model
from pydlx.models.registry import create_model, list_models, register_model

__all__ = ["create_model", "list_models", "load_model", "register_model", "save_model"]
