"""The picture of a leaderboard: F1 over questions answered per second."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydlx.benchmarks.readers.board import Standing
from pydlx.figures import FAINT, INK, matplotlib, new_figure, save_figure

_BEST, _OTHER = "#2a7f9e", "#9fb3c4"
_WIDTH, _PANEL, _HEADER = 9.0, 5.0, 1.0  # inches
# Candidate positions of a label: right, left, above, below, and the diagonals.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_REACHES = (9, 16, 26, 40, 58, 80)  # candidate distances from mark to label, in points
_CLEAR = 4  # distance of a label from other marks, in points, so that it is not taken for theirs


def write_picture(path: Path, tables: Mapping[str, Sequence[Standing]], minutes: float, machine: str) -> None:
    """Draw a panel for each data set, and write the picture as a whole or not at all.

    Args:
        path: The file; its suffix chooses the format.
        tables: Rows of each data set; those with a measured speed are drawn.
        minutes: Budget of a training.
        machine: Description of the machine in one line.
    """
    panels = {data: [row for row in rows if row.speed is not None] for data, rows in tables.items()}
    total = _HEADER + _PANEL * len(panels)
    figure = new_figure(_WIDTH, total)
    title = f"Readers after {minutes:g} min of training on one core"
    note = "Blue: no other reader is both better and faster. Bars: standard deviation over the seeds."
    for below, text, style in (
        (0.36, title, {"size": 16, "weight": "bold", "color": INK}),
        (0.64, note, {"size": 9.5, "color": INK}),
        (0.85, machine, {"size": 8.5, "color": FAINT}),
    ):
        figure.text(0.75 / _WIDTH, 1 - below / total, text, **style)
    for place, (data, rows) in enumerate(panels.items()):
        bottom = total - _HEADER - _PANEL * (place + 1) + 0.65
        axes = figure.add_axes((0.75 / _WIDTH, bottom / total, 1 - 1.0 / _WIDTH, (_PANEL - 1.15) / total))
        _draw_panel(axes, data, rows)
    save_figure(figure, path)


def _draw_panel(axes: Any, data: str, rows: Sequence[Standing]) -> None:
    for row in rows:
        axes.errorbar(
            _speed(row), row.f1, yerr=row.f1_spread or None, fmt="o", markersize=8, capsize=3, elinewidth=1.4,
            color=_BEST if unbeaten(row, rows) else _OTHER, zorder=3,
        )  # fmt: skip
    axes.set_xscale("log")
    _set_limits(axes, rows)
    axes.set_title(data, loc="left", size=12, weight="bold", color=INK)
    axes.set_xlabel("questions answered per second on one core", color=INK, size=10)
    axes.set_ylabel("F1", color=INK, size=10)
    axes.grid(color="#e8ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=9, colors=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _label(axes, rows)


def _speed(row: Standing) -> float:
    assert row.speed is not None
    return row.speed.best


def unbeaten(row: Standing, rows: Sequence[Standing]) -> bool:
    """Return whether no other reader is both better and faster."""
    return not any(other.f1 > row.f1 and _speed(other) > _speed(row) for other in rows)


def _set_limits(axes: Any, rows: Sequence[Standing]) -> None:
    """Set limits with room for labels around the points, and ticks at round numbers."""
    speeds = [_speed(row) for row in rows]
    low, high = min(speeds) / 1.5, max(speeds) * 1.5
    axes.set_xlim(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    ends = [row.f1 + sign * row.f1_spread for row in rows for sign in (-1, 1)]
    room = max(1.0, 0.12 * (max(ends) - min(ends)))
    axes.yaxis.set_major_locator(matplotlib("ticker").MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_ylim(min(ends) - room, max(ends) + room)


def _label(axes: Any, rows: Sequence[Standing]) -> None:
    """Label the points, so that labels overlap no other label, point or error bar where possible.

    Points with the nearest neighbours are labelled first, while there is room.
    """
    marks = [_mark(axes, row) for row in rows]
    centres = axes.transData.transform([(_speed(row), row.f1) for row in rows]).tolist()
    taken = list(marks)
    nearest = [
        min((math.dist(centre, other) for other in centres if other is not centre), default=0) for centre in centres
    ]
    for place in sorted(range(len(rows)), key=lambda place: nearest[place]):
        taken.append(_place_label(axes, rows[place], marks[place], taken))


def _mark(axes: Any, row: Standing) -> Any:
    """Return the bounding box, in pixels, of a point and its error bar."""
    ends = [(_speed(row), row.f1 - row.f1_spread), (_speed(row), row.f1 + row.f1_spread)]
    (left, low), (right, high) = axes.transData.transform(ends)
    return _box(left, low, right, high).padded(6 * axes.figure.dpi / 72)


def _place_label(axes: Any, row: Standing, own: Any, taken: Sequence[Any]) -> Any:
    """Draw a label at the nearest position with least overlap; returns its bounding box in pixels."""
    label = axes.annotate(
        row.reader, (_speed(row), row.f1), xytext=(0, 0), textcoords="offset points", size=9.5, color=INK, zorder=4,
        ha="center", va="center",
    )  # fmt: skip
    point = 72 / axes.figure.dpi  # of a pixel
    width, height = (side * point for side in label.get_window_extent().size)
    centre, inside = axes.transData.transform((_speed(row), row.f1)) * point, axes.bbox

    def at(reach: float, side: tuple[int, int]) -> tuple[tuple[float, float], Any]:
        """Return the label's centre, in points from the mark, and its bounding box in pixels."""
        shift = (side[0] * (reach + width / 2), side[1] * (reach + height / 2))
        x, y = centre[0] + shift[0], centre[1] + shift[1]
        return shift, _box(*(end / point for end in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)))

    def covered(box: Any) -> int:
        outside = box.width * box.height - _shared(box, inside)
        clear = box.padded(_CLEAR / point)
        return round(outside + sum(_shared(box if other is own else clear, other) for other in taken))

    places = [(reach, *at(reach, side)) for reach, side in itertools.product(_REACHES, _SIDES)]
    reach, shift, box = min(places, key=lambda place: covered(place[2]))
    label.set_position(shift)
    if 0 not in shift or reach > _REACHES[0]:
        rim = [
            math.copysign(max(0, abs(way) - side / 2), way) for way, side in zip(shift, (width, height), strict=True)
        ]
        axes.annotate(
            "", (_speed(row), row.f1), xytext=rim, textcoords="offset points", zorder=2,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 5},
        )  # fmt: skip
    return box


def _box(left: float, low: float, right: float, high: float) -> Any:
    return matplotlib("transforms").Bbox.from_extents(left, low, right, high)


def _shared(one: Any, other: Any) -> float:
    """Return the area of the intersection of two boxes."""
    across, up = (min(one.max[axis], other.max[axis]) - max(one.min[axis], other.min[axis]) for axis in (0, 1))
    return max(0.0, across) * max(0.0, up)
