"""Crowds of people with everything awkward, as files and as tensors, and COCO's ten numbers of them."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from metrics.coco_samples import pose

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.benchmarks.metrics.people import people
from pydlx.metrics import KeypointAP, evaluate_keypoints

NAMES = ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]


def numbers(results):
    assert list(results) == NAMES
    return [float(value) for value in results.values()]


def evaluated(truth, detections, **options):
    return numbers(evaluate_keypoints(truth, detections, **options))


def crowd(seed):
    """People with everything awkward: ties, crowds, hidden people, several on one spot, some detections with boxes."""
    truth, detections = people(12, 40, 300, seed)
    rng = np.random.default_rng(seed)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = int(rng.random() < 0.15)
        if rng.random() < 0.1:
            annotation["num_keypoints"] = 0
    for detection in detections:
        detection["score"] = round(detection["score"], 1)
    if seed % 2:
        for detection in detections:
            detection["bbox"] = rng.uniform(0, 200, 4).round(1).tolist()
    if seed % 3 == 0:
        rng.shuffle(detections)
    return truth, detections


def tensors(seed=0):
    return batch(*crowd(seed))


def filled(*batches, **options):
    metric = KeypointAP(box_format="xywh", **options)
    for predictions, targets in batches:
        metric.update(predictions, targets)
    return metric


def expected_of(seed=0):
    truth, detections = crowd(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluated(truth, detections)


def one_pose(**more):
    """A pose that is found exactly, as prediction and as target."""
    points = torch.tensor(pose()).view(1, 17, 3)
    return {"keypoints": points, "scores": torch.ones(1)} | more, {"keypoints": points, "area": torch.tensor([1e4])}
