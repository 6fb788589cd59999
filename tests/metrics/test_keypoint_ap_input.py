"""What KeypointAP takes as ids, labels and further keys, what it warns of, and what it refuses."""

import numpy as np
import pytest
import torch
from metrics.coco_samples import data_set, found, person
from metrics.keypoint_samples import expected_of, filled, numbers, one_pose, tensors
from torch import Tensor

from pydlx.data import AnnotationWarning
from pydlx.metrics import KeypointAP, evaluate_keypoints
from pydlx.metrics.image_batch import ImageBatch

# --- ids, labels and keys


def test_image_ids_of_any_kind():
    """Order and repetitions are what matters; a name is met again as much as a number."""
    predictions, targets = tensors()
    order = [7, 3, 11, 0, 1, 2, 10, 9, 8, 6, 5, 4, 3]
    for of_image in (
        lambda i: 2**70 + i,
        lambda i: f"image {i:02}, \N{DEGREE SIGN}\n",
        lambda i: 3.0 * i,
        lambda i: torch.tensor([i - 5]),
        lambda i: np.uint64(2**63 + i),
        lambda i: i if i < 6 else f"{i:02}",
    ):
        metric = KeypointAP(box_format="xywh")
        for part in (order[:4], order[4:]):
            ids = [of_image(i) for i in part]
            metric.update([predictions[i] for i in part], [targets[i] for i in part], image_ids=ids)
        assert numbers(metric.compute()) == pytest.approx(expected_of(), abs=1e-12)
    as_tensor = KeypointAP(box_format="xywh")
    ids = torch.tensor(order, dtype=torch.float64)
    as_tensor.update([predictions[i] for i in order], [targets[i] for i in order], image_ids=ids)
    assert numbers(as_tensor.compute()) == pytest.approx(expected_of(), abs=1e-12)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([12.0, 12.04], r"image_ids must be whole numbers or strings, got 12\.04"),
        (torch.tensor([12.0, torch.nan]), "image_ids must be whole numbers or strings, got nan"),
        ([None, 3], "image_ids must be whole numbers or strings, got None"),
        ("ab", "image_ids must be one for each image, got the string 'ab'"),
    ],
)
def test_bad_image_ids(ids, message):
    predictions, targets = tensors()
    with pytest.raises(ValueError, match=f"^KeypointAP: {message}"):
        KeypointAP().update(predictions[:2], targets[:2], image_ids=ids)


def test_image_ids_in_some_updates_alone():
    metric = filled(tensors())
    metric.update(*tensors(), image_ids=range(12))
    with pytest.raises(ValueError, match="image_ids must be given in every update or in none"):
        metric.compute()


@pytest.mark.parametrize("side", ["preds", "target"])
def test_labels_on_one_side_alone(side):
    """As torchvision's keypoint R-CNN emits them. One label is no matter, several cannot be compared with none."""
    found, true = one_pose()
    (found if side == "preds" else true)["labels"] = torch.tensor([1])
    metric = KeypointAP()
    metric.update([found], [true])
    assert float(metric.compute()["AP"]) == pytest.approx(1)
    (found if side == "preds" else true)["labels"] = torch.tensor([2])
    metric.update([found], [true])
    message = r'^KeypointAP: "labels" must be in all of preds and target .* got 2 labels'
    with pytest.raises(ValueError, match=message):
        metric.compute()
    with pytest.raises(ValueError, match=r'"labels"\] must be numbers below 2\*\*53'):
        metric.update([found | {"labels": torch.tensor([torch.nan])}], [true])


def test_labels_where_an_image_is_empty():
    """An image without people needs no labels beside images that have several."""
    nobody = {"keypoints": torch.zeros(0, 17, 3), "area": torch.zeros(0)}
    metric = KeypointAP()
    for label in (1, 2):
        found, true = one_pose(labels=torch.tensor([label]))
        metric.update([found], [true | {"labels": torch.tensor([label])}])
    metric.update([nobody | {"scores": torch.zeros(0)}], [nobody])
    assert float(metric.compute()["AP"]) == pytest.approx(1)


def test_other_keys_are_not_looked_at():
    found, true = one_pose()
    other = {"file_name": "000001.jpg", "image_id": 7, "size": (480, 640)}
    metric = KeypointAP()
    metric.update([other | found], [other | true])
    assert float(metric.compute()["AP"]) == pytest.approx(1)


