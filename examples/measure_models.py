"""Evaluates poses and label maps, and draws the results.

    python examples/measure_models.py [FOLDER]

Generates random ground truth and predictions for poses of people and for label maps; prints their scores and writes one
figure to FOLDER (demo_output): precision over recall of the poses, and the confusion matrix of the label maps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pydlx.benchmarks.metrics.people import people
from pydlx.benchmarks.pictures import label_maps
from pydlx.figures import new_figure, save_figure
from pydlx.metrics import ConfusionMetrics, keypoint_evaluation, plot_confusion_matrix, plot_precision_recall

CLASSES = ("road", "wall", "sky", "tree", "car", "person", "sign", "grass")
VOID = 255


def main() -> None:
    """Evaluates, prints the scores and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo_output"), help="where the picture goes")
    folder = parser.parse_args().folder

    poses = keypoint_evaluation(*people(images=300, truths=700, detections=3000), per_keypoint=True)
    print("poses: " + ", ".join(f"{name} {value:.3f}" for name, value in poses.results.items()))

    scenes = ConfusionMetrics(len(CLASSES), VOID, class_names=CLASSES)
    for seed in range(4):
        scenes.update(*label_maps((256, 512), len(CLASSES), VOID, seed))
    print(scenes.table())

    figure = new_figure(11.6, 4.6)
    plot_precision_recall(next(iter(poses.curves.values())), ax=figure.add_axes((0.05, 0.13, 0.36, 0.78)))
    plot_confusion_matrix(scenes.matrix, CLASSES, ax=figure.add_axes((0.62, 0.17, 0.3, 0.74)))
    folder.mkdir(parents=True, exist_ok=True)
    save_figure(figure, folder / "measured.png")
    print(f"drawn to {folder / 'measured.png'}")


if __name__ == "__main__":
    main()
