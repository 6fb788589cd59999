"""COCO-WholeBody and CrowdPose."""

import pytest
from metrics.coco_samples import data_set, found, person

from pydlx.metrics import CROWDPOSE_SIGMAS, WHOLEBODY_SIGMAS, evaluate_keypoints


def test_crowdpose_by_crowding():
    """Two images of each kind; only the person of the easy ones is found."""
    points = [float(v) for i in range(14) for v in (100 + 10 * i, 100 + 7 * i, 2)]
    crowding = [0.0, 0.19, 0.2, 0.79, 0.8, 1.0]
    truth = {
        "images": [{"id": i, "crowdIndex": value} for i, value in enumerate(crowding, 1)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [90, 90, 200, 200],
                "num_keypoints": 14,
                "keypoints": points,
            }
            for i in range(1, 7)
        ],
    }
    detections = [{"image_id": i, "category_id": 1, "score": 0.9, "keypoints": points} for i in (1, 2, 3)]
    results = evaluate_keypoints(truth, detections, layout="crowdpose")
    assert list(results) == ["AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP_easy", "AP_medium", "AP_hard"]
    assert results["AR"] == 0.5
    assert results["AP_easy"] == pytest.approx(1)
    assert results["AP_medium"] == pytest.approx(51 / 101)
    assert results["AP_hard"] == 0
    assert len(CROWDPOSE_SIGMAS) == 14


def test_wholebody_by_part():
    """All parts right but one hand; the scores of the foot are its own."""
    counts = {name: len(values) for name, values in WHOLEBODY_SIGMAS.items()}
    assert sum(counts.values()) == 133

    def parts(dx, dy):
        return {
            name: [v for i in range(k) for v in (100 + 3 * i + dx, 200 + 2 * i + dy, 2)] for name, k in counts.items()
        }

    truth = data_set(person(1), person(2, image=2), images=2)
    for annotation, dx in zip(truth["annotations"], (0, 50), strict=True):
        annotation |= parts(dx, 0)
    right = [found(image=1) | parts(0, 0), found(image=2, score=0.8) | parts(50, 0)]
    for detection in right:
        detection["lefthand_kpts"] = [v + 400 for v in detection["lefthand_kpts"]]
        detection["foot_score"] = 1 - detection["score"]
    wrong = found(score=0.5) | parts(300, 300) | {"foot_score": 0.01}
    results = evaluate_keypoints(truth, [*right, wrong], layout="wholebody")
    assert {name.split("_")[0] for name in results} == {"body", "foot", "face", "lefthand", "righthand", "wholebody"}
    assert results["body_AP"] == results["foot_AP"] == results["righthand_AP"] == pytest.approx(1)
    assert results["lefthand_AP"] == 0
    assert 0 < results["wholebody_AP"] < 1
