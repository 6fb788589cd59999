"""Segmentation scores against worked conventions, NumPy's definitions, and torchmetrics where the two agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchmetrics
import torchmetrics.segmentation

from pydlx.metrics import ConfusionMetrics, scores_table, segmentation_scores

PER_IMAGE = torch.tensor(
    [
        [[1024, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[94, 108, 119], [224, 227, 252], [0, 0, 0]],
        [[101, 117, 125], [98, 130, 95], [111, 114, 133]],
        [[114, 127, 123], [109, 113, 117], [110, 108, 103]],
    ]
)

# (options, mean IoU, mean Dice), computed independently from PER_IMAGE
CONVENTIONS = [
    ({}, 0.2972192498616128, 0.4403089904991413),
    ({"average": "micro"}, 0.3313830651714611, 0.497802734375),
    ({"level": "image", "average": "micro"}, 0.3985268226958083, 0.497802734375),
    ({"level": "image"}, 0.3896762845217732, 0.4801243660248369),
    ({"level": "image", "zero_division": 1}, 0.3896762845217732, 0.4801243660248369),
    ({"level": "image", "zero_division": 0}, 0.2230096178551066, 0.3134576993581702),
]


def maps_of_conventions():
    """Prediction and target (4, 32, 32) of three classes; no class but 0 in image 0, no class 2 in image 1's target."""
    target, preds = (torch.randint(0, 3, (4, 32, 32), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    target[0] = preds[0] = 0
    target[1][target[1] == 2] = 1
    return preds, target


def fast_hist_scores(matrix):
    """Accuracy, mean accuracy, mean IoU and frequency-weighted IoU by FCN's definitions, in NumPy."""
    h = matrix.numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):
        iou = np.diag(h) / (h.sum(1) + h.sum(0) - np.diag(h))
        accuracy = np.nanmean(np.diag(h) / h.sum(1))
    frequency = h.sum(1) / h.sum()
    return np.diag(h).sum() / h.sum(), accuracy, np.nanmean(iou), (frequency[frequency > 0] * iou[frequency > 0]).sum()


def close(actual, expected, tolerance=1e-12):
    return abs(float(actual) - expected) < tolerance


def same_scores(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize(("options", "iou", "dice"), CONVENTIONS)
def test_conventions(options, iou, dice):
    metrics = ConfusionMetrics(3, **options)
    pred, target = maps_of_conventions()
    metrics.update(pred[:1], target[:1])
    metrics.update(pred[1:], target[1:])
    scores = metrics.compute()
    assert torch.equal(metrics.matrix, PER_IMAGE.sum(0))
    assert close(scores["mean_iou"], iou)
    assert close(scores["mean_dice"], dice)


def test_scores_of_the_data_set():
    scores = segmentation_scores(PER_IMAGE.sum(0))
    assert close(scores["pixel_accuracy"], 0.497802734375)
    assert close(scores["mean_accuracy"], 0.44716747886398817)
    assert close(scores["frequency_weighted_iou"], 0.35365469756937523)
    np.testing.assert_allclose(scores["iou"], [0.49297337, 0.24239299, 0.15629139], atol=1e-8)
    np.testing.assert_allclose(scores["dice"], [2666 / 4037, 940 / 2409, 472 / 1746], rtol=1e-14)
    np.testing.assert_allclose(scores["class_accuracy"], [1333 / 2052, 470 / 1365, 236 / 679], rtol=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_same_as_fast_hist(seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(0, 50, (7, 7), generator=generator)
    matrix[3], matrix[:, 3], matrix[5] = 0, 0, 0  # a class in neither map, one in the prediction only
    scores = segmentation_scores(matrix)
    names = ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou")
    np.testing.assert_allclose([scores[name] for name in names], fast_hist_scores(matrix), rtol=1e-14)


def test_weighted_means_weigh_classes_by_their_pixels():
    matrix = PER_IMAGE.sum(0)
    scores, plain = segmentation_scores(matrix, average="weighted"), segmentation_scores(matrix)
    assert close(scores["mean_iou"], plain["frequency_weighted_iou"].item())
    assert close(scores["mean_accuracy"], plain["pixel_accuracy"].item())
    assert close(scores["mean_dice"], 0.5056900, 1e-7)
    by_image = segmentation_scores(PER_IMAGE, average="weighted")
    assert close(by_image["mean_dice"].mean(), 0.5173129, 1e-7)


@pytest.mark.parametrize(
    ("zero_division", "per_class", "mean"),
    [("drop", math.nan, 0.25), (math.nan, math.nan, math.nan), (0, 0, 0.5 / 3), (1.0, 1, 0.5)],
)
def test_absent_classes(zero_division, per_class, mean):
    """Class 2 is in neither map; class 1 is always taken for class 0, of which all pixels are found."""
    scores = segmentation_scores(torch.tensor([[4, 0, 0], [4, 0, 0], [0, 0, 0]]), zero_division=zero_division)
    np.testing.assert_allclose(scores["iou"], [0.5, 0, per_class])
    np.testing.assert_allclose(scores["mean_iou"], mean)
    assert scores["frequency_weighted_iou"] == 0.25, "absent classes have no weight"


def test_matrices_may_be_stacked():
    stacked = segmentation_scores(PER_IMAGE.view(2, 2, 3, 3), zero_division=0)
    for index, matrix in enumerate(PER_IMAGE):
        for name, score in segmentation_scores(matrix, zero_division=0).items():
            torch.testing.assert_close(stacked[name].flatten(0, 1)[index], score, rtol=0, atol=0)


def test_nothing_counted_is_no_score():
    for scores in (
        ConfusionMetrics(3)._scores(torch.zeros(3, 3)),
        segmentation_scores(torch.zeros(3, 3), average="micro"),
    ):
        assert all(score.isnan().all() for score in scores.values())
    assert segmentation_scores(torch.zeros(2, 2), zero_division=1)["mean_dice"] == 1


def test_images_without_truth_are_dropped_from_means_over_images():
    pred, target = maps_of_conventions()
    target[2] = 255
    metrics = ConfusionMetrics(3, 255, level="image")
    metrics.update(pred, target)
    kept = segmentation_scores(PER_IMAGE[[0, 1, 3]])
    assert close(metrics.compute()["mean_iou"], kept["mean_iou"].mean().item())
    assert close(metrics.compute()["pixel_accuracy"], kept["pixel_accuracy"].mean().item())
    assert close(metrics.compute()["iou"][2], kept["iou"][1:, 2].mean().item()), "class 2 is in the last two only"


def test_a_class_absent_from_one_image_is_nan_over_images_where_asked_for():
    """Class 0 is in every image, 1 and 2 are not in image 0."""
    metrics = ConfusionMetrics(3, level="image", zero_division=math.nan)
    metrics.update(*maps_of_conventions())
    scores = metrics.compute()
    assert scores["iou"].isnan().tolist() == scores["dice"].isnan().tolist() == [False, True, True]
    assert scores["mean_iou"].isnan()
    expected = segmentation_scores(PER_IMAGE)
    assert close(scores["iou"][0], expected["iou"][:, 0].mean().item())
    assert close(scores["pixel_accuracy"], expected["pixel_accuracy"].mean().item())


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_agrees_with_torchmetrics(average):
    pred, target = maps_of_conventions()
    target[3, :5] = 255
    ours = ConfusionMetrics(3, 255, average=average)
    jaccard = torchmetrics.JaccardIndex("multiclass", num_classes=3, average=average, ignore_index=255)
    accuracy = torchmetrics.Accuracy("multiclass", num_classes=3, average=average, ignore_index=255)
    for metric in (ours, jaccard, accuracy):
        metric.update(pred, target)
    scores = ours.compute()
    assert close(scores["mean_iou"], jaccard.compute().item(), 1e-6)
    assert close(scores["mean_accuracy"], accuracy.compute().item(), 1e-6)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("level", ["dataset", "image"])
def test_agrees_with_torchmetrics_dice(level, average):
    maps = maps_of_conventions()
    aggregation = {"dataset": "global", "image": "samplewise"}[level]
    peer = torchmetrics.segmentation.DiceScore(3, average=average, input_format="index", aggregation_level=aggregation)
    ours = ConfusionMetrics(3, level=level, average=average)
    ours.update(*maps)
    peer.update(*maps)
    assert close(ours.compute()["mean_dice"], peer.compute().item(), 1e-6)


def test_torchmetrics_mean_iou_is_another_number():
    """It averages over all pairs of an image and a class in it, so that images of many classes weigh more."""
    peer = torchmetrics.segmentation.MeanIoU(3, input_format="index")
    maps = maps_of_conventions()
    peer.update(*maps)
    pairs = segmentation_scores(PER_IMAGE)["iou"]
    assert close(pairs.nanmean(), 0.26761154142612786)
    assert close(peer.compute(), 0.2676115334, 1e-9), "in float32"
    for options, iou, _ in CONVENTIONS:
        assert not close(peer.compute(), iou, 1e-2), options


def test_goes_into_a_metric_collection():
    collection = torchmetrics.MetricCollection(
        {"pixels": ConfusionMetrics(3), "images": ConfusionMetrics(3, level="image")}
    )
    collection.update(*maps_of_conventions())
    scores = collection.compute()
    assert close(scores["pixels_mean_iou"], CONVENTIONS[0][1])
    assert close(scores["images_mean_iou"], CONVENTIONS[3][1])


def test_forward_counts_each_batch_once(monkeypatch):
    updates = []
    update = ConfusionMetrics.update
    monkeypatch.setattr(ConfusionMetrics, "update", lambda self, *maps: updates.append(update(self, *maps)))
    ConfusionMetrics(3)(*maps_of_conventions())
    assert len(updates) == 1


def test_logits_are_taken_as_they_are():
    pred, target = maps_of_conventions()
    logits = torch.nn.functional.one_hot(pred, 3).movedim(-1, 1).float().requires_grad_()
    metrics = ConfusionMetrics(3, level="image")
    metrics.update(logits, target)
    assert torch.equal(metrics.matrix, PER_IMAGE.sum(0))


def test_table():
    metrics = ConfusionMetrics(3, class_names=["road", "traffic light", "sky"])
    metrics.update(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 0, 0, 1]]))
    assert metrics.table().splitlines() == [
        "in %           accuracy       IoU      Dice",
        "road              66.67     66.67     80.00",
        "traffic light    100.00     50.00     66.67",
        "sky                   -         -         -",
        "mean              83.33     58.33     73.33",
        "pixel accuracy 75.00, frequency-weighted IoU 62.50",
    ]
    assert scores_table(metrics.compute()).splitlines()[1].startswith("0 ")
    other = ConfusionMetrics(3, class_names=["road", "traffic light", "sky"])
    assert other.table(metrics.compute()) == metrics.table(), "of a result"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zero_division": "skip"}, r"zero_division must be 'drop', NaN or a number from 0 to 1, got 'skip'"),
        ({"zero_division": 2}, r"zero_division must be 'drop', NaN or a number from 0 to 1, got 2"),
        ({"average": "none"}, r"average must be one of 'macro', 'micro', 'weighted', got 'none'"),
        ({"level": "batch"}, r"level must be one of 'dataset', 'image', got 'batch'"),
        ({"invalid": "skip"}, r"invalid must be one of 'error', 'ignore', got 'skip'"),
        ({"num_classes": 0}, r"num_classes must be from 1 to 32767, got 0"),
        ({"class_names": ["a"]}, r"class_names must have one name for each of 3 classes, got 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^ConfusionMetrics: {message}$"):
        ConfusionMetrics(**{"num_classes": 3, **options})


def test_bad_input():
    with pytest.raises(ValueError, match=r"^segmentation_scores: matrix must have shape \(..., C, C\), got \(2, 3\)$"):
        segmentation_scores(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"target must have shape \(N, H, W\) with level=.image., got \(4, 4\)"):
        ConfusionMetrics(3, level="image").update(torch.zeros(4, 4).int(), torch.zeros(4, 4).int())
    with pytest.raises(ValueError, match=r"^confusion_matrix: target must hold labels in \[0, 3\), got 255"):
        ConfusionMetrics(3).update(torch.zeros(4).int(), torch.full((4,), 255))
    metrics = ConfusionMetrics(3, invalid="ignore")
    metrics.update(torch.zeros(4).int(), torch.full((4,), 255))
    assert not metrics.matrix.any()
