"""Native deep-learning operators for PyTorch, and the layers, networks, metrics and tools built on them.

``pydlx.ops`` holds the operators, ``pydlx.nn`` and ``pydlx.losses`` their modules, ``pydlx.models`` holds networks
(``list_models``, ``create_model``), ``pydlx.blending`` does gradient-domain image blending, ``pydlx.metrics`` evaluates
models, ``pydlx.data`` reads data sets and ``pydlx.visualize`` draws what networks respond to.

Each part is imported on first use, so that ``import pydlx`` and the command line's help do not wait for torch. The
operators are registered under ``torch.ops.pydlx`` by ``import pydlx.ops``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pydlx._version import __version__

if TYPE_CHECKING:
    from pydlx import blending, data, losses, metrics, models, nn, ops, visualize
    from pydlx._native import NativeLibraryWarning, backend, build_info
    from pydlx.models import create_model, list_models

_PARTS = ("blending", "data", "losses", "metrics", "models", "nn", "ops", "visualize")
_HOMES = {
    "NativeLibraryWarning": "pydlx._native",
    "backend": "pydlx._native",
    "build_info": "pydlx._native",
    "create_model": "pydlx.models",
    "list_models": "pydlx.models",
}

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
    if name in _PARTS:
        return importlib.import_module(f"pydlx.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value  # so that the next look-up does not come here
        return value
    raise AttributeError(f"module 'pydlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
