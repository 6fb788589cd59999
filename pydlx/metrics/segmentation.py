"""Scores of label maps: pixel accuracy, intersection over union, Dice, by any of the conventions in use.

All come from the confusion matrix h (rows truth, columns prediction), for class c with n_c = h[c, c]:

    accuracy_c = n_c / truth_c                                  truth_c = sum of row c
    IoU_c = n_c / (truth_c + predicted_c - n_c)                 predicted_c = sum of column c
    Dice_c = 2 n_c / (truth_c + predicted_c)
    pixel accuracy = sum n_c / sum h                            frequency-weighted IoU = sum truth_c IoU_c / sum h

Results of other libraries differ by up to a factor of two on the same maps, for three reasons, each an option here:
what a class counts that is in neither map (`absent`), over what is averaged (`average`), and whether pixels of all
images are counted together (`level`). The defaults are those of FCN's evaluation and of most leader boards: the data
set's matrix, the mean over the classes that occur.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import check_one_of, check_real_tensor, check_type, whole, whole_or_none
from pydlx.metrics.metric import Metric
from pydlx.metrics.plots import checked_names, plot_confusion_matrix
from pydlx.ops.confusion_matrix import MOST_CLASSES, confusion_matrix

ABSENT = {"drop": torch.nan, "nan": torch.nan, "zero": 0.0, "one": 1.0}
AVERAGES = ("macro", "micro", "weighted")
LEVELS = ("dataset", "image")

PER_CLASS = ("class_accuracy", "iou", "dice")
SINGLE = ("pixel_accuracy", "mean_accuracy", "mean_iou", "mean_dice", "frequency_weighted_iou")


def segmentation_scores(matrix: Tensor, *, absent: str = "drop", average: str = "macro") -> dict[str, Tensor]:
    """Every score of a confusion matrix; see the module's description for the formulae.

    Args:
        matrix: (..., C, C) counts, rows the truth, as :func:`pydlx.ops.confusion_matrix` gives them.
        absent: What stands for 0 / 0, such as the IoU of a class in neither map: ``"drop"``: NaN, left out of means;
            ``"nan"``: NaN, which means then are as well; ``"zero"``; ``"one"``.
        average: What ``mean_accuracy``, ``mean_iou`` and ``mean_dice`` are: ``"macro"``: the mean over classes;
            ``"micro"``: numerators and denominators summed over classes first, which makes the accuracy and Dice the
            pixel accuracy; ``"weighted"``: the mean over classes weighted by their pixels in the truth.

    Returns:
        float64 tensors on the matrix's device: ``pixel_accuracy``, ``mean_accuracy``, ``mean_iou``, ``mean_dice`` and
        ``frequency_weighted_iou`` of shape (...), ``class_accuracy``, ``iou`` and ``dice`` of shape (..., C).

    Raises:
        ValueError: If an option is none of these, or the matrix is not square.

    Example:
        >>> scores = segmentation_scores(torch.tensor([[3, 1], [1, 5]]))
        >>> round(scores["mean_iou"].item(), 4), round(scores["pixel_accuracy"].item(), 4)
        (0.6571, 0.8)
    """
    check_one_of("segmentation_scores", "absent", absent, ABSENT)
    check_one_of("segmentation_scores", "average", average, AVERAGES)
    check_real_tensor("segmentation_scores", "matrix", matrix)
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"segmentation_scores: matrix must have shape (..., C, C), got {tuple(matrix.shape)}")
    counts = matrix.double()
    hits, truth, predicted = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1), counts.sum(-2)
    pixels = truth.sum(-1)

    def ratio(part: Tensor, whole: Tensor) -> Tensor:
        return torch.where(whole == 0, ABSENT[absent], part / whole)

    def mean(part: Tensor, whole: Tensor) -> Tensor:
        if average == "micro":
            return ratio(part.sum(-1), whole.sum(-1))
        if average == "weighted":
            return weighted(part, whole)
        return ratio(part, whole).nanmean(-1) if absent == "drop" else ratio(part, whole).mean(-1)

    def weighted(part: Tensor, whole: Tensor) -> Tensor:
        return ratio(torch.where(truth == 0, 0, truth * part / whole).sum(-1), pixels)

    iou, dice = (hits, truth + predicted - hits), (2 * hits, truth + predicted)
    return {
        "pixel_accuracy": ratio(hits.sum(-1), pixels),
        "class_accuracy": ratio(hits, truth),
        "mean_accuracy": mean(hits, truth),
        "iou": ratio(*iou),
        "mean_iou": mean(*iou),
        "dice": ratio(*dice),
        "mean_dice": mean(*dice),
        "frequency_weighted_iou": weighted(*iou),
    }


def scores_table(scores: Mapping[str, Tensor], class_names: Sequence[str] | None = None) -> str:
    """The scores of one matrix as text in percent: a line for each class, their means, and the scores of all pixels."""
    check_type("scores_table", "scores", scores, Mapping, "the scores of one matrix")
    missing = [key for key in (*PER_CLASS, *SINGLE) if not isinstance(scores.get(key), Tensor)]
    if missing:
        raise ValueError(f"scores_table: scores must hold a tensor {missing[0]!r}, got {list(scores)}")
    names = checked_names("scores_table", class_names, len(scores["iou"]))
    columns = ("accuracy", "IoU", "Dice")
    rows = [(name, [scores[key][c].item() for key in PER_CLASS]) for c, name in enumerate(names)]
    rows.append(("mean", [scores[key].item() for key in ("mean_accuracy", "mean_iou", "mean_dice")]))
    width = max(len(name) for name, _ in rows)
    lines = [" ".join([f"{'':{width}}", *(f"{column:>9}" for column in columns)])]
    for name, values in rows:
        shown = (f"{'-' if value != value else f'{100 * value:.2f}':>9}" for value in values)
        lines.append(" ".join([f"{name:{width}}", *shown]))
    pixels, weighted = (100 * scores[key].item() for key in ("pixel_accuracy", "frequency_weighted_iou"))
    return "\n".join([*lines, f"pixel accuracy {pixels:.2f}, frequency-weighted IoU {weighted:.2f}"])


class ConfusionMetrics(Metric):
    """Scores of predicted label maps over a data set, from the confusion matrix; a ``torchmetrics.Metric``.

    Sums over the processes of ``torch.distributed``; what is kept does not grow with the number of images.

    Args:
        num_classes: C.
        ignore_index: Pixels with this truth are left out.
        absent: What stands for 0 / 0; see :func:`segmentation_scores`.
        average: What the mean scores are; see :func:`segmentation_scores`.
        level: ``"dataset"``: the scores of all pixels together. ``"image"``: each image's scores, averaged over images;
            with ``absent="drop"`` a class's scores over the images that have them.
        invalid: What becomes of other labels outside of [0, C); see :func:`pydlx.ops.confusion_matrix`.
        class_names: C names for tables and pictures.

    ``compute()`` gives the dict of :func:`segmentation_scores`, of which ``class_accuracy``, ``iou`` and ``dice`` hold
    a value for each class. ``matrix`` is the data set's confusion matrix, at either level.

    Example:
        >>> metrics = ConfusionMetrics(num_classes=2, ignore_index=255)
        >>> metrics.update(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 255]]))
        >>> metrics.compute()["mean_iou"].item()
        1.0
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    matrix: Tensor
    score_sums: Tensor
    score_counts: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        absent: str = "drop",
        average: str = "macro",
        level: str = "dataset",
        invalid: str = "error",
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        name = "ConfusionMetrics"
        check_one_of(name, "absent", absent, ABSENT)
        check_one_of(name, "average", average, AVERAGES)
        check_one_of(name, "level", level, LEVELS)
        check_one_of(name, "invalid", invalid, ("error", "ignore"))
        num_classes = whole(name, "num_classes", num_classes, 1, MOST_CLASSES)
        self.num_classes = num_classes
        self.ignore_index = whole_or_none(name, "ignore_index", ignore_index)
        self.absent, self.average, self.level, self.invalid = absent, average, level, invalid
        self.class_names = None if class_names is None else checked_names(name, class_names, num_classes)
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        if level == "image":
            scores = len(SINGLE) + len(PER_CLASS) * num_classes
            self.add_state("score_sums", torch.zeros(scores, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state("score_counts", torch.zeros(scores, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Takes a batch in.

        Args:
            pred: Labels (N, H, W), or logits (N, C, H, W); any number of spatial dimensions.
            target: Labels (N, H, W).
        """
        by_image = self.level == "image"
        if by_image and target.dim() < 3:
            raise ValueError(
                f'ConfusionMetrics: target must have shape (N, H, W) with level="image", got {tuple(target.shape)}'
            )
        counts = confusion_matrix(
            pred, target, self.num_classes, self.ignore_index, invalid=self.invalid, per_image=by_image
        )
        if by_image:
            scores = self._scores(counts)
            flat = torch.cat([scores[name].reshape(len(counts), -1) for name in (*SINGLE, *PER_CLASS)], 1)
            present = ~flat.isnan() if self.absent == "drop" else torch.ones_like(flat, dtype=torch.bool)
            self.score_sums += torch.where(present, flat, 0).sum(0)
            self.score_counts += present.sum(0)
            counts = counts.sum(0)
        self.matrix += counts

    def compute(self) -> dict[str, Tensor]:
        """The scores of everything taken in."""
        if self.level == "dataset":
            return self._scores(self.matrix)
        means = self.score_sums / self.score_counts
        single, per_class = means.split([len(SINGLE), len(PER_CLASS) * self.num_classes])
        return {
            **dict(zip(SINGLE, single.unbind(), strict=True)),
            **dict(zip(PER_CLASS, per_class.view(len(PER_CLASS), -1).unbind(), strict=True)),
        }

    def table(self) -> str:
        """The scores as text, a line for each class."""
        return scores_table(self.compute(), self.class_names)

    def plot(self, matrix: Tensor | None = None, ax: Any = None, **options: Any) -> tuple[Any, Any]:
        """Draws the confusion matrix of what this process has taken in, or another one.

        Args:
            matrix: (C, C) to draw instead.
            ax: matplotlib axes to draw into.
            options: see :func:`pydlx.metrics.plot_confusion_matrix`.

        Returns:
            matplotlib's figure and axes.
        """
        options.setdefault("class_names", self.class_names)
        return plot_confusion_matrix(self.matrix if matrix is None else matrix, ax=ax, **options)

    def _scores(self, matrix: Tensor) -> dict[str, Tensor]:
        return segmentation_scores(matrix, absent=self.absent, average=self.average)
