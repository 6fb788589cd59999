"""CornerNet's targets against published numbers, plain loops, and the overlap that the radius guarantees."""

from __future__ import annotations

import math

import pytest
import torch

from pydlx.models.detection import corner_targets, gaussian_radius

RADII = {
    (10, 20): (2.890227771354, 1.077383710667),
    (50, 50): (11.306936062371, 4.083499336648),
    (128, 128): (28.945756319669, 10.453758301819),
    (7, 90): (2.391077336703, 0.994624277385),
}


@pytest.mark.parametrize(("size", "radii"), RADII.items())
def test_radius_as_published(size, radii):
    assert gaussian_radius(*size) == pytest.approx(radii[0], abs=1e-12)
    assert gaussian_radius(*size, iou=0.7) == pytest.approx(radii[1], abs=1e-12)


def moved_iou(height, width, first, second):
    """IoU of a box with itself after its corners moved by `first` and `second` along both axes."""
    after = height - first + second, width - first + second
    start, end = max(0, first), min(0, second)
    shared = (height + end - start) * (width + end - start)
    return shared / (height * width + after[0] * after[1] - shared)


@pytest.mark.parametrize("size", [(10, 20), (50, 50), (3, 400), (0.5, 2)])
@pytest.mark.parametrize("iou", [0.1, 0.3, 0.7, 0.95])
def test_radius_keeps_the_overlap(size, iou):
    """The worst shift of both corners by the radius has exactly this overlap."""
    r = gaussian_radius(*size, iou)
    worst = min(moved_iou(*size, r, r), moved_iou(*size, r, -r), moved_iou(*size, -r, r))
    assert worst == pytest.approx(iou, rel=1e-9)


def targets_of(boxes, labels, **options):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return corner_targets(boxes, torch.tensor(labels, dtype=torch.int64), **{"num_classes": 3, **options})


def test_gaussian_as_published():
    """A box of 10 by 20 map pixels has radius 2."""
    heat = targets_of([20, 30, 40, 40], [1], image_size=(64, 64), map_size=(64, 64)).heat_tl[1]
    row = torch.tensor([0, 0.056134762834, 0.486752255960, 1, 0.486752255960, 0.056134762834, 0])
    torch.testing.assert_close(heat[30, 17:24], row)
    torch.testing.assert_close(heat[27:34, 20], row)
    torch.testing.assert_close(heat[28:33, 18:23], row[1:-1, None] * row[1:-1])
    assert heat[30, 20] == 1 and heat.count_nonzero() == 25


def heat_by_loop(boxes, labels, classes, size, image):
    heat = torch.zeros(2, classes, size, size, dtype=torch.float64)
    for box, label in zip(boxes, labels, strict=True):
        x1, y1, x2, y2 = (value * size / image for value in box)
        radius = int(gaussian_radius(math.ceil(y2 - y1), math.ceil(x2 - x1)))
        sigma = (2 * radius + 1) / 6
        for kind, (cx, cy) in enumerate([(int(x1), int(y1)), (int(x2), int(y2))]):
            for y in range(max(0, cy - radius), min(size, cy + radius + 1)):
                for x in range(max(0, cx - radius), min(size, cx + radius + 1)):
                    value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                    heat[kind, label, y, x] = max(heat[kind, label, y, x], value)
    return heat


def test_gaussians_are_cut_at_borders_and_merged_by_their_maximum():
    generator = torch.Generator().manual_seed(0)
    boxes = 500 * torch.rand(12, 2, 2, generator=generator)
    boxes = torch.cat((boxes.amin(1), boxes.amax(1)), 1)
    boxes[0] = torch.tensor([0, 0, 510, 510])
    labels = torch.arange(12) % 2
    found = corner_targets(boxes, labels, num_classes=3, map_size=(64, 64))
    expected = heat_by_loop(boxes.tolist(), labels.tolist(), 3, 64, 511)
    torch.testing.assert_close(torch.stack((found.heat_tl, found.heat_br)).double(), expected, rtol=0, atol=1e-7)
    assert torch.equal(torch.stack((found.heat_tl, found.heat_br)) == 1, expected == 1)
    assert not found.heat_tl[2].any()


