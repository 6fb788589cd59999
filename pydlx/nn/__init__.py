"""The operators as modules, with the conventions of ``torch.nn``, and tools for the geometry of networks.

`pydlx.nn.arithmetic` computes output sizes and receptive fields of convolution and pooling along one axis;
`layer_geometry` applies it to every layer of a network.
"""

from pydlx.nn.attention_rnn import AttentionRNN
from pydlx.nn.corner_pool import BottomRightPool2d, CornerPool2d, TopLeftPool2d
from pydlx.nn.geometry import Geometry, LayerGeometry, layer_geometry
from pydlx.nn.global_pointer import EfficientGlobalPointer, GlobalPointer
from pydlx.nn.pyramid_pool import SpatialPyramidPool2d
from pydlx.nn.sequence_pool import SequencePool
from pydlx.nn.soft_pool import SoftPool1d, SoftPool2d, SoftPool3d
from pydlx.nn.trilinear_attention import TrilinearAttention
from pydlx.nn.upsample import BilinearUpsample2d, bilinear_kernel

__all__ = [
    "AttentionRNN",
    "BilinearUpsample2d",
    "BottomRightPool2d",
    "CornerPool2d",
    "EfficientGlobalPointer",
    "Geometry",
    "GlobalPointer",
    "LayerGeometry",
    "SequencePool",
    "SoftPool1d",
    "SoftPool2d",
    "SoftPool3d",
    "SpatialPyramidPool2d",
    "TopLeftPool2d",
    "TrilinearAttention",
    "bilinear_kernel",
    "layer_geometry",
]
