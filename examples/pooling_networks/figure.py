"""Draws the results of the three experiments in one figure."""

from __future__ import annotations

from pathlib import Path

import corners
import numpy as np
import pyramid
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Found = dict[str, dict[str, dict[str, float]]]  # variant, seed, quantity

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw(results: dict[str, Found], path: Path) -> None:
    """Writes the figure."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True})
    plt.rcParams.update({"grid.color": "#e6e6e6", "axes.axisbelow": True, "axes.titlesize": 10})
    chart, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.5), layout="constrained")
    _strips(left, results["pooling"])
    _by_size(middle, results["pyramid"])
    _within(right, results["corners"])
    chart.savefig(path, dpi=110, pil_kwargs={"optimize": True})
    plt.close(chart)


def _strips(axes: Axes, found: Found) -> None:
    """Draws a dot for each seed, joined across the pooling layers, and a bar at the mean."""
    seeds = sorted(next(iter(found.values())))
    accuracy = np.array([[runs[seed]["accuracy"] for seed in seeds] for runs in found.values()])
    places = np.arange(len(found))
    axes.plot(places, accuracy, color="#cccccc", linewidth=0.8)
    for place, colour, values in zip(places, COLOURS, accuracy, strict=True):
        axes.scatter(np.full(len(seeds), place), values, s=16, color=colour, zorder=3)
        axes.hlines(values.mean(), place - 0.25, place + 0.25, color=colour, linewidth=2.5, zorder=2)
    axes.set_xticks(places, [variant.replace(", ", ",\n") for variant in found])
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(accuracy.mean() - 5, accuracy.mean() + 5)  # so that noise looks like noise
    axes.grid(axis="x", visible=False)
    axes.set_title("Three pooling layers exchanged")
    axes.set_ylabel("accuracy, %")


def _by_size(axes: Axes, found: Found) -> None:
    """Draws the mean over seeds against the size of the crops, with a band of one standard deviation."""
    for colour, (variant, runs) in zip(COLOURS, found.items(), strict=False):
        accuracy = np.array([[run[f"accuracy at {size}"] for size in pyramid.TEST_SIZES] for run in runs.values()])
        _band(axes, pyramid.TEST_SIZES, accuracy, colour, variant)
    for size in pyramid.TRAIN_SIZES:
        axes.axvline(size, color="#999999", linewidth=0.8, linestyle=":", label="_")
    axes.set_xticks(pyramid.TEST_SIZES)
    axes.set_title("One head for crops of all sizes")
    axes.set_xlabel("test crops, pixels (dotted: trained on)")
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False)


def _within(axes: Axes, found: Found) -> None:
    """Draws the share of corners predicted within each distance."""
    for colour, (variant, runs) in zip(COLOURS, found.items(), strict=False):
        share = np.array([[run[f"within {reach} px"] for reach in corners.REACHES] for run in runs.values()])
        _band(axes, corners.REACHES, share, colour, variant)
    axes.set_title("Where is the corner of the box?")
    axes.set_xlabel("distance from the true corner, pixels")
    axes.set_ylabel("found within, %")
    axes.legend(frameon=False, loc="lower right")


def _band(axes: Axes, x: tuple[int, ...], values: np.ndarray, colour: str, label: str) -> None:
    mean, spread = values.mean(0), values.std(0, ddof=min(1, len(values) - 1))
    axes.plot(x, mean, color=colour, marker="o", markersize=4, label=label)
    axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