def test_cells_and_offsets_are_those_of_the_true_ratio():
    """The ratio is 128 / 511, so that 400 is at 100.196; with 1 / 4 it would be at 100."""
    found = targets_of([[8, 60, 400, 200]], [0])
    assert found.cell_tl[0] == 15 * 128 + 2 and found.cell_br[0] == 50 * 128 + 100
    ratio = 128 / 511
    torch.testing.assert_close(found.offset_tl[0], torch.tensor([8 * ratio - 2, 60 * ratio - 15]))
    torch.testing.assert_close(found.offset_br[0], torch.tensor([400 * ratio - 100, 200 * ratio - 50]))
    assert found.mask.tolist() == [True] + [False] * 127
    assert found.heat_tl[0, 15, 2] == 1 and found.heat_br[0, 50, 100] == 1


def test_axes_have_their_own_ratio():
    found = targets_of([[10, 10, 50, 30]], [0], image_size=(40, 100), map_size=(20, 25))
    assert found.cell_tl[0] == 5 * 25 + 2 and found.cell_br[0] == 15 * 25 + 12
    assert found.heat_tl.shape == (3, 20, 25)


def test_boxes_are_clipped_to_the_image():
    inside = targets_of([[0, 0, 60, 511]], [0])
    found = targets_of([[-30, -5, 60, 700]], [0])
    for a, b in zip(found, inside, strict=True):
        assert torch.equal(a, b)
    assert found.cell_br[0] == 127 * 128 + 15 and found.offset_br[0, 1] == 1


def test_boxes_without_area_are_left_out_and_counted():
    good = [[10, 20, 90, 80], [30, 30, 31, 31]]
    bad = [[5, 5, 5, 50], [50, 50, 40, 60], [600, 10, 700, 20], [-50, 3, 0, 9]]
    found = targets_of([bad[0], good[0], *bad[1:], good[1]], [0, 1, 0, 0, 0, 2])
    expected = targets_of(good, [1, 2])
    assert found.empty == 4 and expected.empty == 0
    for a, b in zip(found._replace(empty=expected.empty), expected, strict=True):
        assert torch.equal(a, b)


def test_objects_beyond_the_most_are_left_out_and_counted():
    boxes = [[i, i, i + 40, i + 30] for i in range(130)]
    found = targets_of([[0, 0, 0, 0], *boxes], [0] * 131)
    assert found.mask.all() and len(found.mask) == 128
    assert found.surplus == 2 and found.empty == 1
    expected = targets_of(boxes[:128], [0] * 128)
    assert torch.equal(found.heat_tl, expected.heat_tl) and torch.equal(found.cell_br, expected.cell_br)
    assert targets_of(boxes, [0] * 130, max_objects=5).surplus == 125


def test_images_without_boxes_and_others_make_a_batch():
    none, some = targets_of([], []), targets_of([[10, 20, 90, 80]], [1])
    batch = torch.utils.data.default_collate([none, some])
    assert type(batch) is type(none)
    assert batch.heat_tl.shape == (2, 3, 128, 128) and batch.offset_br.shape == (2, 128, 2)
    assert batch.mask.sum(1).tolist() == [0, 1] and batch.empty.tolist() == [0, 0]
    assert not none.heat_tl.any() and none.mask.dtype is torch.bool


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(1, 5)}, r"boxes must have shape \(n, 4\), got \(1, 5\)"),
        ({"boxes": torch.tensor([[0, 0, math.nan, 9]])}, r"boxes must be finite, got \[0.0, 0.0, nan, 9.0\]"),
        ({"labels": torch.tensor([3])}, "labels must be from 0 to 2, got 3"),
        ({"labels": torch.tensor([-1])}, "labels must be from 0 to 2, got -1"),
        ({"labels": torch.tensor([0, 1])}, r"labels must have shape \(1,\), got \(2,\)"),
        ({"labels": torch.tensor([0.0])}, "labels must be integers, got torch.float32"),
        ({"num_classes": 0}, "num_classes must be positive, got 0"),
        ({"image_size": (0, 5)}, r"image_size must be two whole numbers \(height, width\), positive, got \(0, 5\)"),
        ({"map_size": 64}, r"map_size must be two whole numbers \(height, width\), positive, got 64"),
        ({"iou": 1}, "iou must be between 0 and 1, got 1"),
        ({"iou": "0.3"}, "iou must be a number, got '0.3'"),
        ({"max_objects": 0}, "max_objects must be positive, got 0"),
    ],
)
def test_wrong_arguments(change, message):
    right = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([0]), "num_classes": 3}
    with pytest.raises((TypeError, ValueError), match=f"^corner_targets: {message}$"):
        corner_targets(**{**right, **change})


def test_wrong_sizes_have_no_radius():
    with pytest.raises(ValueError, match=r"^gaussian_radius: height must be positive, got 0$"):
        gaussian_radius(0, 5)
