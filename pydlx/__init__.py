"""Native deep-learning operators for PyTorch, and what is built on them.

``pydlx.ops`` holds the operators, ``pydlx.nn`` and ``pydlx.losses`` their modules, ``pydlx.models`` networks
(``list_models``, ``create_model``), ``pydlx.blending`` gradient-domain image blending, ``pydlx.metrics`` measures of
models, ``pydlx.data`` readers of data sets, and ``pydlx.visualize`` pictures of what networks respond to.

Each part is imported when it is first used, so that ``import pydlx`` and the help of the command line do not wait for
torch. The operators are registered under ``torch.ops.pydlx`` by ``import pydlx.ops``.
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
