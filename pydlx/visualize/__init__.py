"""Pictures of what the feature maps of a convolutional network respond to, and of what a network predicts or makes.

>>> from pydlx.data import write_image
>>> from pydlx.visualize import grid, top_activations
>>> excitations = top_activations(model, images, "features.7", channels=range(8))  # doctest: +SKIP
>>> write_image("features.png", grid(excitations))  # doctest: +SKIP
"""

from pydlx.visualize.activations import Excitation, top_activations
from pydlx.visualize.deconvnet import Deconvnet
from pydlx.visualize.pictures import grid
from pydlx.visualize.predictions import colour_labels, draw_boxes, label_colours
from pydlx.visualize.samples import chain_grid

__all__ = [
    "Deconvnet",
    "Excitation",
    "chain_grid",
    "colour_labels",
    "draw_boxes",
    "grid",
    "label_colours",
    "top_activations",
]
