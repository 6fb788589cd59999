"""Table 1 of the FusionNet paper (arXiv 1711.07341), computed from the layers of the readers, and drawn."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from typing import Any

import torch

from pydlx._checks import check_type
from pydlx.figures import FAINT, INK, new_figure, save_figure
from pydlx.models.readers.fusions import FUSIONS, fusion_kinds
from pydlx.models.readers.reader import Reader
from pydlx.models.registry import create_model, models_of


def fusion_table() -> dict[str, tuple[str, ...]]:
    """Return the kinds of fusion of each reader, built as in its paper, by the reader's name."""
    return {name: fusion_kinds(_as_in_its_paper(name)) for name in models_of(Reader)}


def _as_in_its_paper(name: str) -> Any:
    """Build a reader, with token features (which compare both texts) if its paper has them."""
    with torch.device("meta"):  # no weights are needed
        model: Any = create_model(name, vocabulary_size=2)
        return create_model(name, vocabulary_size=2, features=1) if model.features_in_paper else model


def draw_fusion_table(table: Mapping[str, tuple[str, ...]], path: str | os.PathLike[str]) -> None:
    """Draw a table of `fusion_table`: a row for each reader, a dot in the column of each kind that it has."""
    check_type("draw_fusion_table", "table", table, Mapping, "a table of fusion_table")
    rows_high, labels_high = 0.3 * len(table), 0.65  # inches
    figure = new_figure(7.2, rows_high + labels_high)
    axes = figure.add_axes((0.22, 0.0, 0.76, rows_high / (rows_high + labels_high)))
    rows = sorted(table, key=lambda name: [kind not in table[name] for kind in FUSIONS])
    for y, name in enumerate(rows):
        axes.axhline(y, color=FAINT, linewidth=0.4, alpha=0.6, zorder=0)
        for x, kind in enumerate(FUSIONS):
            if kind in table[name]:
                axes.plot(x, y, "o", color=INK, markersize=9)
            else:
                axes.plot(x, y, ".", color=FAINT, markersize=3)
    axes.set_xlim(-0.5, len(FUSIONS) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), rows, color=INK, family="monospace", fontsize=9)
    labels = ["\n".join(textwrap.wrap(label, 18)) for label in FUSIONS.values()]
    axes.set_xticks(range(len(labels)), labels, color=INK, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    save_figure(figure, path)
