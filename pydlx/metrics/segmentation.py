"""Scores of label maps: pixel accuracy, intersection over union, Dice, by any of the conventions in use.

All come from the confusion matrix h (rows target, columns prediction), for class c with n_c = h[c, c]:

    accuracy_c = n_c / target_c                                 target_c = sum of row c
    IoU_c = n_c / (target_c + predicted_c - n_c)                predicted_c = sum of column c
    Dice_c = 2 n_c / (target_c + predicted_c)
    pixel accuracy = sum n_c / sum h                            frequency-weighted IoU = sum target_c IoU_c / sum h

Other libraries give up to twice or half of these numbers for the same maps. They differ in three choices, each an
option here: what a class scores that is in neither map (`zero_division`), over what is averaged (`average`), and
whether the pixels of all images are counted together (`level`). The defaults are those of FCN's evaluation and of most
leader boards: the data set's matrix, and the mean over the classes that occur.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pydlx._checks import (
    check_one_of,
    check_real_tensor,
    check_tensor,
    check_type,
    described,
    is_number,
    whole,
    whole_or_none,
)
from pydlx.metrics.metric import Metric
from pydlx.metrics.plots import checked_names, plot_confusion_matrix
from pydlx.metrics.scores import Scores
from pydlx.ops.confusion_matrix import MOST_CLASSES, confusion_matrix

AVERAGES = ("macro", "micro", "weighted")
LEVELS = ("dataset", "image")

PER_CLASS = ("class_accuracy", "iou", "dice")
SINGLE = ("pixel_accuracy", "mean_accuracy", "mean_iou", "mean_dice", "frequency_weighted_iou")


def segmentation_scores(
    matrix: Tensor, *, zero_division: float | str = "drop", average: str = "macro"
) -> dict[str, Tensor]:
    """Every score of a confusion matrix; see the module's description for the formulae.

    Args:
        matrix: (..., C, C) counts, rows the target, as :func:`pydlx.ops.confusion_matrix` gives them.
        zero_division: What stands for 0 / 0, such as the IoU of a class in neither map: a number from 0 to 1; NaN,
            which makes means NaN as well; or ``"drop"``: NaN that is left out of means.
        average: What ``mean_accuracy``, ``mean_iou`` and ``mean_dice`` are: ``"macro"``: the mean over classes;
            ``"micro"``: of numerators and denominators summed over classes, which makes accuracy and Dice the pixel
            accuracy; ``"weighted"``: the mean over classes weighted by their pixels in the target.

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
    undefined = _value_of_0_by_0("segmentation_scores", zero_division)
    check_one_of("segmentation_scores", "average", average, AVERAGES)
    check_real_tensor("segmentation_scores", "matrix", matrix)
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"segmentation_scores: matrix must have shape (..., C, C), got {tuple(matrix.shape)}")
    counts = matrix.double()
    hits, target, predicted = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1), counts.sum(-2)
    pixels = target.sum(-1)

    def ratio(part: Tensor, whole: Tensor) -> Tensor:
        return torch.where(whole == 0, undefined, part / whole)

    def mean(part: Tensor, whole: Tensor) -> Tensor:
        if average == "micro":
            return ratio(part.sum(-1), whole.sum(-1))
        if average == "weighted":
            return weighted(part, whole)
        return ratio(part, whole).nanmean(-1) if zero_division == "drop" else ratio(part, whole).mean(-1)

    def weighted(part: Tensor, whole: Tensor) -> Tensor:
        return ratio(torch.where(target == 0, 0, target * part / whole).sum(-1), pixels)

    iou, dice = (hits, target + predicted - hits), (2 * hits, target + predicted)
    return {
        "pixel_accuracy": ratio(hits.sum(-1), pixels),
        "class_accuracy": ratio(hits, target),
        "mean_accuracy": mean(hits, target),
        "iou": ratio(*iou),
        "mean_iou": mean(*iou),
        "dice": ratio(*dice),
        "mean_dice": mean(*dice),
        "frequency_weighted_iou": weighted(*iou),
    }