def test_columns_are_on_the_device_of_the_points():
    points = torch.zeros(3, 17, 3, device="meta", dtype=torch.float64)
    batch = ImageBatch("KeypointAP", "target", [{"keypoints": points, "labels": torch.tensor([1, 2, 3])}])
    batch.rows("keypoints", 17, 3)
    for key in ("labels", "iscrowd"):
        column = batch.column(key, 0)
        assert (column.device.type, column.shape) == ("meta", (3,))


def test_a_label_stays_what_it_is_beside_float_labels():
    """2**24 + 1 is no float32."""
    images = [{"labels": torch.tensor([2**24 + 1])}, {"labels": torch.tensor([0.5])}]
    assert ImageBatch("BoxAP", "target", images).rows("labels").tolist() == [2**24 + 1, 0.5]


def test_values_on_a_gpu_are_looked_at_in_compute(monkeypatch):
    """No update waits for the GPU, whose tensors are stood in for by others here."""
    found, true = one_pose(labels=torch.tensor([1]))
    metric = KeypointAP()
    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "is_cuda", True)
        metric.update([found], [true])
        metric.update([found | {"scores": torch.tensor([torch.nan])}], [true])
    with pytest.raises(ValueError, match=r'^KeypointAP: preds\["scores"\] must be numbers, got NaN$'):
        metric.compute()
    metric.reset()
    metric.update([found], [true])
    assert float(metric.compute()["AP"]) == pytest.approx(1)


def test_a_batch_that_raises_leaves_nothing_behind():
    found, true = one_pose()
    metric = KeypointAP()
    metric.update([found], [true])
    with pytest.raises(ValueError, match=r'preds\[1\]\["scores"\] must be numbers'):
        metric.update([found, found | {"scores": torch.tensor([torch.nan])}], [true, true])
    assert float(metric.compute()["AP"]) == pytest.approx(1)
    assert [len(state) for state in (metric.images, metric.found_scores, metric.true_area)] == [1, 1, 1]


@pytest.mark.cuda
def test_tensors_on_the_device():
    on_device = [
        [{"image_id": i, **{key: value.cuda() for key, value in image.items()}} for i, image in enumerate(images)]
        for images in tensors()
    ]
    metric = KeypointAP(box_format="xywh").cuda()
    metric.update(*on_device, image_ids=[f"{i:02}" for i in range(12)])
    assert numbers(metric.compute()) == pytest.approx(expected_of(), abs=1e-12)


