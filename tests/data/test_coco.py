"""COCO's files as arrays, and what is said of bad ones."""

import gzip
import json

import numpy as np
import pytest
from metrics.coco_samples import data_set, found, person

from pydlx.data import AnnotationWarning
from pydlx.data.coco import read_coco_detections, read_coco_listing, read_coco_truth

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
    assert truth.keypoints["keypoints"].places.shape == (2, 17, 2)
    assert truth.keypoints["keypoints"].third.tolist() == [[2.0] * 17] * 2
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
    np.testing.assert_array_equal(from_file.keypoints["keypoints"].places, expected[..., :2])
    np.testing.assert_array_equal(from_file.keypoints["keypoints"].third, expected[..., 2])


def test_numbers_of_numpy_and_torch():
    detection = found() | {"score": np.float32(0.5), "keypoints": np.array(found()["keypoints"])}
    assert read([detection]).scores["score"].tolist() == [0.5]


def test_integers_beyond_64_bits_are_numbers():
    detection = found(bbox=[0, 0, 2**70, 1]) | {"score": -(2**70)}
    detection["keypoints"] = [2**64, *detection["keypoints"][1:]]
    data = read([detection])
    assert data.keypoints["keypoints"].places[0, 0, 0] == 2.0**64
    assert data.boxes[0, 2] == -data.scores["score"][0] == 2.0**70


def test_many_records_are_read_in_parts():
    detections = [found(dx % 300, 0.5) for dx in range(4500)]
    values = read(detections).keypoints["keypoints"].places
    assert values[:, 0, 0].tolist() == [100 + dx % 300 for dx in range(4500)]