def _value_of_0_by_0(name: str, zero_division: Any) -> float:
    if isinstance(zero_division, str) and zero_division == "drop":
        return math.nan
    if not is_number(zero_division) or not (math.isnan(zero_division) or 0 <= zero_division <= 1):
        wanted = "'drop', NaN or a number from 0 to 1"
        raise ValueError(f"{name}: zero_division must be {wanted}, got {described(zero_division)}")
    return float(zero_division)


def scores_table(scores: Mapping[str, Tensor], class_names: Sequence[str] | None = None) -> str:
    """The scores of one matrix as text in percent: a line for each class, their means, and the scores of all pixels."""
    check_type("scores_table", "scores", scores, Mapping, "the scores of one matrix")
    for key in (*PER_CLASS, *SINGLE):
        try:
            check_tensor("scores_table", key, scores[key])
        except (KeyError, TypeError):
            raise ValueError(f"scores_table: scores must hold a tensor {key!r}, got {list(scores)}") from None
    names = checked_names("scores_table", class_names, len(scores["iou"]))
    columns = ("accuracy", "IoU", "Dice")
    rows = [(name, [scores[key][c].item() for key in PER_CLASS]) for c, name in enumerate(names)]
    rows.append(("mean", [scores[key].item() for key in ("mean_accuracy", "mean_iou", "mean_dice")]))
    width = max(len(name) for name, _ in rows)
    lines = [" ".join([f"{'in %':{width}}", *(f"{column:>9}" for column in columns)])]
    for name, values in rows:
        shown = (f"{'-' if value != value else f'{100 * value:.2f}':>9}" for value in values)
        lines.append(" ".join([f"{name:{width}}", *shown]))
    pixels, weighted = (100 * scores[key].item() for key in ("pixel_accuracy", "frequency_weighted_iou"))
    return "\n".join([*lines, f"pixel accuracy {pixels:.2f}, frequency-weighted IoU {weighted:.2f}"])


