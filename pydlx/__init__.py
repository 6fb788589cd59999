"""Native deep-learning operators for PyTorch, and what is built on them.

``pydlx.ops`` holds the operators. Imported when first used: ``pydlx.nn`` and ``pydlx.losses`` hold their modules,
``pydlx.models`` networks (``list_models``, ``create_model``), ``pydlx.blending`` is gradient-domain image blending,
``pydlx.metrics`` measures models, ``pydlx.data`` reads data sets, ``pydlx.visualize`` draws what networks respond to.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pydlx import ops
from pydlx._native import NativeLibraryWarning, backend, build_info
from pydlx._version import __version__

if TYPE_CHECKING:
    from pydlx import blending, data, losses, metrics, models, nn, visualize
    from pydlx.models import create_model, list_models

_LAZY = ("blending", "data", "losses", "metrics", "models", "nn", "visualize")
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
