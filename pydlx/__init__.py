"""Native deep-learning operators for PyTorch, and the layers, networks, metrics and tools built on them.

``pydlx.ops`` holds the operators, ``pydlx.nn`` and ``pydlx.losses`` wrap them as modules. The other packages are
imported on first use: ``pydlx.models`` holds networks (``list_models``, ``create_model``), ``pydlx.blending`` does
gradient-domain image blending, ``pydlx.metrics`` evaluates models, ``pydlx.data`` reads data sets and
``pydlx.visualize`` draws what networks respond to.
"""

from __future__ import annotations

import importlib
from typing import Any

from pydlx import losses, nn, ops
from pydlx._native import NativeLibraryWarning, backend, build_info
from pydlx._version import __version__

_LAZY = ("blending", "data", "metrics", "models", "visualize")
_OF_MODELS = ("create_model", "list_models")

__all__ = [
    "NativeLibraryWarning",
    "__version__",
    "backend",
    "blending",
    "build_info",
    "create_model",
    "data",
    "list_models",
    "losses",
    "metrics",
    "models",
    "nn",
    "ops",
    "visualize",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"pydlx.{name}")
    if name in _OF_MODELS:
        return getattr(importlib.import_module("pydlx.models"), name)
    raise AttributeError(f"module 'pydlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
