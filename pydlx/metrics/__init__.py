"""Measures of how good a model's output is, each by its published definition.

Classes follow ``torchmetrics.Metric``: ``update`` with each batch, ``compute`` at the end, ``reset`` to start again;
they sum over the processes of ``torch.distributed`` and go into a ``torchmetrics.MetricCollection``.
"""

from __future__ import annotations

from pydlx.metrics.box_ap import BoxAP
from pydlx.metrics.coco_files import (
    Evaluation,
    box_evaluation,
    evaluate_boxes,
    evaluate_keypoints,
    keypoint_evaluation,
)
from pydlx.metrics.generative import (
    FeatureDistance,
    ParzenEstimate,
    fid,
    kid,
    parzen_log_likelihood,
    sliced_wasserstein,
)
from pydlx.metrics.images import mae, ms_ssim, mse, psnr, rmse, sd, ssim
from pydlx.metrics.keypoint_ap import KeypointAP
from pydlx.metrics.keypoint_sigmas import COCO_SIGMAS, CROWDPOSE_SIGMAS, WHOLEBODY_SIGMAS
from pydlx.metrics.matched_poses import multi_person_ap, single_person_ap
from pydlx.metrics.plots import plot_confusion_matrix, plot_precision_recall
from pydlx.metrics.segmentation import ConfusionMetrics, scores_table, segmentation_scores

__all__ = [
    "COCO_SIGMAS",
    "CROWDPOSE_SIGMAS",
    "WHOLEBODY_SIGMAS",
    "BoxAP",
    "ConfusionMetrics",
    "Evaluation",
    "FeatureDistance",
    "KeypointAP",
    "ParzenEstimate",
    "box_evaluation",
    "evaluate_boxes",
    "evaluate_keypoints",
    "fid",
    "keypoint_evaluation",
    "kid",
    "mae",
    "ms_ssim",
    "mse",
    "multi_person_ap",
    "parzen_log_likelihood",
    "plot_confusion_matrix",
    "plot_precision_recall",
    "psnr",
    "rmse",
    "scores_table",
    "sd",
    "segmentation_scores",
    "single_person_ap",
    "sliced_wasserstein",
    "ssim",
]
