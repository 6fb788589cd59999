"""Measures of how good a model's output is, each by its published definition.

Classes follow ``torchmetrics.Metric``: ``update`` with each batch, ``compute`` at the end, ``reset`` to start again;
they sum over the processes of ``torch.distributed`` and go into a ``torchmetrics.MetricCollection``.
"""

from pydlx.metrics.plots import plot_confusion_matrix
from pydlx.metrics.segmentation import ConfusionMetrics, scores_table, segmentation_scores

__all__ = ["ConfusionMetrics", "plot_confusion_matrix", "scores_table", "segmentation_scores"]