BAD = {
    "unknown image": ({"image_id": 99}, r"\[2\] \(image_id 99\): image_id 99 is not among the images"),
    "unknown category": ({"category_id": 5}, r"\[2\] \(image_id 1\): category_id 5 is not among the categories"),
    "too few keypoints": ({"keypoints": [1.0] * 48}, r"\[2\].*must have 51 numbers .* got 48 numbers"),
    "keypoints in words": ({"keypoints": ["a"] * 51}, r"\[2\].*got 'a' among its numbers"),
    "keypoints in triples": ({"keypoints": [[1, 2, 3]] * 17}, r"\[2\].*got \[1, 2, 3\] among its numbers"),
    "NaN keypoint": ({"keypoints": [float("nan")] * 51}, r"\[2\].*got null or NaN among its numbers"),
    "words and null": ({"keypoints": ["a", None, *[1.0] * 49]}, r"\[2\].*got 'a' among its numbers"),
    "null and words": ({"keypoints": [None, "a", *[1.0] * 49]}, r"\[2\].*got null or NaN among its numbers"),
    "no keypoints": ({"keypoints": None}, r"\[2\].*got None"),
    "absent keypoints": ({"keypoints": ...}, r"\[2\].*missing required field `keypoints`"),
    "NaN score": ({"score": float("nan")}, r"\[2\].score: expected `float`, got null or NaN"),
    "score in words": ({"score": "high"}, r"\[2\].score: expected `float`, got `str`"),
    "half a box": ({"bbox": [1, 2]}, r"\[2\].*bbox must have 4 numbers, got 2 numbers"),
    "no box though the first has": ({"bbox": ...}, r"\[2\].*bbox must be there, got none"),
    "whole number": ({"image_id": 1.5}, r"\[2\].image_id: expected `int \| str`, got `float`"),
    "number in words": ({"image_id": "1"}, r"\[2\] \(image_id 1\): image_id '1' is not among the images"),
    "unknown huge image": ({"image_id": 2**70}, r"\[2\].*: image_id 1180591620717411303424 is not among the images"),
    "unknown category in words": ({"category_id": "dog"}, r"\[2\] .*: category_id 'dog' is not among the categories"),
    "empty box though the first has one": ({"bbox": []}, r"\[2\].*bbox must be there, got none"),
    "huge keypoint": ({"keypoints": [10**400] * 51}, r"\[2\].*got 10{400} among its numbers"),
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
        ({"category_id": 7}, r"annotation \[0\] \(id 3\): category_id 7 is not among the categories"),
        ({"id": None}, r"annotations\[0\].id: expected `int \| str`, got null or NaN"),
        ({"id": 1.5}, r"annotations\[0\].id: expected `int \| str`, got `float`"),
        ({"num_keypoints": 2**70}, r"annotations\[0\].num_keypoints: expected `int` <= 2147483647"),
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


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("keys", [("a", "b"), (2**63, 2**64), (-(2**80), 10**30), (2, "1")])
def test_ids_are_integers_of_any_size_or_strings(keys, where, tmp_path):
    low, high = keys
    truth = data_set(person(high, image=high, category_id=low), person(low, image=low, category_id=high, iscrowd=2**70))
    truth["images"] = [{"id": high, "crowdIndex": 0.5}, {"id": low}]
    truth["categories"] = [{"id": high, "name": "person"}, {"id": low}]
    detections = [found(score, image=key, category_id=high) for score, key in ((0.5, high), (0.6, low))]
    if where == "file":
        sources = [tmp_path / "truth.json", tmp_path / "found.json"]
        for path, content in zip(sources, (truth, detections), strict=True):
            path.write_text(json.dumps(content))
        truth, detections = sources
    data = read_coco_truth(truth, POSE)
    assert data.image_ids.tolist() == data.category_ids.tolist() == [low, high]
    assert data.category_names == [str(low), "person"]
    assert data.ids.tolist() == [high, low]
    assert data.images.tolist() == [1, 0]
    assert data.categories.tolist() == [0, 1]
    assert data.crowd.tolist() == [False, True]
    assert np.isnan(data.crowd_index).tolist() == [True, False]
    results = read_coco_detections(detections, data, POSE)
    assert results.images.tolist() == [1, 0]
    assert results.categories.tolist() == [1, 1]


def test_ids_between_known_ones():
    """They are not taken for the next image or category."""
    truth = data_set(person(1), person(2, image=3, category_id=3))
    truth["images"], truth["categories"] = [{"id": 1}, {"id": 3}], [{"id": 1, "name": "a"}, {"id": 3, "name": "b"}]
    data = read_coco_truth(truth, POSE)
    for field, what in (("image_id", "images"), ("category_id", "categories")):
        with pytest.raises(ValueError, match=rf"detection \[0\] .*: {field} 2 is not among the {what} of the truth"):
            read_coco_detections([found() | {field: 2}], data, POSE)
    truth["annotations"][0]["category_id"] = 2
    with pytest.raises(ValueError, match=r"annotation \[0\] .*: category_id 2 is not among the categories"):
        read_coco_truth(truth, POSE)


def test_annotations_of_images_that_are_not_listed_are_ignored():
    """As pycocotools does where a part of a data set is evaluated; nothing else in them is looked at."""
    unlisted = [person(n, image=7 + n, category_id=5, keypoints=[1.0]) for n in range(1, 6)]
    message = r"^5 annotations are of images that the file does not list, and are ignored \(ids 1, 2, 3, \.\.\.\)$"
    skipped = []
    for options in ({}, {"skipped": skipped}):
        with pytest.warns(AnnotationWarning, match=message):
            data = read_coco_truth(data_set(*unlisted, person(8)), POSE, **options)
        assert data.ids.tolist() == [8]
    assert not skipped


def test_a_record_is_skipped_once():
    skipped = []
    read([found(image=99, score=0.5, category_id=98) | {"keypoints": [1.0]}], skipped=skipped)
    assert len(skipped) == 1


@pytest.mark.parametrize("key", [1, "1", 2**70])
def test_categories_of_one_id_are_refused(key):
    truth = TRUTH | {"categories": [{"id": key, "name": "person"}, {"id": 4}, {"id": key, "name": "dog"}]}
    with pytest.raises(ValueError, match=rf"^truth: categories\[2\]\.id must not be that of another .* got {key!r}"):
        read_coco_truth(truth, POSE, skipped=[])


def test_of_images_of_one_id_the_first_counts():
    truth = TRUTH | {"images": [{"id": 2}, {"id": 1, "crowdIndex": 0.1}, {"id": 1, "crowdIndex": 0.9}]}
    with pytest.warns(AnnotationWarning, match=r"^1 images have an id that another one has \(ids 1\)"):
        data = read_coco_truth(truth, POSE)
    assert data.image_ids.tolist() == [1, 2]
    assert data.crowd_index[0] == 0.1


def test_an_empty_box_of_the_first_detection_is_no_box():
    assert read([found(bbox=[]), found(bbox=[1, 2, 3, 4])]).boxes is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'[{"image_id": 1,, }]', r"malformed JSON: .*byte 16"),
        (b'[{"image_id": 1', r"malformed JSON: Input data was truncated \(byte 15\)"),
        (b"", "must be JSON, got an empty file$"),
        (b" \n", r"malformed JSON: .*byte 2"),
        (b'{"images": []}', "must be a list of detections, got an object, as annotation files are: .* swapped?"),
        (b"3.5", "must be a list of detections, got a number$"),
        (b' "a"', "must be a list of detections, got a string$"),
        (b'[{"x": ' + b"[" * 100000, "must be JSON of a few levels, got more"),
        (b"\x1f\x8bgarbage", "damaged gzip data"),
    ],
)
def test_malformed_files(tmp_path, text, message):
    path = tmp_path / "found.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(ValueError, match=message):
        read(text)


