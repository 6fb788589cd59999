"""Drawing with matplotlib (``pip install "pydlx[plot]"``), without its global state."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from pydlx._optional import needed_for
from pydlx.files import check_writable, replacing

INK, FAINT = "#22303c", "#66737f"  # FAINT still has 4.5:1 on white, which small text needs
# Okabe and Ito's, which colour-blind readers can tell apart, without the yellow that is too light for lines on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")


def matplotlib(part: str) -> ModuleType:
    """A module of matplotlib, such as ``figure``."""
    with needed_for("drawing", extra="plot"):
        return importlib.import_module(f"matplotlib.{part}")


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches."""
    return matplotlib("figure").Figure(figsize=(width, height), facecolor="white")


def save_figure(figure: Any, path: str | os.PathLike[str], **options: Any) -> None:
    """Writes a figure as a whole or not at all; the suffix chooses the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, **{"dpi": 150, **options})


def check_figure_path(path: str | os.PathLike[str]) -> None:
    """Finds out before a long run whether its picture can be written.

    Raises:
        ValueError: matplotlib cannot draw to files of this suffix.
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    formats = new_figure(1, 1).canvas.get_supported_filetypes()
    if Path(path).suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"the suffix must be one of {', '.join(sorted(formats))}, got '{Path(path).name}'")
    check_writable(path)
