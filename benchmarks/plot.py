"""Outcomes as a bar chart: how many times the native op's time each other candidate takes, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydlx.benchmarks.case import COPY, REFERENCE
from pydlx.benchmarks.harness import Outcome, Race
from pydlx.figures import FAINT, INK, matplotlib, new_figure, save_figure

_COLOURS = {REFERENCE: "#9fb3c4", COPY: "#e3d9c6"}
_PEER_COLOURS = ("#2a7f9e", "#e0803c", "#6a9a4f", "#a05195")
_BAR, _GAP = 0.18, 0.16  # inches: thickness of a bar, space between two cases
_LEAST = 0.03  # yardsticks below are left to the table: they would only squeeze the others


def write_plot(path: Path, subtitle: str, outcomes: Iterable[tuple[str, Outcome]]) -> None:
    """Draws all races, one panel for each op, and writes the picture atomically."""
    panels: dict[str, list[Race]] = {}
    for op, outcome in outcomes:
        if isinstance(outcome, Race) and _drawn(outcome):
            panels.setdefault(op, []).append(outcome)
    if not panels:
        raise ValueError("--plot: nothing to draw, none of the ops named is a race")
    heights = [sum(_height(race) for race in races) + 0.3 for races in panels.values()]
    header, footer, between = 1.0, 0.55, 0.75
    total = header + footer + sum(heights) + between * len(heights)
    figure = new_figure(10.5, total)
    limits = _limits(panels)
    top = header
    for (op, races), height in zip(panels.items(), heights, strict=True):
        top += between * 0.6
        axes = figure.add_axes((0.4, 1 - (top + height) / total, 0.55, height / total))
        _draw_panel(axes, op, races, height, limits)
        top += height + between * 0.4
    figure.text(0.02, 1 - 0.38 / total, "How long the others take, with pydlx as 1", size=17, weight="bold", color=INK)
    figure.text(0.02, 1 - 0.66 / total, subtitle, size=9.5, color=FAINT)
    note = "Bars to the right: slower than pydlx. Ticks: what is asked. Best of all rounds, interleaved in one run."
    figure.text(0.02, 1 - 0.88 / total, note, size=9.5, color=FAINT)
    save_figure(figure, path)


def _height(race: Race) -> float:
    return _BAR * len(_drawn(race)) + _GAP


def _drawn(race: Race) -> list[str]:
    """The candidates that get a bar, from top to bottom."""
    return [name for name in race.others if name in race.timings and race.ratio(name) >= _LEAST]


def _limits(panels: dict[str, list[Race]]) -> tuple[float, float]:
    """One axis for all panels, with room for the labels at the bars' ends."""
    drawn = [(race, name) for races in panels.values() for race in races for name in _drawn(race)]
    ratios = [race.ratio(name) for race, name in drawn]
    for race, name in drawn:
        ratios += [race.asked_ratio(target) for target in race.case.targets if target.against == name]
    return min(0.5, *ratios) / 2, max(2.0, *ratios) * 2


def _draw_panel(axes, op: str, races: list[Race], height: float, limits: tuple[float, float]) -> None:
    colours = _colours(races)
    at = 0.15
    centres = []
    for race in races:
        for place, name in enumerate(_drawn(race)):
            _draw_bar(axes, race, name, at + _GAP / 2 + _BAR * (place + 0.5), colours[name])
        centres.append(at + _height(race) / 2)
        at += _height(race)
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(height, 0)
    axes.set_yticks(centres, [race.case.label for race in races], size=9, color=INK)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.tick_params(axis="x", which="both", labelsize=8.5, colors=FAINT, length=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e8ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(op, loc="left", x=-0.575, size=12, weight="bold", color=INK)
    handles = [matplotlib("patches").Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), frameon=False, fontsize=9,
        handlelength=1, handleheight=1, columnspacing=1.4, borderpad=0, labelcolor=INK,
    )  # fmt: skip


def _draw_bar(axes, race: Race, name: str, y: float, colour: str) -> None:
    """A bar from 1 to the candidate's multiple, the number at its end, and a tick at each target."""
    ratio = race.ratio(name)
    asked = [race.asked_ratio(target) for target in race.case.targets if target.against == name]
    axes.vlines(asked, y - _BAR * 0.43, y + _BAR * 0.43, color=INK, linewidth=1.8)
    label_at = max(ratio, *asked, 1) if ratio >= 1 else min(ratio, *asked, 1)  # clear of the ticks
    axes.barh(y, ratio - 1, left=1, height=_BAR * 0.86, color=colour)
    axes.annotate(
        f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.2g}×",
        (label_at, y), xytext=(4 if ratio >= 1 else -4, 0), textcoords="offset points", size=8, color=INK,
        ha="left" if ratio >= 1 else "right", va="center_baseline",
    )  # fmt: skip


def _colours(races: list[Race]) -> dict[str, str]:
    """A colour for each candidate of a panel: greys for reference and copy, strong ones for the peers."""
    names = dict.fromkeys(name for race in races for name in _drawn(race))
    peers = iter(_PEER_COLOURS)
    return {name: _COLOURS.get(name) or next(peers) for name in names}
