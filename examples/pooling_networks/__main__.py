"""Compares pydlx's pooling layers with their alternatives in small networks trained on real images.

    python examples/pooling_networks [EXPERIMENT ...] [--folder FOLDER] [--quick]

EXPERIMENT is one of

    pooling   SoftPool against max and average pooling
    pyramid   a pyramid of bins against one global average, at sizes not seen in training
    corners   corner pooling against convolutions

or all of them (the default), which takes about ten minutes. Prints tables of means and standard deviations over the
seeds, and draws them into FOLDER (demo_output). The result of each training is saved there, so that an interrupted run
skips the trainings that are done. --quick trains for two steps, only to show that everything runs.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import corners
import figure
import pooling
import pyramid
import torch
from data import Crops, camvid_folder, scenes

EXPERIMENTS: dict[str, ModuleType] = {"pooling": pooling, "pyramid": pyramid, "corners": corners}
LARGEST_CROP = 64

Found = dict[str, dict[str, dict[str, float]]]  # variant, seed, quantity


@functools.cache
def crops(test_batches: int) -> tuple[Crops, Crops]:
    """Returns the crops for training and those for testing."""
    return Crops(scenes("train"), LARGEST_CROP), Crops(scenes("test"), LARGEST_CROP, test_batches)


def complete(name: str, path: Path, seeds: int, quick: bool) -> Found:
    """Trains the variants and seeds of an experiment that are not in the file yet, and adds each result to it."""
    experiment = EXPERIMENTS[name]
    steps, test_batches = (2, 1) if quick else (experiment.STEPS, 20)
    found: Found = json.loads(path.read_text()) if path.exists() else {}
    missing = [
        (seed, variant)
        for seed in range(seeds)
        for variant in experiment.VARIANTS
        if str(seed) not in found.get(variant, {})
    ]
    for number, (seed, variant) in enumerate(missing, 1):
        result = experiment.run(variant, seed, steps, *crops(test_batches))
        found.setdefault(variant, {})[str(seed)] = result
        path.write_text(json.dumps(found, indent=1))
        shown = ", ".join(f"{column} {result[column]:.2f}" for column in experiment.COLUMNS)
        print(f"{name} {number}/{len(missing)}, seed {seed}, {variant}: {shown}", flush=True)
    return found


def table(columns: tuple[str, ...], found: Found) -> Iterator[str]:
    """Yields the lines of a table in Markdown."""
    yield f"| | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for variant, runs in found.items():
        cells = [_summary(column, [run[column] for run in runs.values()]) for column in columns]
        yield f"| {variant} | {' | '.join(cells)} |"


def _summary(column: str, values: list[float]) -> str:
    """Formats mean and standard deviation, or of times the median: other processes can only lengthen a time."""
    if column.startswith("ms") or len(values) == 1:
        return f"{statistics.median(values):.1f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main() -> None:
    """Runs the experiments, prints their tables and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", choices=("all", *EXPERIMENTS), default="all", metavar="EXPERIMENT")
    parser.add_argument("--folder", type=Path, default=Path("demo_output"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two steps of training, one seed, few tests")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # such small networks gain little from more
    seeds, prefix = (1, "pooling_quick") if args.quick else (args.seeds, "pooling")
    print("pictures:", camvid_folder() or "scikit-image's")
    results = {}
    for name in EXPERIMENTS if "all" in args.experiments else args.experiments:
        experiment = EXPERIMENTS[name]
        results[name] = complete(name, args.folder / f"{prefix}_{name}.json", seeds, args.quick)
        print(f"\n{(experiment.__doc__ or '').splitlines()[0]}")
        print("\n".join(table(experiment.COLUMNS, results[name])), "\n")
    if set(results) == set(EXPERIMENTS):
        path = args.folder / f"{prefix}.png"
        figure.draw(results, path)
        print(path.resolve())


if __name__ == "__main__":
    main()
