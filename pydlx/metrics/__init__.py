"""Measures of how good a model's output is, each by its published definition.

Classes are ``torchmetrics.Metric``: ``update(preds, target)`` with each batch, ``compute`` at the end, ``reset`` to
start again; they join the processes of ``torch.distributed`` and go into a ``torchmetrics.MetricCollection``. Needs
torchmetrics: ``pip install "pydlx[metrics]"``.
"""

from __future__ import annotations

from pydlx.metrics.box_ap import BoxAP
from pydlx.metrics.coco_files import Evaluation, evaluate_boxes, evaluate_masks
from pydlx.metrics.converters import from_detectron2, from_mmpose, from_torchvision, from_ultralytics
from pydlx.metrics.entities import EntityScore, entity_score
from pydlx.metrics.generative import (
    FeatureDistance,
    ParzenEstimate,
    fid,
    kid,
    parzen_log_likelihood,
    sliced_wasserstein,
)
from pydlx.metrics.image_scores import MAE, MSE, MSSSIM, PSNR, RMSE, SSIM
from pydlx.metrics.images import mae, ms_ssim, mse, psnr, rmse, ssim, std
from pydlx.metrics.keypoint_ap import KeypointAP
from pydlx.metrics.keypoint_files import evaluate_keypoints
from pydlx.metrics.keypoint_sigmas import COCO_SIGMAS, CROWDPOSE_SIGMAS, WHOLEBODY_SIGMAS
from pydlx.metrics.mask_ap import MaskAP
from pydlx.metrics.matched_poses import multi_person_ap, single_person_ap
from pydlx.metrics.plots import plot_answer_curves, plot_confusion_matrix, plot_precision_recall
from pydlx.metrics.reading import (
    AnswerCurve,
    BleuScore,
    CmrcScore,
    RougeLScore,
    SquadScore,
    bleu,
    cmrc2017_score,
    cmrc_answer_scores,
    cmrc_score,
    dream_score,
    dureader_score,
    marco_score,
    rouge_l,
    squad_answer_scores,
    squad_curves,
    squad_score,
)
from pydlx.metrics.relations import RelationScore, relation_score
from pydlx.metrics.segmentation import ConfusionMetrics, scores_table, segmentation_scores

__all__ = [
    "COCO_SIGMAS",
    "CROWDPOSE_SIGMAS",
    "MAE",
    "MSE",
    "MSSSIM",
    "PSNR",
    "RMSE",
    "SSIM",
    "WHOLEBODY_SIGMAS",
    "AnswerCurve",
    "BleuScore",
    "BoxAP",
    "CmrcScore",
    "ConfusionMetrics",
    "EntityScore",
    "Evaluation",
    "FeatureDistance",
    "KeypointAP",
    "MaskAP",
    "ParzenEstimate",
    "RelationScore",
    "RougeLScore",
    "SquadScore",
    "bleu",
    "cmrc2017_score",
    "cmrc_answer_scores",
    "cmrc_score",
    "dream_score",
    "dureader_score",
    "entity_score",
    "evaluate_boxes",
    "evaluate_keypoints",
    "evaluate_masks",
    "fid",
    "from_detectron2",
    "from_mmpose",
    "from_torchvision",
    "from_ultralytics",
    "kid",
    "mae",
    "marco_score",
    "ms_ssim",
    "mse",
    "multi_person_ap",
    "parzen_log_likelihood",
    "plot_answer_curves",
    "plot_confusion_matrix",
    "plot_precision_recall",
    "psnr",
    "relation_score",
    "rmse",
    "rouge_l",
    "scores_table",
    "segmentation_scores",
    "single_person_ap",
    "sliced_wasserstein",
    "squad_answer_scores",
    "squad_curves",
    "squad_score",
    "ssim",
    "std",
]
