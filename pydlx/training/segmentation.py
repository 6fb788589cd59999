"""Training of segmentation networks: the Lightning task, and augmentation of images with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from pydlx._checks import check_one_of
from pydlx._optional import needed_for
from pydlx.data import LabelledImage
from pydlx.metrics import ConfusionMetrics
from pydlx.models.segmentation import preprocess
from pydlx.models.segmentation.preprocessing import image_of
from pydlx.training.samples import SHOWN, show_samples
from pydlx.training.task import Optimizer, Task
from pydlx.visualize import colour_labels

with needed_for("training", extra="train"):
    import kornia.augmentation as K
    from torchmetrics import MeanMetric


class SegmentationTask(Task):
    """Cross-entropy over the pixels, and scores from the confusion matrix of the validation images.

    Batches are (preprocessed images (N, 3, H, W), labels (N, H, W) int64).

    Args:
        model: An FCN, which returns logits (N, C, H, W).
        optimizer: Builds the optimiser and its schedule, which is stepped after every training step.
        num_classes: C.
        ignore_index: Label of pixels that are ignored.
        reduction: ``"mean"`` over the pixels that are not ignored, or ``"sum"``, as in the paper.
        class_weights: (C,), or None.
        class_names: Names of the classes, for tables.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        num_classes: int,
        *,
        ignore_index: int = 255,
        reduction: str = "mean",
        class_weights: Tensor | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(model, optimizer)
        check_one_of("SegmentationTask", "reduction", reduction, ("mean", "sum"))
        self.ignore_index, self.reduction = ignore_index, reduction
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.mean_loss = MeanMetric()
        self.scores = ConfusionMetrics(num_classes, ignore_index, class_names=class_names)
        self.samples: list[np.ndarray] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C, H, W) of images (N, 3, H, W)."""
        return self.model(images)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the pixels that are not ignored; 0 if all are."""
        weights: Any = self.class_weights
        counted = labels != self.ignore_index
        total = F.cross_entropy(logits, labels, weights, ignore_index=self.ignore_index, reduction="sum")
        if self.reduction == "sum":
            return total
        share = counted if weights is None else weights[torch.where(counted, labels, 0)] * counted
        return total / share.sum().clamp(min=1e-12)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Called by Lightning."""
        images, labels = batch
        loss = self.loss(self(images), labels)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Called by Lightning."""
        images, labels = batch
        logits = self(images)
        self.mean_loss.update(self.loss(logits, labels), len(images))
        self.scores.update(logits, labels)
        if len(self.samples) < SHOWN:
            self.samples.append(self._sample(images[0], labels[0], logits[0].argmax(0)))

    def on_validation_epoch_end(self) -> None:
        """Called by Lightning."""
        scores = self.scores.compute()
        self.log("val/mean_iou", scores["mean_iou"].float(), prog_bar=True, sync_dist=True)
        self.log("val/pixel_accuracy", scores["pixel_accuracy"].float(), sync_dist=True)
        self.log("val/loss", self.mean_loss.compute(), sync_dist=True)
        show_samples(self, self.samples)
        self.scores.reset()
        self.mean_loss.reset()
        self.samples.clear()

    def _sample(self, image: Tensor, truth: Tensor, found: Tensor) -> np.ndarray:
        """Return the image, its true labels and the predicted ones, side by side."""
        picture = image_of(image, self.model.preprocessing)
        maps = (labels.cpu().numpy() for labels in (truth, found))
        return np.concatenate(
            [picture, *(colour_labels(labels, self.model.num_classes, picture) for labels in maps)], 1
        )


class AugmentLabels:
    """Kornia's augmentations of an image and its labels.

    Kornia fills pixels from outside of the image with label 0, which is a class; here they get ``ignore_index``. Kornia
    keeps masks in float32, which is exact for labels below 2^24.

    Args:
        changes: Augmentations of ``kornia.augmentation``.
        ignore_index: Label of pixels from outside of the image.
    """

    def __init__(self, changes: Iterable[Any], ignore_index: int) -> None:
        self.changes = K.AugmentationSequential(*changes, data_keys=["input", "mask"])
        self.ignore_index = ignore_index

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augment an image (3, H, W) in [0, 1] and its labels (H, W); pixels from outside of the image are black."""
        shifted = torch.where(labels == self.ignore_index, 0, labels + 1)  # 0 is what Kornia fills with
        image, mask = self.changes(image[None], shifted[None, None].float())
        changed = mask[0, 0].round().long() - 1
        return image[0], torch.where(changed < 0, self.ignore_index, changed)


class PreparedImages:
    """Converts an item of a data set to the network's input and labels.

    Args:
        preprocessing: ``model.preprocessing``, see `pydlx.models.segmentation.preprocess`.
        augment: Augmentation; None for validation.
    """

    def __init__(self, preprocessing: str, augment: AugmentLabels | None = None) -> None:
        self.preprocessing, self.augment = preprocessing, augment

    def __call__(self, item: LabelledImage) -> tuple[Tensor, Tensor]:
        """Return the input (3, H, W) float32 and the labels (H, W)."""
        image, labels = torch.from_numpy(item.image), torch.from_numpy(item.labels)
        if self.augment is not None:
            changed, labels = self.augment(image.movedim(2, 0).float() / 255, labels)
            image = (changed.movedim(0, 2) * 255).round().clamp(0, 255).byte()
        return preprocess(image, self.preprocessing), labels


class Prepared(Dataset):
    """A data set with a function applied to each item."""

    def __init__(self, items: Any, change: Callable[[Any], Any]) -> None:
        self.items, self.change = items, change

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.change(self.items[index])


def street_scene_changes(size: tuple[int, int]) -> list[Any]:
    """Return Kornia's flip, scaling by 0.7 to 1.5, a crop of (H, W) pixels, and colour jitter."""
    return [
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(0.0, scale=(0.7, 1.5), p=0.8),
        K.RandomCrop(size, pad_if_needed=True),
        K.ColorJitter(0.3, 0.3, 0.3, 0.05, p=0.8),
    ]
