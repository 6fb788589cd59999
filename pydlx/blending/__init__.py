"""Image blending: pasting, Poisson editing and Gaussian-Poisson blending, for NumPy arrays and torch tensors.

>>> from pydlx.blending import blend
>>> picture = blend(source, target, mask, offset=(332, 404), method="poisson")  # doctest: +SKIP
"""

from pydlx.blending.blend import blend
from pydlx.blending.evaluation import evaluate_blend
from pydlx.blending.methods import METHODS, method_options
from pydlx.blending.placement import centred_offset
from pydlx.blending.solution import BlendReport

__all__ = [
    "METHODS",
    "BlendReport",
    "blend",
    "centred_offset",
    "evaluate_blend",
    "method_options",
]
