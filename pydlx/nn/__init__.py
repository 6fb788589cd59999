"""Modules over the operators, drop-in for their ``torch.nn`` neighbours."""

from pydlx.nn.soft_pool import SoftPool1d, SoftPool2d, SoftPool3d

__all__ = ["SoftPool1d", "SoftPool2d", "SoftPool3d"]
