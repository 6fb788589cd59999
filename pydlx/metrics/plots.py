"""Pictures of metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_path, check_real_tensor, check_type, listed, whole
from pydlx.figures import FAINT, INK, matplotlib, new_figure, save_figure
from pydlx.metrics.coco_protocol import ALL, Curves
from pydlx.metrics.reading.no_answer import AnswerCurve

_NORMALIZE = ("truth", "prediction", None)
_EMPTY = "#f4f5f6"
_MOST_NUMBERS = 30  # classes up to which cells hold numbers; beyond, they would be too small to read


def plot_confusion_matrix(
    matrix: Tensor,
    class_names: Sequence[str] | None = None,
    normalize: str | None = "truth",
    path: str | os.PathLike[str] | None = None,
    *,
    ax: Any = None,
) -> tuple[Any, Any]:
    """Draws a confusion matrix: rows are the truth, columns the predictions.

    Colours are linear in shares and logarithmic in counts, which reach from single pixels to millions. Cells of no
    pixels are left empty. Numbers stand in the cells of up to 30 classes; shares are in percent.

    Args:
        matrix: (C, C) counts, as :func:`pydlx.ops.confusion_matrix` gives them.
        class_names: C names; the classes' numbers by default.
        normalize: ``"truth"``: shares of each row; ``"prediction"``: shares of each column; None: counts.
        path: Where to write the picture, as a whole or not at all; the suffix chooses the format.
        ax: matplotlib axes to draw into, instead of those of a figure that is as large as the matrix needs.

    Returns:
        matplotlib's figure and axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the matrix is not square, or the names or the option do not fit.
        OSError: If the file cannot be written.
    """
    name = "plot_confusion_matrix"
    check_real_tensor(name, "matrix", matrix)
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"{name}: matrix must have shape (C, C), got {tuple(matrix.shape)}")
    classes = len(matrix)
    names = checked_names(name, class_names, classes)
    check_one_of(name, "normalize", normalize, _NORMALIZE)
    _check_place(name, path, ax)
    shown = _shown(matrix.detach().cpu().double(), normalize)
    cell = 0.5 if classes <= 12 else 0.42 if classes <= _MOST_NUMBERS else max(0.06, min(0.16, 12 / classes))
    if ax is None:
        ax = _new_axes(classes * cell, names)
    _draw_cells(ax, shown, normalize)
    _draw_labels(ax, names, cell)
    if classes <= _MOST_NUMBERS:
        _draw_numbers(ax, shown, normalize)
    if path is not None:
        save_figure(ax.figure, path, bbox_inches="tight")
    return ax.figure, ax


def checked_names(name: str, class_names: Sequence[str] | None, classes: int) -> list[str]:
    """A name for each class: its number, where none are given."""
    if class_names is None:
        return [str(c) for c in range(classes)]
    names = listed(name, "class_names", class_names, "a list of names")
    if len(names) != classes:
        raise ValueError(f"{name}: class_names must have one name for each of {classes} classes, got {len(names)}")
    return [str(label) for label in names]


def _check_place(name: str, path: str | os.PathLike[str] | None, ax: Any) -> None:
    if path is not None:
        check_path(name, "path", path)
    if ax is not None and not hasattr(ax, "get_figure"):
        raise TypeError(f"{name}: ax must be axes of matplotlib, got {type(ax).__name__}")


def _shown(counts: Tensor, normalize: str | None) -> Tensor:
    """What cells show: counts, or shares in percent; NaN where there is nothing."""
    values = counts
    if normalize is not None:
        values = 100 * counts / counts.sum(1 if normalize == "truth" else 0, keepdim=True)
    return torch.where(counts > 0, values, torch.nan)


def _new_axes(side: float, names: list[str]) -> Any:
    """Axes with `side` inches for the cells, and room for the longest name beside and below them."""
    side = max(side, 1.6)
    room = 0.75 + 0.085 * max(map(len, names))
    width, height = room + side + 1.0, room + side + 0.45
    figure = new_figure(width, height)
    return figure.add_axes((room / width, room / height, side / width, side / height))


def _draw_cells(ax: Any, shown: Tensor, normalize: str | None) -> None:
    colors = matplotlib("colors")
    most = 1.0 if shown.isnan().all() else shown[~shown.isnan()].max().item()
    scale = colors.Normalize(0, 100) if normalize else colors.LogNorm(1, max(most, 10))
    colours = matplotlib("cm").magma_r.with_extremes(bad=_EMPTY)
    image = ax.imshow(shown.numpy(), cmap=colours, norm=scale, interpolation="nearest")
    # Beside the cells, as high as they are, and of one width in inches however large the matrix is.
    box = ax.get_position()
    width = ax.figure.get_figwidth()
    bar_axes = ax.figure.add_axes((box.x1 + 0.12 / width, box.y0, 0.13 / width, box.height))
    bar = ax.figure.colorbar(image, cax=bar_axes)
    bar.outline.set_visible(False)
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=8, colors=FAINT, length=0)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g} %" if normalize else _short(value))


def _draw_labels(ax: Any, names: list[str], cell: float) -> None:
    size = min(9.0, 62 * cell)
    widest = 0.65 * size / 72 * max(map(len, names))
    ax.set_xticks(range(len(names)), names, size=size, color=INK, rotation=0 if widest < 0.9 * cell else 90)
    ax.set_yticks(range(len(names)), names, size=size, color=INK)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted", size=10, color=FAINT)
    ax.set_ylabel("truth", size=10, color=FAINT)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _draw_numbers(ax: Any, shown: Tensor, normalize: str | None) -> None:
    image = ax.images[-1]
    for row, values in enumerate(shown.tolist()):
        for column, value in enumerate(values):
            if value != value:
                continue
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
            text, colour = _short(value), INK if light else "white"
            if normalize:
                text, colour = ("<1", FAINT) if value < 0.5 else (f"{value:.0f}", colour)
            ax.text(column, row, text, ha="center", va="center", size=7, color=colour)


def _short(count: float) -> str:
    """At most four characters: 950, 9.5k, 95k, 1.2M."""
    for unit, suffix in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        value = count / unit
        if value < 999.5:
            short = f"{value:.1f}" if suffix and value < 9.95 else f"{value:.0f}"
            return short.removesuffix(".0") + suffix
    return f"{count:.0e}"


def plot_precision_recall(
    curves: Curves,
    path: str | os.PathLike[str] | None = None,
    *,
    category: int | None = None,
    area: str = ALL,
    ax: Any = None,
) -> tuple[Any, Any]:
    """Draws precision over recall, a line for each threshold.

    Args:
        curves: What an evaluation found, as ``KeypointAP.curves()`` gives it.
        path: Where to write the picture, as a whole or not at all; the suffix chooses the format.
        category: One category's number; by default the mean over those that have truths.
        area: The name of an area range.
        ax: matplotlib axes to draw into, instead of those of a new figure.

    Returns:
        matplotlib's figure and axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If no truth counts.
        OSError: If the file cannot be written.
    """
    name = "plot_precision_recall"
    check_type(name, "curves", curves, Curves, "the curves of an evaluation")
    check_one_of(name, "area", area, curves.protocol.areas)
    if category is not None:
        category = whole(name, "category", category, 0, curves.precision.shape[2] - 1)
    _check_place(name, path, ax)
    values = curves.precision[..., list(curves.protocol.areas).index(area), -1]  # (T, R, C)
    values = values if category is None else values[..., category : category + 1]
    counted = (values > -1).all(0).all(0)
    if not bool(counted.any()):
        raise ValueError("plot_precision_recall: curves must have a truth that counts, got none")
    lines = values[..., counted].mean(-1)
    ax = _precision_recall_axes() if ax is None else ax
    shades = matplotlib("cm").viridis_r
    for number, (threshold, line) in enumerate(zip(curves.protocol.thresholds.tolist(), lines, strict=True)):
        colour = shades(0.12 + 0.88 * number / max(1, len(lines) - 1))
        label = f"{threshold:.2f}   {float(line.mean()):.3f}"
        ax.plot(curves.protocol.recalls.tolist(), line.tolist(), color=colour, linewidth=1.6, label=label)
    _finish_precision_recall(ax, "threshold   AP")
    ax.set_title(f"AP {curves.average_precision(category=category, area=area):.3f}", loc="left", size=12, color=INK)
    if path is not None:
        save_figure(ax.figure, path, bbox_inches="tight")
    return ax.figure, ax


def plot_answer_curves(
    curves: Mapping[str, AnswerCurve], path: str | os.PathLike[str] | None = None, *, ax: Any = None
) -> tuple[Any, Any]:
    """Draws precision over recall of answers as the threshold on the no-answer probability rises (SQuAD 2.0).

    Args:
        curves: by name, as :func:`pydlx.metrics.squad_curves` gives them.
        path: Where to write the picture, as a whole or not at all; the suffix chooses the format.
        ax: matplotlib axes to draw into, instead of those of a new figure.

    Returns:
        matplotlib's figure and axes.

    Raises:
        ImportError: If matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    name = "plot_answer_curves"
    check_type(name, "curves", curves, Mapping, "curves by name")
    for curve in curves.values():
        check_type(name, "curves", curve, AnswerCurve, "curves by name, as squad_curves gives them")
    _check_place(name, path, ax)
    ax = _precision_recall_axes() if ax is None else ax
    for kind, curve in curves.items():
        # The area is that of steps that reach back from each point.
        label = f"{kind}   {curve.average_precision:.3f}"
        ax.step(curve.recall, curve.precision, where="pre", linewidth=1.6, label=label)
    _finish_precision_recall(ax, "score      AP")
    if path is not None:
        save_figure(ax.figure, path, bbox_inches="tight")
    return ax.figure, ax


def _precision_recall_axes() -> Any:
    return new_figure(6.4, 4.8).add_axes((0.11, 0.12, 0.7, 0.8))


def _finish_precision_recall(ax: Any, legend_title: str) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("recall", size=10, color=FAINT)
    ax.set_ylabel("precision", size=10, color=FAINT)
    ax.tick_params(labelsize=8.5, colors=FAINT, length=0)
    ax.grid(color="#e8ebee", linewidth=0.8)
    for spine in ax.spines.values():
        spine.set_visible(False)
    legend = ax.legend(title=legend_title, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5)
    legend.get_title().set(size=8.5, color=FAINT)