def test_results_in_the_place_of_a_truth():
    message = "^truth: must be an annotation file, got a list, as result files are: are truth and detections swapped?"
    with pytest.raises(ValueError, match=message):
        read_coco_truth([found()], POSE)
    with pytest.raises(ValueError, match=message):
        read_coco_truth(b"[]")
    with pytest.raises(ValueError, match=r"^truth: must be an annotation file, got null$"):
        read_coco_truth(b"null")


def test_a_path_that_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        read(tmp_path / "nowhere.json")
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        read(tmp_path)


class Coco:
    """As pycocotools' COCO: what it loaded is in `dataset`."""

    def __init__(self, dataset):
        self.dataset = dataset


def test_bytes_and_objects_that_hold_a_data_set():
    detections = [found(dx, 1 / (dx + 1), bbox=[1, 2, 3, dx]) for dx in range(5)]
    expected = read(detections)
    text = json.dumps(detections).encode()
    for source in (text, gzip.compress(text), tuple(detections), Coco(TRUTH | {"annotations": detections})):
        results = read(source)
        np.testing.assert_array_equal(results.keypoints["keypoints"].places, expected.keypoints["keypoints"].places)
        np.testing.assert_array_equal(results.boxes, expected.boxes)
    for source in (json.dumps(TRUTH).encode(), Coco(TRUTH)):
        assert read_coco_truth(source, POSE).ids.tolist() == [3, 8]


def test_an_array_of_boxes():
    truth = read_coco_truth(TRUTH)
    rows = np.array([[2, 1, 2, 3, 4, 0.5, 1], [1, 5, 6, 7, 8, 0.25, 1]])
    for dtype in (np.float64, np.float32):
        results = read_coco_detections(rows.astype(dtype), truth)
        assert results.images.tolist() == [1, 0]
        assert results.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
        assert results.scores["score"].tolist() == [0.5, 0.25]
    assert len(read_coco_detections(np.empty((0, 7)), truth).images) == 0
    with pytest.raises(
        ValueError, match=r"^detections: an array of shape \(N, 7\) holds boxes, and no keypoints or masks$"
    ):
        read(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 9}, r"detection \[1\] \(image_id 9\): image_id 9 is not among the images of the truth"),
        ({0: 1.5}, r"detection \[1\].image_id: expected `int \| str`, got `float`"),
        ({6: 2**60}, r"detection \[1\] .*: category_id 1152921504606846976 is not among the categories"),
        ({5: np.nan}, r"detection \[1\].score: expected `float`, got null or NaN"),
        ({2: np.inf}, r"detection \[1\] \(image_id 1\): bbox must have 4 numbers, got null or NaN among its numbers"),
    ],
)
def test_a_bad_row_is_named_or_skipped(change, message):
    truth = read_coco_truth(TRUTH)
    rows = np.array([[2, 1, 2, 3, 4, 0.5, 1], [1, 5, 6, 7, 8, 0.25, 1]])
    for column, value in change.items():
        rows[1, column] = value
    with pytest.raises(ValueError, match=f"^detections: {message}"):
        read_coco_detections(rows, truth)
    skipped = []
    assert read_coco_detections(rows, truth, skipped=skipped).images.tolist() == [1]
    assert len(skipped) == 1


def test_ids_of_another_kind_are_said_to_be():
    with pytest.raises(ValueError, match=r"image_id '1' is not among the images of the truth, which are numbers$"):
        read([found(image="1")])


def test_counts_as_pycocotools_encodes_them():
    mask = {"size": [480, 640], "counts": b"PPYo0"}
    for odd in ({}, {"area": 2**70}):  # read by compiled code, and by the careful reader
        truth = read_coco_truth(data_set(person(1, segmentation=mask, **odd)), segmentations=True)
        assert bytes(truth.segmentations.code) == b"PPYo0"


def test_boxes_are_needed_where_they_are_measured():
    truth = data_set(person(3, bbox=None), person(8))
    assert np.isnan(read_coco_truth(truth, POSE).boxes[0]).all()
    with pytest.raises(ValueError, match=r"annotation \[0\] \(id 3\): bbox must be there, got none"):
        read_coco_truth(truth)


def test_a_listing_needs_no_annotations(tmp_path):
    content = {
        "images": [{"id": 2**70, "file_name": "b.jpg"}, {"id": "x", "file_name": "folder/a.jpg"}],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2}],
    }
    (tmp_path / "listing.json").write_text(json.dumps(content))
    listing = read_coco_listing(tmp_path / "listing.json")
    assert listing.file_names == {2**70: "b.jpg", "x": "folder/a.jpg"}
    assert (listing.category_ids, listing.category_names) == ([2, 9], ["2", "dog"])
    content["images"][1] = {"id": 3, "file_name": None}
    with pytest.raises(ValueError, match=r"^truth: images\[1\].file_name: expected `str`, got null"):
        read_coco_listing(content)
