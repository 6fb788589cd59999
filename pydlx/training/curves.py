"""Learning curves from the CSV logs that a training leaves in its folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from pydlx.figures import COLOURS, new_figure, save_figure

_MARKERS = "osD^vPXd<>"


def learning_curve(run: Path, score: str, by: str = "epoch") -> tuple[list[int], list[float]]:
    """Read a validation score over the whole training, across all resumptions.

    Args:
        run: Output folder of the training.
        score: Name of the score in the log, such as ``"val/mean_iou"``.
        by: ``"epoch"`` or ``"step"``, counted from 1.

    Returns:
        Epochs or steps, and the score after each of them.
    """
    points = {}
    logs = sorted((run / "csv").glob("*/metrics.csv"), key=lambda log: (len(log.parent.name), log.parent.name))
    for log in logs:
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get(score):
                    points[int(row[by]) + 1] = float(row[score])
    return list(points), list(points.values())


def draw_learning_curves(runs: Sequence[Path], score: str, path: Path, by: str = "epoch", label: str = "") -> None:
    """Draw a score of several runs to a file.

    Args:
        runs: Output folders of trainings; their names make the legend.
        score, by: See `learning_curve`.
        path: File of the picture.
        label: Label of the score's axis; by default its name in the log.
    """
    figure = new_figure(6, 3.6)
    axes = figure.subplots()
    for number, run in enumerate(runs):
        # Each run has a marker of its own, for those who cannot tell the colours, and for runs of a single validation.
        marker, colour = _MARKERS[number % len(_MARKERS)], COLOURS[number % len(COLOURS)]
        axes.plot(*learning_curve(run, score, by), marker=marker, markersize=5, color=colour, label=run.name)
    axes.set(xlabel=by, ylabel=label or score)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    save_figure(figure, path)
