"""COCO's keypoint evaluation: published numbers, its edge cases, and side by side with pycocotools and hotcoco."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from metrics.coco_samples import data_set, found, peer_numbers, person, pose
from metrics.keypoint_samples import crowd, evaluated, expected_of, filled, numbers, tensors

from pydlx.benchmarks.metrics.keypoint_ap import batch
from pydlx.metrics import (
    COCO_SIGMAS,
    KeypointAP,
    evaluate_keypoints,
)

PEERS = ("pycocotools", "hotcoco")


# --- published and measured numbers


def test_the_fixture_of_faster_coco_eval(shared_data):
    folder = shared_data / "keypoints"
    expected = [
        *(0.5048844884488449, 0.7227722772277227, 0.6336633663366337, 0.46633663366336636, 0.7504950495049505),
        *(0.5181818181818182, 0.7272727272727273, 0.6363636363636364, 0.4666666666666666, 0.75),
    ]
    assert evaluated(folder / "fce_gt.json", folder / "fce_dt.json") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((1, 1), [1.0] * 10),
        (
            (0.98, 1.02),
            [
                *(0.40044415192324856, 0.6867110439857544, 0.35621599525842335, 0.23724533742626805),
                *(0.5835633010389067, 0.5338235294117647, 0.7647058823529411, 0.5, 0.26176470588235295),
                0.8058823529411765,
            ],
        ),
    ],
)
def test_people_of_coco(shared_data, factors, expected):
    path = shared_data / "coco_mini" / "annotations" / "person_keypoints_val2017.json"
    people_of_coco = [a for a in json.loads(path.read_text())["annotations"] if a["num_keypoints"] > 0]
    moved = []
    for number, annotation in enumerate(people_of_coco):
        points = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3) * [*factors, 1]
        points[:, 2] = 1
        moved.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "keypoints": points.ravel().tolist(),
                "score": round(1 - number / 1000, 3),
            }
        )
    assert evaluated(path, moved) == pytest.approx(expected, abs=1e-12)


# --- edge cases, of which the three implementations agree

PERFECT, HALF, NOTHING = 1.0, 0.5, 0.0
THIRD = 0.504950495049505  # 51 of 101 recalls
LARGE = [PERFECT] * 3 + [-1, PERFECT]
EDGE_CASES = {
    "identical": (data_set(person(1)), [found()], LARGE + LARGE),
    "found twice": (data_set(person(1)), [found(), found(score=0.8)], LARGE + LARGE),
    "nobody visible, far": (
        data_set(person(1), person(2, 200, visible=0, bbox=[90.0, 90, 20, 20])),
        [found(400), found(score=0.8)],
        [HALF, HALF, HALF, -1, PERFECT, *LARGE],
    ),
    "nobody visible, near": (
        data_set(person(1), person(2, 200, visible=0, bbox=[290.0, 90, 80, 80])),
        [found(200), found(score=0.8)],
        LARGE + LARGE,
    ),
    "crowd": (
        data_set(person(1), person(2, 200, iscrowd=1)),
        [found(200), found(200, 0.85), found(score=0.8)],
        LARGE + LARGE,
    ),
    "no area, moved": (data_set(person(1, area=0.0)), [found(1)], [0, 0, 0, -1, -1] * 2),
    "no area, exact": (data_set(person(1, area=0.0)), [found()], [1, 1, 1, -1, -1] * 2),
    "small": (data_set(person(1, area=500.0)), [found()], [1, 1, 1, -1, -1] * 2),
    "on the border of medium and large": (data_set(person(1, area=9216.0)), [found()], [1] * 10),
    "tied, wrong one first": (
        data_set(person(1)),
        [found(400), found()],
        [HALF, HALF, HALF, -1, PERFECT, *LARGE],
    ),
    "tied, right one first": (data_set(person(1)), [found(), found(400)], LARGE + LARGE),
    "21st": (
        data_set(person(1)),
        [*(found(400) for _ in range(20)), found(score=0.5)],
        [0, 0, 0, -1, 0] * 2,
    ),
    "one of two images": (
        data_set(person(1), person(2, image=2), images=2),
        [found()],
        [THIRD, THIRD, THIRD, -1, THIRD, HALF, HALF, HALF, -1, HALF],
    ),
    "two at one place": (
        data_set(person(1), person(2)),
        [found()],
        [THIRD, THIRD, THIRD, -1, THIRD, HALF, HALF, HALF, -1, HALF],
    ),
    "ignore is overwritten": (data_set(person(1, ignore=1)), [found()], LARGE + LARGE),
    "num_keypoints 0 though visible": (
        data_set(person(1), person(2, 200, num_keypoints=0)),
        [found(200), found(score=0.8)],
        LARGE + LARGE,
    ),
    "num_keypoints though none visible, far": (
        data_set(person(1, visible=0, num_keypoints=5)),
        [found(400)],
        [0, 0, 0, -1, 0] * 2,
    ),
    "num_keypoints though none visible, near": (
        data_set(person(1, visible=0, num_keypoints=5)),
        [found()],
        LARGE + LARGE,
    ),
    "wrong one of large box": (
        data_set(person(1, area=5000.0)),
        [found(400, 0.95, bbox=[0, 0, 200.0, 200]), found(bbox=[0, 0, 200.0, 200])],
        [HALF, HALF, HALF, PERFECT, -1, 1, 1, 1, 1, -1],
    ),
    "wrong one of medium extent": (
        data_set(person(1, area=5000.0)),
        [found(400, 0.95), found()],
        [HALF, HALF, HALF, HALF, -1, 1, 1, 1, 1, -1],
    ),
    "ids 1 and 2": (
        data_set(person(1), person(2, image=2), images=2),
        [found(), found(image=2)],
        LARGE + LARGE,
    ),
}


@pytest.mark.filterwarnings("ignore::pydlx.data.AnnotationWarning")
@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases(case):
    truth, detections, expected = EDGE_CASES[case]
    assert evaluated(truth, detections) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore::pydlx.data.AnnotationWarning")
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_of_peers(case, name, tmp_path):
    truth, detections, expected = EDGE_CASES[case]
    assert peer_numbers(name, tmp_path, truth, detections) == pytest.approx(expected, abs=1e-12)


def test_id_0_is_an_id(tmp_path):
    truth = data_set(person(0), person(1, image=2), images=2)
    detections = [found(), found(image=2)]
    with pytest.warns(UserWarning, match="the id 0"):
        assert evaluated(truth, detections) == [1, 1, 1, -1, 1] * 2
    lost = [0.2524752475247525] * 3 + [-1, THIRD, HALF, HALF, HALF, -1, HALF]
    assert evaluated(truth, detections, compatibility="pycocotools") == pytest.approx(lost, abs=1e-12)
    assert peer_numbers("pycocotools", tmp_path, truth, detections) == pytest.approx(lost, abs=1e-12)
    # hotcoco departs from pycocotools here as well.
    assert peer_numbers("hotcoco", tmp_path, truth, detections) == [1, 1, 1, -1, 1] * 2


# --- random crowds


@pytest.mark.filterwarnings("ignore::pydlx.data.AnnotationWarning")
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", range(8))
def test_crowds_as_peers_see_them(seed, name, tmp_path):
    truth, detections = crowd(seed)
    expected = peer_numbers(name, tmp_path, truth, detections)
    assert 0.05 < expected[0] < 0.95
    assert evaluated(truth, detections) == pytest.approx(expected, abs=1e-12)


# --- the metric


def test_tensors_give_what_files_give():
    predictions, targets = tensors()
    assert numbers(filled((predictions, targets)).compute()) == pytest.approx(expected_of(), abs=1e-12)
    in_parts = filled((predictions[:5], targets[:5]), (predictions[5:], targets[5:]))
    assert numbers(in_parts.compute()) == pytest.approx(expected_of(), abs=1e-12)


def test_boxes_by_corners():
    predictions, targets = tensors(1)
    for image in targets:
        corner, size = image["boxes"].split(2, 1)
        image["boxes"] = torch.cat([corner, corner + size], 1)
    metric = KeypointAP()
    metric.update(predictions, targets)
    expected = filled(tensors(1)).compute()
    assert numbers(metric.compute()) == pytest.approx(numbers(expected), abs=1e-9)


def test_image_ids_order_the_images_and_drop_those_met_again():
    predictions, targets = tensors()
    metric = KeypointAP(box_format="xywh")
    order = [7, 3, 11, 0, 1, 2, 10, 9, 8, 6, 5, 4]
    metric.update([predictions[i] for i in order], [targets[i] for i in order], image_ids=order)
    metric.update(predictions[:3], targets[:3], image_ids=range(3))
    assert numbers(metric.compute()) == pytest.approx(expected_of(), abs=1e-12)


def test_reset_copy_and_pickle():
    metric = filled(tensors())
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert numbers(other.compute()) == pytest.approx(expected_of(), abs=1e-12)
    metric.reset()
    metric.update(*tensors(1))
    assert numbers(metric.compute()) == pytest.approx(numbers(filled(tensors(1)).compute()), abs=1e-12)


def test_forward_gives_the_batch_and_keeps_the_sum():
    predictions, targets = tensors()
    metric = KeypointAP(box_format="xywh")
    first = metric(predictions[:5], targets[:5])
    assert numbers(first) == pytest.approx(numbers(filled((predictions[:5], targets[:5])).compute()), abs=1e-12)
    metric(predictions[5:], targets[5:])
    assert numbers(metric.compute()) == pytest.approx(expected_of(), abs=1e-12)


def test_in_a_collection_of_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics")
    metrics = torchmetrics.MetricCollection({"pose": KeypointAP(box_format="xywh")})
    metrics.update(*tensors())
    assert float(metrics.compute()["AP"]) == pytest.approx(expected_of()[0], abs=1e-12)


def test_categories_count_alike():
    predictions, targets = tensors()
    one, two = expected_of(), numbers(filled(tensors(1)).compute())
    for images, label in ((predictions, 3), (targets, 3)):
        for image in images:
            image["labels"] = torch.full((len(image["keypoints"]),), label)
    others = tensors(1)
    for images in others:
        for image in images:
            image["labels"] = torch.full((len(image["keypoints"]),), 8)
    both = filled((predictions, targets), others).compute()
    assert float(both["AP"]) == pytest.approx((one[0] + two[0]) / 2, abs=1e-12)


def test_without_area_the_box_counts():
    box = [90.0, 90, 80, 80]
    moved = found(6)
    area = 0.53 * 80 * 80
    expected = evaluated(data_set(person(1, area=area)), [moved])
    assert 0 < expected[0] < 1
    assert evaluated(data_set(person(1)), [moved], use_area=False) == expected
    without = person(1)
    del without["area"]
    assert evaluated(data_set(without), [moved]) == expected
    pose_tensor = torch.tensor(pose()).view(1, 17, 3)
    metric = KeypointAP(box_format="xywh", use_area=False)
    metric.update(
        [{"keypoints": torch.tensor(pose(6)).view(1, 17, 3), "scores": torch.tensor([0.9])}],
        [{"keypoints": pose_tensor, "boxes": torch.tensor([box]), "area": torch.tensor([1.0])}],
    )
    assert numbers(metric.compute()) == pytest.approx(expected, abs=1e-6)


def test_one_truth_without_area_leaves_the_others_theirs():
    """A far pose of known area, and one of the same shape that is measured by its box; each against the one alone."""

    def people_with(*areas):
        annotations = [person(n, image=n, area=area) for n, area in enumerate(areas, 1)]
        return data_set(*annotations, images=2), [found(6), found(6, image=2)]

    box_area = 0.53 * 80 * 80
    expected = evaluated(*people_with(10000.0, box_area))
    assert expected not in (evaluated(*people_with(box_area, box_area)), evaluated(*people_with(10000.0, 10000.0)))
    assert evaluated(*people_with(10000.0, None)) == expected
    points = torch.tensor(pose()).view(1, 17, 3)
    moved = {"keypoints": torch.tensor(pose(6)).view(1, 17, 3), "scores": torch.tensor([0.9])}
    true = {"keypoints": points, "boxes": torch.tensor([[90.0, 90, 80, 80]])}
    metric = KeypointAP(box_format="xywh")
    metric.update([moved, moved], [true | {"area": torch.tensor([10000.0])}, true])
    assert numbers(metric.compute()) == pytest.approx(expected, abs=1e-12)


def test_without_area_and_box_the_visible_keypoints_count():
    """They span 40 by 36; where none is visible, nothing is near."""
    alone, hidden = person(1), person(2, 200, visible=0)
    for annotation in (alone, hidden):
        del annotation["area"], annotation["bbox"]
    expected = evaluated(data_set(person(1, area=0.53 * 40 * 36)), [found(3)])
    assert 0 < expected[0] < 1
    assert evaluated(data_set(alone), [found(3)]) == expected
    assert evaluated(data_set(alone, hidden), [found(200, 0.95), found(3)])[5] == expected[5]
    assert evaluated(data_set(alone, hidden), [found(200, 0.95), found(3)])[0] < expected[0]


def test_num_keypoints_absent_is_counted():
    hidden, seen = person(1, 200, visible=0), person(2)
    for annotation in (hidden, seen):
        del annotation["num_keypoints"]
    assert evaluated(data_set(hidden, seen), [found(score=0.8)]) == pytest.approx([1, 1, 1, -1, 1] * 2)


def test_thresholds_areas_and_limits_of_ones_own():
    truth, detections = crowd(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = evaluate_keypoints(
            truth,
            detections,
            oks_thresholds=[0.75],
            area_ranges={"all": (0, 1e10), "tiny": (0, 900)},
            max_detections=100,
        )
        default = evaluate_keypoints(truth, detections)
    assert list(results) == ["AP", "AP50", "AP75", "AP_tiny", "AR", "AR50", "AR75", "AR_tiny"]
    assert results["AP"] == results["AP75"]
    assert results["AP50"] == -1
    assert results["AR75"] >= default["AR75"]


@pytest.mark.parametrize(
    "options",
    [
        {"oks_thresholds": [0.6, 0.9]},
        {"recall_thresholds": [0.0, 0.3]},
        {"area_ranges": {"all": (0, 1e10), "medium": (0, 2000), "large": (2000, 1e10)}},
        {"max_detections": 2},
        {"use_area": False},
        {"compatibility": "pycocotools"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_tensors_are_those_of_files(options):
    truth, detections = crowd(2)
    first = next(a for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"])
    first["id"] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, plain = evaluate_keypoints(truth, detections, **options), evaluate_keypoints(truth, detections)
        metric = filled(batch(truth, detections), **options)
        found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(expected, abs=1e-12)
    assert expected != pytest.approx(plain, abs=1e-6)


def test_boxes_of_predictions_give_their_area():
    """A wrong pose in a large box is no matter for medium people; by its own extent it is medium."""
    far, right = (torch.tensor(pose(dx)).view(1, 17, 3) for dx in (400, 0))
    found = {"keypoints": torch.cat([far, right]), "scores": torch.tensor([0.95, 0.9])}
    for boxes, expected in (({}, 0.5), ({"boxes": torch.tensor([[0.0, 0, 200, 200]] * 2)}, 1)):
        metric = KeypointAP()
        metric.update([found | boxes], [{"keypoints": right, "area": torch.tensor([5000.0])}])
        assert float(metric.compute()["APM"]) == pytest.approx(expected)


def test_recalls_of_ones_own():
    """One of two people is found: right up to a recall of a half."""
    truth = data_set(person(1), person(2, 200))
    assert evaluate_keypoints(truth, [found()], recall_thresholds=[0, 0.5, 0.6])["AP"] == pytest.approx(2 / 3)


def test_sigmas_set_the_number_of_keypoints():
    points = torch.rand(2, 3, 3, dtype=torch.float64) * 50 + 1
    metric = KeypointAP(sigmas=[0.1, 0.2, 0.05])
    metric.update(
        [{"keypoints": points + torch.tensor([4.0, 0, 0]), "scores": torch.tensor([0.5, 0.4])}],
        [{"keypoints": points, "area": torch.tensor([2000.0, 2000.0])}],
    )
    oks = np.mean(np.exp(-(4.0**2) / (2 * 2000 * (2 * np.array([0.1, 0.2, 0.05])) ** 2)))
    right = sum(t <= oks for t in np.linspace(0.5, 0.95, 10)) / 10
    assert 0 < right < 1
    assert float(metric.compute()["AR"]) == pytest.approx(right)


def test_each_keypoint_alone():
    """Moved by so much that OKS of the nose falls below every threshold, of a hip none."""
    truth, detections = data_set(person(1)), [found(30)]
    each = evaluate_keypoints(truth, detections, per_keypoint=True).per_keypoint
    oks = np.exp(-(30.0**2) / (2 * 10000 * (2 * np.array(COCO_SIGMAS)) ** 2))
    expected = [sum(t <= value for t in np.linspace(0.5, 0.95, 10)) / 10 for value in oks]
    assert each == pytest.approx(expected, abs=1e-12)
    assert evaluate_keypoints(truth, detections).per_keypoint == []  # not unless it is asked for
    metric = KeypointAP()
    shape = (1, 17, 3)
    metric.update(
        [{"keypoints": torch.tensor(pose(30)).view(shape), "scores": torch.tensor([0.9])}],
        [{"keypoints": torch.tensor(pose()).view(shape), "area": torch.tensor([10000.0])}],
    )
    assert metric.per_keypoint().tolist() == pytest.approx(expected, abs=1e-12)


def test_a_keypoint_that_is_never_seen():
    hidden = person(1)
    hidden["keypoints"][2] = 0.0
    hidden["num_keypoints"] = 16
    each = evaluate_keypoints(data_set(hidden), [found()], per_keypoint=True).per_keypoint
    assert each == pytest.approx([-1.0, *[1.0] * 16])


def test_nothing_found_and_nobody_there():
    assert evaluated(data_set(person(1)), []) == [0, 0, 0, -1, 0] * 2
    assert evaluated(data_set(), [found()]) == [-1] * 10
    metric = KeypointAP()
    nobody = {"keypoints": torch.zeros(0, 17, 3), "area": torch.zeros(0)}
    metric.update([{"keypoints": torch.zeros(0, 17, 2), "scores": torch.zeros(0)}], [nobody])
    assert numbers(metric.compute()) == [-1] * 10
