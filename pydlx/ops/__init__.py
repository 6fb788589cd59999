"""Operators: one file each, with the public function, its PyTorch reference, and what torch must know about it."""

from pydlx.ops.soft_pool import soft_pool1d, soft_pool2d, soft_pool3d

__all__ = [
    "soft_pool1d",
    "soft_pool2d",
    "soft_pool3d",
]
