"""COCO-WholeBody and CrowdPose."""

import numpy as np
import pytest
from metrics.coco_samples import data_set, found, person

from pydlx.metrics import COCO_SIGMAS, CROWDPOSE_SIGMAS, WHOLEBODY_SIGMAS, evaluate_keypoints

# Of the tables in cocoapi, CrowdPose and COCO-WholeBody, in thousandths: how many, their sum, and the sum of each times
# its place, which notices where two are exchanged.
PUBLISHED_SIGMAS = {
    "coco": (COCO_SIGMAS, (17, 1138, 12154)),
    "crowdpose": (CROWDPOSE_SIGMAS, (14, 1150, 8861)),
    "keypoints": (WHOLEBODY_SIGMAS["keypoints"], (17, 1138, 12154)),
    "foot_kpts": (WHOLEBODY_SIGMAS["foot_kpts"], (6, 480, 1800)),
    "face_kpts": (WHOLEBODY_SIGMAS["face_kpts"], (68, 1137, 27345)),
    "lefthand_kpts": (WHOLEBODY_SIGMAS["lefthand_kpts"], (21, 553, 5690)),
    "righthand_kpts": (WHOLEBODY_SIGMAS["righthand_kpts"], (21, 553, 5690)),
}


@pytest.mark.parametrize("name", PUBLISHED_SIGMAS)
def test_sigmas_are_the_published_ones(name):
    sigmas, expected = PUBLISHED_SIGMAS[name]
    thousandths = [round(1000 * sigma) for sigma in sigmas]
    assert [value / 1000 for value in thousandths] == pytest.approx(sigmas, abs=1e-12)
    found = len(sigmas), sum(thousandths), sum(place * value for place, value in enumerate(thousandths, 1))
    assert found == expected


def test_sigmas_of_coco_are_those_of_pycocotools():
    peer = pytest.importorskip("pycocotools.cocoeval")
    assert peer.Params(iouType="keypoints").kpt_oks_sigmas.tolist() == pytest.approx(COCO_SIGMAS, abs=1e-12)


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


def people_of_many_parts(*, boxes):
    """Twelve images of four people and seven detections each, some of whose parts are hidden or not found."""
    rng = np.random.default_rng(5)
    truth, detections = data_set(images=12), []

    def parts_around(corner, size, spread):
        """Every part of a person, without some of them."""
        parts = {}
        for name, sigmas in WHOLEBODY_SIGMAS.items():
            grid = np.stack([np.arange(len(sigmas)) % 5 / 5, np.arange(len(sigmas)) // 5 / 28], 1)
            points = corner + grid * size + rng.normal(0, 1, (len(sigmas), 2)) * np.array(sigmas)[:, None] * spread
            seen = rng.integers(0, 3, len(sigmas)) * (rng.random() < 0.75)
            parts[name] = np.column_stack([points.round(1), seen]).ravel().tolist()
        return parts

    for image in range(1, 13):
        for number in range(4):
            corner, size = rng.integers(0, 400, 2), rng.integers(20, 160)
            truth["annotations"].append(
                person(
                    4 * image + number,
                    image=image,
                    area=float(size**2),
                    bbox=[*map(float, corner), float(size), float(size)],
                    iscrowd=int(rng.random() < 0.1),
                )
                | parts_around(corner, size, 0)
            )
            for _ in range(rng.integers(1, 3)):
                spread = size * rng.choice([0.5, 1, 2, 4])
                detection = found(score=round(rng.random(), 2), image=image) | parts_around(corner, size, spread)
                if boxes:
                    detection["bbox"] = [*map(float, corner), *rng.integers(20, 160, 2).astype(float).tolist()]
                detection["foot_score"] = round(rng.random(), 2)
                detections.append(detection)
    return truth, detections


# From xtcocotools 1.14.3 with NumPy 1.26; AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL.
PARTS = {
    (True, "body"): (
        *(0.1409686539473, 0.3330565314596, 0.1530153015302, 0.1632582598919, 0.1758688835917),
        *(0.3757575757576, 0.6060606060606, 0.4242424242424, 0.4473684210526, 0.2583333333333),
    ),
    (True, "foot"): (
        *(0.08296001801371, 0.2385343508324, 0.04737242955065, 0.1067233735052, 0.06646864686469),
        *(0.2625, 0.5, 0.21875, 0.3333333333333, 0.1230769230769),
    ),
    (True, "face"): (
        *(0.2027924344897, 0.4713313554033, 0.2152271448343, 0.2034872181125, 0.2178883822448),
        *(0.3666666666667, 0.6666666666667, 0.3939393939394, 0.3944444444444, 0.3083333333333),
    ),
    (True, "lefthand"): (
        *(0.1281673280842, 0.2556007756051, 0.1413317802368, 0.1275555207002, 0.223901140114),
        *(0.3290322580645, 0.5161290322581, 0.3548387096774, 0.325, 0.34),
    ),
    (True, "righthand"): (
        *(0.2403266268566, 0.3696333369601, 0.2875116135763, 0.2838107660152, 0.2746204620462),
        *(0.4148148148148, 0.5555555555556, 0.4444444444444, 0.4625, 0.3625),
    ),
    (True, "wholebody"): (
        *(0.1540804440863, 0.3542043623222, 0.190039347815, 0.1532927502178, 0.2274509030573),
        *(0.4142857142857, 0.6904761904762, 0.5, 0.4541666666667, 0.36),
    ),
    (False, "body"): (
        *(0.1872474096566, 0.4135344427743, 0.1661480433758, 0.1677609550284, 0.291888804265),
        *(0.3486486486486, 0.5675675675676, 0.3513513513514, 0.3428571428571, 0.375),
    ),
    (False, "foot"): (
        *(0.1835009577315, 0.3317222388344, 0.1892760704642, 0.1146864686469, 0.3582370582644),
        *(0.3911764705882, 0.5882352941176, 0.4411764705882, 0.2, 0.5578947368421),
    ),
    (False, "face"): (
        *(0.2299126186005, 0.4004561264248, 0.2911623038297, 0.2719737098144, 0.3444336356713),
        *(0.38125, 0.625, 0.46875, 0.4285714285714, 0.3928571428571),
    ),
    (False, "lefthand"): (
        *(0.2565029903067, 0.4453261502621, 0.264624628619, 0.3368682773255, 0.4192776393024),
        *(0.4375, 0.65625, 0.46875, 0.5181818181818, 0.48125),
    ),
    (False, "righthand"): (
        *(0.2437518409125, 0.4969853574616, 0.211238961734, 0.3122679620903, 0.304227494178),
        *(0.4228571428571, 0.6857142857143, 0.4, 0.525, 0.4052631578947),
    ),
    (False, "wholebody"): (
        *(0.244397098908, 0.523188765979, 0.3130887886632, 0.2911071467577, 0.3897926146883),
        *(0.5022222222222, 0.8444444444444, 0.6, 0.5375, 0.5739130434783),
    ),
}  # fmt: skip


@pytest.mark.parametrize("boxes", [True, False], ids=["boxes", "no boxes"])
def test_wholebody_as_xtcocotools_has_it(boxes):
    """Parts that were not found are no false positives; without boxes the body gives the area of every part."""
    results = evaluate_keypoints(*people_of_many_parts(boxes=boxes), layout="wholebody")
    for (with_boxes, part), expected in PARTS.items():
        if with_boxes == boxes:
            numbers = [value for name, value in results.items() if name.startswith(f"{part}_")]
            assert numbers == pytest.approx(expected, abs=1e-12), part
