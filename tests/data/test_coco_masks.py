"""Masks of COCO's files, and the part of a data set that is evaluated."""

import itertools

import numpy as np
import pytest
from metrics.coco_samples import data_set, found, person

from pydlx.data.coco import coco_subset, read_coco_detections, read_coco_truth

POLYGONS = [[0, 0, 10, 0, 10, 5.5], [1, 1, 2, 1, 2, 2, 1, 2]]
CODE = {"size": [480, 640], "counts": 'PPYo0\\"1'}
COUNTS = {"size": [3, 4], "counts": [5, 2, 5]}


def read(*masks):
    truth = data_set(*(person(n + 1, segmentation=mask) for n, mask in enumerate(masks)))
    return read_coco_truth(truth, segmentations=True).segmentations


def as_given(masks):
    """The flat arrays as the fields they came from."""
    for n, kind in enumerate(masks.kinds):
        size = masks.sizes[n].tolist()
        if kind == 1:
            corners = masks.corners[masks.polygons[n] : masks.polygons[n + 1] + 1]
            pairs = itertools.pairwise(corners)
            yield [masks.points[first:end].ravel().tolist() for first, end in pairs]
        elif kind == 2:
            code = bytes(masks.code[masks.codes[n] : masks.codes[n + 1]])
            yield {"size": size, "counts": code.decode()}
        else:
            yield {"size": size, "counts": masks.lengths[masks.counts[n] : masks.counts[n + 1]].tolist()}


def test_every_kind_of_mask_is_kept_as_the_file_has_it():
    given = [POLYGONS, CODE, COUNTS, CODE, POLYGONS[:1], COUNTS]
    assert list(as_given(read(*given))) == given
    chosen = read(*given).of(np.array([True, False, True, True, False, True]))
    assert list(as_given(chosen)) == [given[n] for n in (0, 2, 3, 5)]


def test_results_have_masks_too_and_need_no_boxes():
    truth = read_coco_truth(data_set(person(1, segmentation=CODE)), segmentations=True)
    results = [{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": mask} for mask in (COUNTS, POLYGONS)]
    detections = read_coco_detections(results, truth, segmentations=True)
    assert list(as_given(detections.segmentations)) == [COUNTS, POLYGONS]
    assert detections.boxes is None
    assert truth.image_sizes.tolist() == [[480, 640]]


@pytest.mark.parametrize(
    ("mask", "what"),
    [
        (None, "expected `object | array`, got null or NaN"),
        ([], "an empty list"),
        ([[0, 0, 1, 1]], "a polygon of 4 numbers"),
        ([[0, 0, 1, 1, 2, 2, 3]], "a polygon of 7 numbers"),
        ([0, 0, 1, 1, 2, 2], r"expected `array`, got `int` at \[0\]"),
        ([[0, 0, 1, 1, 2, float("nan")]], r"expected `float`, got null or NaN at \[0\]\[5\]"),
        ({"counts": "a"}, "object missing required field `size`"),
        ({"size": [2, 2], "counts": [1.5]}, r"expected `int`, got `float` at counts\[0\]"),
        ({"size": [2, 2], "counts": [-1]}, r"expected `int` >= 0 at counts\[0\]"),
        ({"size": [2], "counts": [4]}, "expected `array` of length 2 at size"),
        ({"size": [2, 2], "counts": "é"}, "letters beyond ASCII"),
    ],
)
def test_what_is_no_mask_is_named_or_left_out(mask, what):
    truth = data_set(person(1, segmentation=CODE), person(7, segmentation=mask), person(8, segmentation=COUNTS))
    message = rf"^truth: annotation \[1\] \(id 7\): segmentation must be polygons .*, got {what}$"
    with pytest.raises(ValueError, match=message):
        read_coco_truth(truth, segmentations=True)
    skipped = []
    left = read_coco_truth(truth, segmentations=True, skipped=skipped)
    assert list(as_given(left.segmentations)) == [CODE, COUNTS]
    assert len(skipped) == 1
    assert read_coco_truth(truth).segmentations is None


def test_a_subset_of_images_and_categories():
    truth = data_set(
        person(1, image=1), person(2, image=2), person(3, image=2, category_id=9), person(4, image=3), images=3
    )
    truth["categories"] += [{"id": 9, "name": "dog"}]
    results = [found(image=1), found(image=3, score=0.2), found(image=2, score=0.3) | {"category_id": 9}]
    whole = read_coco_truth(truth, {"keypoints": 17})
    detections = read_coco_detections(results, whole, {"keypoints": 17})
    part, rest = coco_subset(whole, detections, image_ids=np.array([3, 2]), category_ids=[9])
    assert (part.image_ids.tolist(), part.category_ids.tolist(), part.category_names) == ([2, 3], [9], ["dog"])
    assert (part.ids.tolist(), part.images.tolist(), part.categories.tolist()) == ([3], [0], [0])
    assert (rest.images.tolist(), rest.categories.tolist(), rest.scores["score"].tolist()) == ([0], [0], [0.3])
    assert coco_subset(whole, detections)[0].ids.tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="image_ids must be ids of images of the truth, got 5"):
        coco_subset(whole, detections, image_ids=[1, 5])
    with pytest.raises(ValueError, match="category_ids must be ids of categories of the truth, got '9'"):
        coco_subset(whole, detections, category_ids=["9"])
