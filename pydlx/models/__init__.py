"""Networks, each written as its paper describes it and built by name with ``create_model``.

``segmentation`` holds fully convolutional networks, ``detection`` CornerNet, ``gan`` generative networks, ``readers``
question answering, ``entities`` named-entity taggers, ``relations`` relation extraction. ``save_model`` and
``load_model`` write and read weights together with the name and the options that rebuild the model.
"""

from pydlx.models.checkpoint import load_model, save_model
from pydlx.models.registry import create_model, list_models, register_model

__all__ = ["create_model", "list_models", "load_model", "register_model", "save_model"]
