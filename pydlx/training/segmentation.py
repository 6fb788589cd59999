"""Training of networks that label every pixel: the task, and the change that augments an image with its labels."""

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
from pydlx.models.segmentation.preprocessing import picture_of
from pydlx.training.samples import SHOWN, show_samples
from pydlx.training.task import Optimizer, Task
from pydlx.visualize import colour_labels

with needed_for("training", extra="train"):
    import kornia.augmentation as K
    from torchmetrics import MeanMetric


class SegmentationTask(Task):
    """Cross-entropy over the pixels, and the scores of the confusion matrix over the validation images.

    Batches are (images (N, 3, H, W) as the model takes them, labels (N, H, W) int64).

    Args:
        model: An FCN; gives logits (N, C, H, W).
        optimizer: Makes the optimiser and the schedule, which is asked at every step.
        num_classes: C.
        ignore_index: Label of pixels that count for nothing.
        reduction: ``"mean"`` over the pixels that count, or ``"sum"`` as FCN was trained.
        class_weights: (C,), or None.
        class_names: For tables.
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
        """Logits (N, C, H, W)."""
        return self.model(images)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the pixels that count; 0 if none does."""
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
        """The image, the truth, and what the network makes of it, side by side."""
        picture = picture_of(image, self.model.preprocessing)
        maps = (labels.cpu().numpy() for labels in (truth, found))
        return np.concatenate(
            [picture, *(colour_labels(labels, self.model.num_classes, picture) for labels in maps)], 1
        )


class AugmentLabels:
    """Kornia's changes of an image, with its labels changed along.

    Kornia fills what lies outside of the image with 0, which is a class; here it becomes ``ignore_index``. It keeps
    masks in floating point, which holds labels below 2^24 exactly.

    Args:
        changes: Of ``kornia.augmentation``.
        ignore_index: Label of pixels from outside of the image.
    """

    def __init__(self, changes: Iterable[Any], ignore_index: int) -> None:
        self.changes = K.AugmentationSequential(*changes, data_keys=["input", "mask"])
        self.ignore_index = ignore_index

    def __call__(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """An image (3, H, W) from 0 to 1 and its labels (H, W), changed.

        A colour outside of the image is 0.
        """
        shifted = torch.where(labels == self.ignore_index, 0, labels + 1)  # 0 is what Kornia fills with
        image, mask = self.changes(image[None], shifted[None, None].float())
        changed = mask[0, 0].round().long() - 1
        return image[0], torch.where(changed < 0, self.ignore_index, changed)


class PreparedImages:
    """What becomes of an item of a data set before it enters a batch.

    Args:
        preprocessing: The model's, see `pydlx.models.segmentation.preprocess`.
        augment: None for validation.
    """

    def __init__(self, preprocessing: str, augment: AugmentLabels | None = None) -> None:
        self.preprocessing, self.augment = preprocessing, augment

    def __call__(self, item: LabelledImage) -> tuple[Tensor, Tensor]:
        """Image and labels as tensors."""
        image, labels = torch.from_numpy(item.image), torch.from_numpy(item.labels)
        if self.augment is not None:
            changed, labels = self.augment(image.movedim(2, 0).float() / 255, labels)
            image = (changed.movedim(0, 2) * 255).round().clamp(0, 255).byte()
        return preprocess(image, self.preprocessing), labels


class Prepared(Dataset):
    """Items of a data set as a function leaves them."""

    def __init__(self, items: Any, change: Callable[[Any], Any]) -> None:
        self.items, self.change = items, change

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.change(self.items[index])


def street_scene_changes(size: tuple[int, int]) -> list[Any]:
    """Flips, scales from .7 to 1.5, a crop of the given (H, W), and colours."""
    return [
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(0.0, scale=(0.7, 1.5), p=0.8),
        K.RandomCrop(size, pad_if_needed=True),
        K.ColorJitter(0.3, 0.3, 0.3, 0.05, p=0.8),
    ]
