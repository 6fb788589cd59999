"""Outcomes as pictures: how many times the native op's time the others take, on a logarithmic axis.

The short picture has sixteen rows and fits a screen, the long one has every case. Both are drawn from the results that
`pydlx.benchmarks.report.as_document` makes of a run and ``--json`` writes, so that an earlier run can be drawn, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydlx.benchmarks.case import COPY, REFERENCE
from pydlx.benchmarks.headlines import HEADLINES, Headline
from pydlx.figures import COLOURS, FAINT, INK, matplotlib, new_figure, save_figure

Results = Sequence[Mapping[str, Any]]

_TITLE = "How long the others take, with pydlx as 1"
_QUIET = {REFERENCE: "#a9b4be", COPY: "#ded3bd"}
_BAR, _GAP = 0.18, 0.16  # inches: thickness of a bar, space between two cases
_LEAST = 0.03  # what takes less is left to the table: it would only squeeze the others


@dataclass(frozen=True)
class _Race:
    """One case of a run.

    Attributes:
        op: The op's name.
        label: The case's.
        ratios: By candidate, how many times the native op's time it takes.
        asked: By candidate, the ratios that are asked for.
    """

    op: str
    label: str
    ratios: Mapping[str, float]
    asked: Mapping[str, Sequence[float]]

    @property
    def drawn(self) -> list[str]:
        """The candidates that get a bar, from top to bottom."""
        return [name for name, ratio in self.ratios.items() if ratio >= _LEAST]

    @property
    def height(self) -> float:
        """In inches."""
        return _BAR * len(self.drawn) + _GAP


def _races(results: Results) -> list[_Race]:
    found = []
    for result in results:
        if "times_native" not in result:
            continue
        asked: dict[str, list[float]] = {}
        for target in result["targets"]:
            if target.get("asked") is not None:
                asked.setdefault(target["against"], []).append(target["asked"])
        ratios = {name: times["of_minima"] for name, times in result["times_native"].items()}
        ordered = sorted(ratios, key=lambda name: (name == COPY, name == REFERENCE))
        found.append(_Race(result["op"], result["case"], {name: ratios[name] for name in ordered}, asked))
    return found


def write_short_plot(path: Path, subtitle: str, results: Results) -> None:
    """Draws the rows that matter most, on one screen, and writes the picture as a whole or not at all.

    Of a run that has none of these rows, such as one of a single op, every case is drawn.
    """
    measured = {(race.op, race.label): race for race in _races(results)}
    rows = [
        (line, race) for line in HEADLINES if (race := measured.get((line.op, line.case))) and _compared(line, race)
    ]
    if not rows:
        write_long_plot(path, subtitle, results)
        return
    header, footer, row = 1.3, 0.3, 0.3
    height = header + footer + row * len(rows)
    figure = new_figure(10, height)
    axes = figure.add_axes((0.31, footer / height, 0.36, row * len(rows) / height))
    for place, (line, race) in enumerate(rows):
        _draw_row(axes, place, line, race)
    ratios = [race.ratios[name] for line, race in rows for name in _compared(line, race)]
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [line.title for line, _ in rows], size=11, color=INK)
    _finish_axes(axes, (min(0.8, *ratios) / 1.1, max(2.0, *ratios) * 1.25), 10)
    _draw_header(
        figure, height, subtitle, "Dots to the right: slower than pydlx. Stock: the same in plain PyTorch or NumPy."
    )
    for x, heading, colour in ((1.03, "● stock", COLOURS[0]), (1.34, "◆ by a peer", COLOURS[1])):
        axes.text(x, 1.01, heading, size=10.5, weight="bold", color=colour, transform=axes.transAxes, va="bottom")
    save_figure(figure, path)


def _compared(line: Headline, race: _Race) -> list[str]:
    """The candidates of a row that were measured."""
    return [name for name in (line.formula, line.peer) if name in race.ratios]


def _draw_row(axes: Any, place: int, line: Headline, race: _Race) -> None:
    """A line from 1 to each dot, and the numbers in two columns beside the axes."""
    farthest = max((race.ratios[name] for name in _compared(line, race)), key=lambda ratio: abs(ratio - 1))
    axes.plot((1, farthest), (place, place), color="#cfd6dc", linewidth=2, zorder=1)
    columns = axes.get_yaxis_transform()  # x in parts of the axes, y in rows
    for name, marker, colour, x in ((line.formula, "o", COLOURS[0], 1.03), (line.peer, "D", COLOURS[1], 1.34)):
        if name not in race.ratios:
            continue
        ratio = race.ratios[name]
        axes.scatter(ratio, place, s=60 if marker == "o" else 45, marker=marker, color=colour, zorder=2, linewidths=0)
        text = _times(ratio) if marker == "o" else f"{_times(ratio)} {name}"
        axes.text(x, place, text, size=10.5, color=INK, transform=columns, va="center_baseline")


def write_long_plot(path: Path, subtitle: str, results: Results) -> None:
    """Draws every race, one panel for each op, and writes the picture as a whole or not at all."""
    panels: dict[str, list[_Race]] = {}
    for race in _races(results):
        if race.drawn:
            panels.setdefault(race.op, []).append(race)
    if not panels:
        raise ValueError("nothing to draw: none of the ops named is a race")
    heights = [sum(race.height for race in races) + 0.3 for races in panels.values()]
    header, footer, between = 1.0, 0.55, 0.75
    total = header + footer + sum(heights) + between * len(heights)
    figure = new_figure(10.5, total)
    limits = _limits([race for races in panels.values() for race in races])
    top = header
    for (op, races), height in zip(panels.items(), heights, strict=True):
        top += between * 0.6
        axes = figure.add_axes((0.4, 1 - (top + height) / total, 0.55, height / total))
        _draw_panel(axes, op, races, height, limits)
        top += height + between * 0.4
    note = "Bars to the right: slower than pydlx. Ticks: what is asked. Best of all rounds, interleaved in one run."
    _draw_header(figure, total, subtitle, note)
    save_figure(figure, path, dpi=100)


def _draw_header(figure: Any, height: float, subtitle: str, note: str) -> None:
    figure.text(0.02, 1 - 0.38 / height, _TITLE, size=17, weight="bold", color=INK)
    for inches, text in ((0.66, subtitle), (0.88, note)):
        figure.text(0.02, 1 - inches / height, text, size=10, color=FAINT)


def _limits(races: Iterable[_Race]) -> tuple[float, float]:
    """One axis for all panels, with room for the labels at the bars' ends."""
    ratios = []
    for race in races:
        for name in race.drawn:
            ratios += [race.ratios[name], *race.asked.get(name, ())]
    return min(0.5, *ratios) / 2, max(2.0, *ratios) * 2