class ConfusionMetrics(Metric):
    """Scores of predicted label maps over a data set, from the confusion matrix; a ``torchmetrics.Metric``.

    Adds up over the processes of ``torch.distributed``. What is kept does not grow with the number of images.

    Args:
        num_classes: C.
        ignore_index: Pixels with this target are left out.
        zero_division: What stands for 0 / 0; see :func:`segmentation_scores`.
        average: What the mean scores are; see :func:`segmentation_scores`.
        level: ``"dataset"``: the scores of all pixels together. ``"image"``: the mean over images of their scores;
            with ``zero_division="drop"`` a class's mean is over the images that have it.
        invalid: What becomes of other labels outside of [0, C); see :func:`pydlx.ops.confusion_matrix`.
        class_names: C names for results, tables and pictures; by default the classes' numbers.
        kwargs: Those of ``torchmetrics.Metric``.

    ``compute()`` gives scalars: ``pixel_accuracy``, ``mean_accuracy``, ``mean_iou``, ``mean_dice`` and
    ``frequency_weighted_iou``, and of each class ``class_accuracy/NAME``, ``iou/NAME`` and ``dice/NAME``. Those of all
    classes as one tensor (C,) are ``compute()["iou"]``, and likewise the others. ``matrix`` is the confusion matrix of
    the data set, at either level.

    Example:
        >>> metrics = ConfusionMetrics(num_classes=2, ignore_index=255, class_names=["road", "sky"])
        >>> metrics.update(preds=torch.tensor([[0, 1, 1]]), target=torch.tensor([[0, 1, 255]]))
        >>> scores = metrics.compute()
        >>> scores["mean_iou"].item(), scores["iou/sky"].item(), scores["iou"].tolist()
        (1.0, 1.0, [1.0, 1.0])
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound, plot_upper_bound = 0.0, 1.0

    matrix: Tensor
    score_sums: Tensor
    score_counts: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        zero_division: float | str = "drop",
        average: str = "macro",
        level: str = "dataset",
        invalid: str = "error",
        class_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = "ConfusionMetrics"
        _value_of_0_by_0(name, zero_division)
        check_one_of(name, "average", average, AVERAGES)
        check_one_of(name, "level", level, LEVELS)
        check_one_of(name, "invalid", invalid, ("error", "ignore"))
        num_classes = whole(name, "num_classes", num_classes, 1, MOST_CLASSES)
        self.num_classes = num_classes
        self.ignore_index = whole_or_none(name, "ignore_index", ignore_index)
        self.zero_division, self.average, self.level, self.invalid = zero_division, average, level, invalid
        self.class_names = None if class_names is None else checked_names(name, class_names, num_classes)
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        if level == "image":
            scores = len(SINGLE) + len(PER_CLASS) * num_classes
            self.add_state("score_sums", torch.zeros(scores, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state("score_counts", torch.zeros(scores, dtype=torch.int64), dist_reduce_fx="sum")
        self._tell_apart("ignore_index", "invalid", *(("zero_division", "average") if level == "image" else ()))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Takes a batch in.

        Args:
            preds: Labels (N, H, W), or logits (N, C, H, W); any number of spatial dimensions.
            target: Labels (N, H, W).
        """
        by_image = self.level == "image"
        if by_image and target.dim() < 3:
            raise ValueError(
                f'ConfusionMetrics: target must have shape (N, H, W) with level="image", got {tuple(target.shape)}'
            )
        counts = confusion_matrix(
            preds, target, self.num_classes, self.ignore_index, invalid=self.invalid, per_image=by_image
        )
        if by_image:
            scores = self._scores(counts)
            single = torch.stack([scores[name] for name in SINGLE], 1)
            flat = torch.cat([single, *(scores[name] for name in PER_CLASS)], 1)
            present = ~flat.isnan() if self.zero_division == "drop" else torch.ones_like(flat, dtype=torch.bool)
            self.score_sums += torch.where(present, flat, 0).sum(0)
            self.score_counts += present.sum(0)
            counts = counts.sum(0)
        self.matrix += counts

    def compute(self) -> Scores:
        """The scores of everything taken in."""
        if self.level == "dataset":
            return Scores.by_class(self._scores(self.matrix), self._names())
        means = self.score_sums / self.score_counts
        single, per_class = means.split([len(SINGLE), len(PER_CLASS) * self.num_classes])
        scores = {
            **dict(zip(SINGLE, single.unbind(), strict=True)),
            **dict(zip(PER_CLASS, per_class.view(len(PER_CLASS), -1).unbind(), strict=True)),
        }
        return Scores.by_class(scores, self._names())

    def table(self, val: Mapping[str, Tensor] | None = None) -> str:
        """Scores as text in percent, a line for each class.

        Args:
            val: A result of ``compute`` or ``forward``; by default that of the states as they are.
        """
        return scores_table(self._of_states() if val is None else val, self.class_names)

    def plot(
        self, val: Any = None, ax: Any = None, *, path: str | os.PathLike[str] | None = None, **options: Any
    ) -> tuple[Any, Any]:
        """Draws the confusion matrix of the states as they are; or a result, or a row of them over time.

        Args:
            val: A matrix (C, C) to draw instead; or a result of ``compute`` or ``forward``, or a list of them.
            ax: matplotlib axes to draw into, instead of those of a new figure.
            path: Where to write the picture, as a whole or not at all; the suffix chooses the format.
            options: Of a matrix, those of :func:`pydlx.metrics.plot_confusion_matrix`.

        Returns:
            matplotlib's figure and axes.

        Raises:
            ImportError: If matplotlib is not installed.
            OSError: If the file cannot be written.
        """
        if val is not None and not isinstance(val, Tensor):
            return super().plot(val, ax, path=path, **options)
        options.setdefault("class_names", self.class_names)
        return plot_confusion_matrix(self.matrix if val is None else val, path=path, ax=ax, **options)

    def _scores(self, matrix: Tensor) -> dict[str, Tensor]:
        return segmentation_scores(matrix, zero_division=self.zero_division, average=self.average)

    def _names(self) -> list[str]:
        """A different name for each class: the number beside a name that several have."""
        names = self.class_names or [str(c) for c in range(self.num_classes)]
        times = Counter(names)
        return [f"{name} ({c})" if times[name] > 1 else name for c, name in enumerate(names)]