def test_a_detection_of_an_unknown_label_is_no_matter():
    predictions, targets = tensors()
    for image in (*predictions, *targets):
        image["labels"] = torch.zeros(len(image["keypoints"]))
    predictions[0] = {key: torch.cat([value, value]) for key, value in predictions[0].items()}
    predictions[0]["labels"][len(predictions[0]["labels"]) // 2 :] = 5
    assert numbers(filled((predictions, targets)).compute()) == pytest.approx(expected_of(), abs=1e-12)


# --- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preds": [{"keypoints": torch.zeros(2, 16, 2), "scores": torch.zeros(2)}]},
            r"\(n, 17, 2\), got \(2, 16, 2\)",
        ),
        ({"preds": [{"keypoints": torch.zeros(2, 17, 2), "scores": torch.zeros(3)}]}, "3 rows, got 2"),
        ({"preds": [{"keypoints": torch.zeros(2, 17, 2)}]}, 'must have "scores"'),
        (
            {"preds": [{"keypoints": torch.zeros(1, 17, 2), "scores": torch.tensor([torch.nan])}]},
            r'preds\[0\]\["scores"\] must be numbers, got NaN',
        ),
        (
            {"preds": [{"keypoints": torch.full((1, 17, 2), torch.nan), "scores": torch.ones(1)}]},
            "must be finite",
        ),
        (
            {"preds": [{"keypoints": torch.zeros(2, 34), "scores": torch.zeros(2)}]},
            r'preds\[0\]\["keypoints"\] must have the shape \(n, 17, 3\), got \(2, 34\)',
        ),
        (
            {"target": [{"keypoints": torch.zeros(1, 17, 2), "area": torch.ones(1)}]},
            r'target\[0\]\["keypoints"\] must have the shape \(n, 17, 3\), got \(1, 17, 2\)',
        ),
        *(
            (
                {"target": [{"keypoints": torch.ones(2, 17, 3), "boxes": torch.ones(rows, 4)}]},
                rf'target\[0\]\["boxes"\] must have 2 rows, got {rows}',
            )
            for rows in (1, 3)
        ),
        ({"target": [{"keypoints": torch.zeros(1, 17, 3)}]}, '"area" or "boxes"'),
        ({"target": []}, "must be of the same images, got 1 and 0"),
        ({"image_ids": [1, 2]}, "must name 1 images, got 2"),
    ],
)
def test_bad_tensors(change, message):
    good = {
        "preds": [{"keypoints": torch.zeros(1, 17, 2), "scores": torch.ones(1)}],
        "target": [{"keypoints": torch.ones(1, 17, 3), "area": torch.ones(1)}],
    }
    with pytest.raises(ValueError, match=message):
        KeypointAP().update(**(good | change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigmas": [0.1, -0.1]}, "sigmas must be positive"),
        ({"max_detections": 0}, "max_detections must be positive"),
        ({"oks_thresholds": [0.5, 1.5]}, "oks_thresholds must be numbers from 0 to 1"),
        ({"area_ranges": {"small": (0, 5)}}, '"all"'),
        ({"area_ranges": {"all": (5, 0)}}, "least, largest"),
        ({"compatibility": "matlab"}, "compatibility"),
        ({"box_format": "yxyx"}, "box_format"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        KeypointAP(**options)


def test_compute_without_update():
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert set(map(float, KeypointAP().compute().values())) == {-1}


# --- warnings


def test_suspicious_annotations_are_mentioned():
    with pytest.warns(AnnotationWarning, match=r"2 annotations with keypoints have an area of 0 or less.*ids 1, 2"):
        evaluate_keypoints(data_set(person(1, area=0.0), person(2, area=-1.0)), [found()])
    with pytest.warns(AnnotationWarning, match="another num_keypoints"):
        evaluate_keypoints(data_set(person(1, num_keypoints=3)), [found()])
    with pytest.warns(AnnotationWarning, match="an id that another one has"):
        evaluate_keypoints(data_set(person(4), person(4)), [found()])


UNCOUNTED = {"area": torch.tensor([0.0]), "num_keypoints": torch.tensor([0])}


def test_areas_that_are_no_areas_are_mentioned():
    fractions = [person(n, area=0.25, num_keypoints=None) for n in (3, 4, 5, 6)]
    tiny = r"^4 annotations with keypoints have an area below 1 square pixel, .* \(ids 3, 4, 5, \.\.\.\)$"
    with pytest.warns(AnnotationWarning, match=tiny) as warned:
        evaluate_keypoints(data_set(*fractions, person(7, area=1.0)), [found()])
    assert len(warned) == 1
    absent = r"^1 annotations with keypoints have no area, so 0\.53 times that of the box counts \(ids 8\)$"
    with pytest.warns(AnnotationWarning, match=absent):
        evaluate_keypoints(data_set(person(1), person(8, area=None)), [found()])
    with pytest.warns(AnnotationWarning, match=r"^1 annotations with keypoints have an area of 0 or less"):
        evaluate_keypoints(data_set(person(1, area=0.0, num_keypoints=None)), [found()])
    bad, true = one_pose()
    metric = KeypointAP()
    metric.update([bad, bad, bad], [true, true | {"area": torch.tensor([0.5])}, true | UNCOUNTED])
    with pytest.warns(AnnotationWarning, match=r"^1 truths have an area below 1 square pixel.*\(of images number 1\)$"):
        metric.compute()


@pytest.mark.filterwarnings("error::pydlx.data.AnnotationWarning")
def test_areas_that_do_not_count_are_no_matter():
    truth = data_set(person(1), person(2, visible=0, area=0.0))
    evaluate_keypoints(truth, [found()])
    evaluate_keypoints(data_set(person(1, area=0.0)), [found()], use_area=False)
    pose_found, true = one_pose()
    metric = KeypointAP()
    metric.update([pose_found], [true])
    metric.update([pose_found], [true | UNCOUNTED])
    metric.compute()
