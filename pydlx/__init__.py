"""Native deep-learning operators for PyTorch, and what is built on them.

``pydlx.ops`` holds the operators, ``pydlx.nn`` their modules, ``pydlx.blending`` gradient-domain image blending,
``pydlx.visualize`` pictures of what networks respond to. The last two are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from pydlx import nn, ops
from pydlx._native import NativeLibraryWarning, backend, build_info
from pydlx._version import __version__

_LAZY = ("blending", "visualize")

__all__ = ["NativeLibraryWarning", "__version__", "backend", "blending", "build_info", "nn", "ops", "visualize"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"pydlx.{name}")
    raise AttributeError(f"module 'pydlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
