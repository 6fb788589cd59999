"""Training of CornerNet: the Lightning task, and the conversion of an image with boxes to input and targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pydlx._checks import check_positive, whole
from pydlx._optional import needed_for
from pydlx.data import BoxedImage
from pydlx.losses import CornerLoss, CornerTargets
from pydlx.metrics import BoxAP
from pydlx.models.detection import Detections, corner_targets, detect, normalize_image
from pydlx.models.detection.cornernet import CornerNet
from pydlx.models.detection.cornernet_images import padded
from pydlx.training.samples import SHOWN, show_samples
from pydlx.training.task import Optimizer, Task
from pydlx.visualize import draw_boxes

with needed_for("training", extra="train"):
    import kornia.augmentation as K


class DetectionTask(Task):
    """CornerNet's losses, and box AP on the validation images, predicted by `detect`.

    Training batches are (images (N, 3, H, W), CornerTargets); validation batches are lists of BoxedImage.

    Args:
        model: A CornerNet of ``create_model``.
        optimizer: Makes the optimiser and the schedule, which is asked at every step.
        flip: Whether to validate with flipped images, too.
        scale: Factor by which validation images are resized.
    """

    def __init__(self, model: Any, optimizer: Optimizer, *, flip: bool = False, scale: float = 1.0) -> None:
        super().__init__(model, optimizer)
        self.flip, self.scale = flip, scale
        self.loss = CornerLoss()
        self.scores = BoxAP()
        self.samples: list[np.ndarray] = []

    def training_step(self, batch: tuple[Tensor, CornerTargets], batch_idx: int) -> Tensor:
        """Called by Lightning."""
        images, targets = batch
        losses = self.loss(self.model(images), targets)
        for name, value in losses._asdict().items():
            self.log(f"train/{name}", value, prog_bar=name == "total", batch_size=len(images), sync_dist=True)
        return losses.total

    def validation_step(self, batch: list[BoxedImage], batch_idx: int) -> None:
        """Called by Lightning."""
        for item in batch:
            found = detect(self.model, item.image, flip=self.flip, scales=(self.scale,))
            if len(self.samples) < SHOWN:
                self.samples.append(_sample(item, found))
            self.scores.update(
                [{"boxes": found.boxes.cpu(), "scores": found.scores.cpu(), "labels": found.labels.cpu()}],
                [{"boxes": torch.from_numpy(item.boxes), "labels": torch.from_numpy(item.labels)}],
            )

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        scores = self.scores.compute()
        for name in ("AP", "AP50", "AP75"):
            self.log(f"val/{name}", float(scores[name]), prog_bar=name == "AP50", sync_dist=True)
        show_samples(self, self.samples)
        self.scores.reset()
        self.samples.clear()


def _sample(item: BoxedImage, found: Detections) -> np.ndarray:
    """Return the image with its true boxes and, next to it, with the detected boxes whose score is at least 0.3."""
    boxes, scores, labels = (x[found.scores >= 0.3].cpu() for x in found)
    truth = draw_boxes(item.image, item.boxes, item.labels.tolist())
    return np.concatenate([truth, draw_boxes(item.image, boxes.numpy(), labels.tolist(), scores.tolist())], 1)


class PreparedBoxes:
    """Converts an image with boxes to the network's input and targets.

    With `augment`, the image is flipped with probability 1/2, a crop of 0.6 to 1.3 times the network's size is taken at
    a random place and resized to that size, and its colours are changed. Without, the image is centred, as in `detect`.
    Missing pixels are black.

    Args:
        model: The CornerNet to train.
        size: Side of the network's square input in pixels; None for whole images, padded as in `detect`, which only fit
            into batches of one.
        scale: Factor by which images are resized first, as in `detect`.
        augment: Whether to augment images.

    Raises:
        ValueError: If `augment` is set for whole images, or size or scale is not positive.
    """

    def __init__(self, model: CornerNet, size: int | None, *, scale: float = 1.0, augment: bool) -> None:
        if size is None and augment:
            raise ValueError("PreparedBoxes: augment must be False for whole pictures, got True with size=None")
        if size is not None:
            whole("PreparedBoxes", "size", size, 1)
        check_positive("PreparedBoxes", "scale", scale)
        self.num_classes, self.stride, self.multiple = model.num_classes, model.stride, model.size_multiple
        self.size, self.scale, self.augment = size, scale, augment
        self.colours = K.ColorJitter(0.4, 0.4, 0.4, p=1.0)

    def __call__(self, item: BoxedImage) -> tuple[Tensor, CornerTargets]:
        """Return the network's input (3, H, W) and its targets."""
        pixels, boxes = torch.from_numpy(item.image), torch.from_numpy(item.boxes)
        height, width = pixels.shape[:2]
        scale = self.scale
        if self.augment:
            if torch.rand(()) < 0.5:
                pixels = pixels.flip(1)
                boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
            scale /= 0.6 + 0.1 * int(torch.randint(8, ()))
        new_h, new_w = max(1, int(height * scale)), max(1, int(width * scale))
        image = pixels.movedim(2, 0)[None].float() / 255
        if (new_h, new_w) != (height, width):
            image = F.interpolate(image, (new_h, new_w), mode="bilinear")
        if self.augment:
            image = self.colours(image)
        view, left, top = self._placed(image[0])
        sides = view.shape[1:]
        targets = corner_targets(
            boxes * torch.tensor([new_w / width, new_h / height] * 2) + torch.tensor([left, top] * 2),
            torch.from_numpy(item.labels),
            num_classes=self.num_classes,
            image_size=(sides[0], sides[1]),
            map_size=(-(-sides[0] // self.stride), -(-sides[1] // self.stride)),
        )
        return normalize_image((view * 255).round().byte().movedim(0, 2)), targets

    def _placed(self, image: Tensor) -> tuple[Tensor, int, int]:
        """Return the padded or cropped image (3, h, w), and the column and row of the original's corner in it."""
        if self.size is None:
            return padded(image, self.multiple)
        height, width = image.shape[1:]
        top, left = self._start(height, self.size), self._start(width, self.size)
        view = F.pad(image, (left, self.size - width - left, top, self.size - height - top))
        return view, left, top

    def _start(self, length: int, size: int) -> int:
        """Return an offset: random, so that the image lies in the input or covers it; centred without augmentation."""
        free = size - length
        if not self.augment:
            return free // 2
        return int(torch.randint(abs(free) + 1, ())) * (1 if free > 0 else -1)
