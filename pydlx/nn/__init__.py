"""Modules over the operators, drop-in for their ``torch.nn`` neighbours."""

from pydlx.nn.sequence_pool import SequencePool
from pydlx.nn.soft_pool import SoftPool1d, SoftPool2d, SoftPool3d

__all__ = ["SequencePool", "SoftPool1d", "SoftPool2d", "SoftPool3d"]
