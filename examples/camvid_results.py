"""Tests FCNs that were trained on CamVid: a table of scores, learning curves and label maps of some test images.

    pydlx train fcn data=camvid model=fcn8s out=runs/fcn8s
    python examples/camvid_results.py camvid runs/fcn8s [RUN ...] [--out FOLDER]

Each RUN is an output folder of ``pydlx train fcn``, whose ``best.ckpt`` is tested. Writes to FOLDER (demo_output):
``scores.md``, a table of mean IoU, pixel accuracy and the IoU of each class; ``curves.png``, the validation's mean IoU
by epoch; ``pictures.png``, a few test images with the true label map and that of each network.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pydlx.data import ImageLabelFolders, camvid
from pydlx.figures import new_figure, save_figure
from pydlx.files import replacing
from pydlx.metrics import ConfusionMetrics
from pydlx.models import load_model
from pydlx.models.segmentation import segment
from pydlx.training.curves import draw_learning_curves
from pydlx.visualize import colour_labels, label_colours

SHOWN = (0, 58, 145, 203)  # test images, from both of the sequences


def main() -> None:
    """Tests each run and writes the three files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="CamVid's folder")
    parser.add_argument("runs", type=Path, nargs="+", help="output folders of pydlx train fcn")
    parser.add_argument("--out", type=Path, default=Path("demo_output"))
    options = parser.parse_args()
    items = camvid(options.data, "test")
    options.out.mkdir(parents=True, exist_ok=True)
    rows, label_maps = [], []
    for run in options.runs:
        scores, shown = evaluate(run, items)
        rows.append(
            [
                run.name,
                *(f"{float(value):.3f}" for value in (scores["mean_iou"], scores["pixel_accuracy"], *scores["iou"])),
            ]
        )
        label_maps.append(shown)
        print(*rows[-1])
    header = ["run", "mean IoU", "pixel accuracy", *items.class_names]
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    with replacing(options.out / "scores.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    draw_learning_curves(options.runs, "val/mean_iou", options.out / "curves.png", label="mean IoU, validation")
    draw_pictures(items, [run.name for run in options.runs], label_maps, options.out / "pictures.png")
    print(f"written to {options.out}")


def evaluate(run: Path, items: ImageLabelFolders) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Returns the test scores of a run's best weights, and its label maps of the images in ``SHOWN``."""
    model: Any = load_model(run / "best.ckpt")
    metrics = ConfusionMetrics(items.num_classes, items.ignore_index, class_names=items.class_names)
    shown = []
    for number, item in enumerate(items):
        labels = segment(model, item.image)
        metrics.update(labels[None], torch.from_numpy(item.labels)[None])
        if number in SHOWN:
            shown.append(labels.numpy())
    return metrics.compute(), shown


def draw_pictures(items: ImageLabelFolders, names: list[str], label_maps: list[list[np.ndarray]], path: Path) -> None:
    """Draws a row for each image: the image, its true label map, and the label map of each network."""
    columns = ["image", "truth", *names]
    height, width = items[0].labels.shape
    figure = new_figure(2.2 * len(columns), 2.2 * height / width * len(SHOWN) + 0.6)
    all_axes = figure.subplots(len(SHOWN), len(columns), squeeze=False)
    for row, (axes_of_row, number) in enumerate(zip(all_axes, SHOWN, strict=True)):
        item = items[number]
        coloured = [colour_labels(maps, items.num_classes) for maps in (item.labels, *(m[row] for m in label_maps))]
        for axes, picture in zip(axes_of_row, [item.image, *coloured], strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
    for axes, name in zip(all_axes[0], columns, strict=True):
        axes.set_title(name, fontsize=9)
    for colour, name in zip(label_colours(items.num_classes) / 255, items.class_names, strict=True):
        all_axes[-1, 0].scatter([], [], marker="s", s=60, color=colour, label=name)
    figure.legend(loc="lower center", ncols=items.num_classes, frameon=False, fontsize=8, handletextpad=0.2)
    figure.subplots_adjust(0.01, 0.08, 0.99, 0.94, 0.03, 0.03)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