def _draw_panel(axes: Any, op: str, races: list[_Race], height: float, limits: tuple[float, float]) -> None:
    colours = _colours(races)
    at = 0.15
    centres = []
    for race in races:
        for place, name in enumerate(race.drawn):
            _draw_bar(axes, race, name, at + _GAP / 2 + _BAR * (place + 0.5), colours[name])
        centres.append(at + race.height / 2)
        at += race.height
    axes.set_ylim(height, 0)
    axes.set_yticks(centres, [race.label for race in races], size=9, color=INK)
    _finish_axes(axes, limits, 8.5)
    axes.set_title(op, loc="left", x=-0.575, size=12, weight="bold", color=INK)
    handles = [matplotlib("patches").Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False, fontsize=9,
        handlelength=1, handleheight=1, columnspacing=1.4, borderpad=0, labelcolor=INK,
    )  # fmt: skip


def _finish_axes(axes: Any, limits: tuple[float, float], size: float) -> None:
    """A logarithmic axis with a line at 1."""
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.axvline(1, color=INK, linewidth=1.2, zorder=1.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.tick_params(axis="x", which="both", labelsize=size, colors=FAINT, length=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e8ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_bar(axes: Any, race: _Race, name: str, y: float, colour: str) -> None:
    """A bar from 1 to the candidate's multiple, the number at its end, and a tick at each target."""
    ratio = race.ratios[name]
    asked = race.asked.get(name, ())
    axes.vlines(asked, y - _BAR * 0.43, y + _BAR * 0.43, color=INK, linewidth=1.8)
    label_at = max(ratio, *asked, 1) if ratio >= 1 else min(ratio, *asked, 1)  # clear of the ticks
    axes.barh(y, ratio - 1, left=1, height=_BAR * 0.86, color=colour)
    axes.annotate(
        _times(ratio), (label_at, y), xytext=(4 if ratio >= 1 else -4, 0), textcoords="offset points", size=8,
        color=INK, ha="left" if ratio >= 1 else "right", va="center_baseline",
    )  # fmt: skip


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.2g}×"


def _colours(races: list[_Race]) -> dict[str, str]:
    """A colour for each candidate of a panel: quiet ones for reference and copy, strong ones for the peers."""
    names = dict.fromkeys(name for race in races for name in race.drawn)
    peers = iter(COLOURS)
    return {name: _QUIET.get(name) or next(peers) for name in names}
