"""Modules over the operators, drop-in for their ``torch.nn`` neighbours."""

from pydlx.nn.corner_pool import BottomRightPool2d, CornerPool2d, TopLeftPool2d
from pydlx.nn.soft_pool import SoftPool1d, SoftPool2d, SoftPool3d

__all__ = ["BottomRightPool2d", "CornerPool2d", "SoftPool1d", "SoftPool2d", "SoftPool3d", "TopLeftPool2d"]
