"""COCO's files as arrays, and what is said of bad ones."""

import gzip
import json

import numpy as np
import pytest
from metrics.coco_samples import data_set, found, person

from pydlx.data.coco import read_coco_detections, read_coco_truth

POSE = {"keypoints": 17}
TRUTH = data_set(person(3, image=2, area=None), person(8), images=2)


def read(detections, **options):
    return read_coco_detections(detections, read_coco_truth(TRUTH, POSE), POSE, **options)


def four(change):
    """Four detections, the third of them changed."""
    detections = [found(score=score, bbox=[0, 0, 9, 9]) for score in (0.9, 0.8, 0.7, 0.6)]
    detections[2] |= change
    return [{key: value for key, value in d.items() if value is not ...} for d in detections]


def test_truth_as_arrays():
    truth = read_coco_truth(TRUTH, POSE)
    assert truth.image_ids.tolist() == [1, 2]
    assert truth.images.tolist() == [1, 0]
    assert truth.ids.tolist() == [3, 8]
    assert truth.category_names == ["person"]
    assert np.isnan(truth.area).tolist() == [True, False]
    assert truth.keypoints["keypoints"].shape == (2, 17, 3)
    assert truth.boxes[0].tolist() == [90, 90, 80, 80]
    assert truth.num_keypoints.tolist() == [17, 17]


@pytest.mark.parametrize("zipped", [False, True])
def test_files_are_read_as_what_was_loaded(tmp_path, zipped):
    detections = [found(dx, 1 / (dx + 1), bbox=[1, 2, 3, dx]) for dx in range(5)]
    path = tmp_path / "found.json"
    text = json.dumps(detections, indent=1).encode()
    path.write_bytes(gzip.compress(text) if zipped else text)
    from_file, from_memory = read(path), read(detections)
    assert from_file.scores["score"].tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert from_file.boxes[4].tolist() == [1, 2, 3, 4]
    for name in ("images", "categories", "boxes"):
        np.testing.assert_array_equal(getattr(from_file, name), getattr(from_memory, name))
    expected = np.array([d["keypoints"] for d in detections]).reshape(5, 17, 3)
    np.testing.assert_array_equal(from_file.keypoints["keypoints"], expected)


def test_numbers_of_numpy_and_torch():
    detection = found() | {"score": np.float32(0.5), "keypoints": np.array(found()["keypoints"])}
    assert read([detection]).scores["score"].tolist() == [0.5]


def test_many_records_are_read_in_parts():
    detections = [found(dx % 300, 0.5) for dx in range(4500)]
    values = read(detections).keypoints["keypoints"]
    assert values[:, 0, 0].tolist() == [100 + dx % 300 for dx in range(4500)]


BAD = {
    "unknown image": ({"image_id": 99}, r"\[2\] \(image_id 99\): image_id 99 is not among the images"),
    "unknown category": ({"category_id": 5}, r"\[2\] \(image_id 1\): category_id 5 is not among the categories"),
    "too few keypoints": ({"keypoints": [1.0] * 48}, r"\[2\].*must have 51 numbers .* got 48 numbers"),
    "keypoints in words": ({"keypoints": ["a"] * 51}, r"\[2\].*got 'a' among its numbers"),
    "keypoints in triples": ({"keypoints": [[1, 2, 3]] * 17}, r"\[2\].*got \[1, 2, 3\] among its numbers"),
    "NaN keypoint": ({"keypoints": [float("nan")] * 51}, r"\[2\].*got null or NaN among its numbers"),
    "no keypoints": ({"keypoints": None}, r"\[2\].*got None"),
    "absent keypoints": ({"keypoints": ...}, r"\[2\].*missing required field `keypoints`"),
    "NaN score": ({"score": float("nan")}, r"\[2\].score: expected `float`, got null or NaN"),
    "score in words": ({"score": "high"}, r"\[2\].score: expected `float`, got `str`"),
    "half a box": ({"bbox": [1, 2]}, r"\[2\].*bbox must have 4 numbers, got 2 numbers"),
    "no box though the first has": ({"bbox": ...}, r"\[2\].*bbox must be there, got none"),
    "whole number": ({"image_id": 1.5}, r"\[2\].image_id: expected `int`"),
}


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_detection_is_named_or_skipped(case, where, tmp_path):
    change, message = BAD[case]
    source, name = four(change), "detections"
    if where == "file":
        (tmp_path / "found.json").write_text(json.dumps(source))
        source, name = tmp_path / "found.json", str(tmp_path / "found.json")
    with pytest.raises(ValueError, match=f"^{name}: detection {message}"):
        read(source)
    skipped = []
    assert read(source, skipped=skipped).scores["score"].tolist() == [0.9, 0.8, 0.6]
    assert len(skipped) == 1
    assert "[2]" in skipped[0]


def test_two_wrong_counts_that_make_up_for_each_other():
    detections = four({"keypoints": [1.0] * 48})
    detections[3]["keypoints"] = [1.0] * 54
    with pytest.raises(ValueError, match=r"\[2\].*got 48 numbers"):
        read(detections)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 7}, r"annotation \[0\] \(id 3\): image_id 7 is not among the images"),
        ({"id": "x"}, r"annotations\[0\].id: expected `int`, got `str`"),
        ({"keypoints": [0, 0, 0]}, r"annotation \[0\] \(id 3\): keypoints must have 51 numbers .* got 3 numbers"),
        ({"area": "big"}, r"annotations\[0\].area: expected `float \| null`, got `str`"),
    ],
)
def test_a_bad_annotation_is_named_or_skipped(change, message):
    truth = data_set(person(3) | change, person(8))
    with pytest.raises(ValueError, match=f"^truth: {message}"):
        read_coco_truth(truth, POSE)
    skipped = []
    assert read_coco_truth(truth, POSE, skipped=skipped).ids.tolist() == [8]
    assert len(skipped) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'[{"image_id": 1,, }]', r"malformed JSON: .*byte 16"),
        (b'[{"image_id": 1', r"malformed JSON: Input data was truncated \(byte 15\)"),
        (b"", r"malformed JSON: .*byte 0"),
        (b'{"images": []}', r"expected `array`, got `object`"),
        (b"\x1f\x8bgarbage", "damaged gzip data"),
    ],
)
def test_malformed_files(tmp_path, text, message):
    path = tmp_path / "found.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        read(tmp_path / "nowhere.json")


def test_boxes_are_needed_where_they_are_measured():
    truth = data_set(person(3, bbox=None), person(8))
    assert np.isnan(read_coco_truth(truth, POSE).boxes[0]).all()
    with pytest.raises(ValueError, match=r"annotation \[0\] \(id 3\): bbox must be there, got none"):
        read_coco_truth(truth)
