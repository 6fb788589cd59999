"""Overlap of boxes against counting pixel by pixel, and against the reference."""

import pytest
import torch
from op_checks import native_op, same_on_one_and_two_threads

import pydlx
from pydlx.ops.box_iou import ragged_box_iou


def ragged(seed, groups=200, most=9):
    """Boxes, truths, crowd and offsets: groups of random size, some empty; boxes that touch, and some without area."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, most, (2, groups), generator=generator)
    offsets = [torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)]) for count in counts]
    boxes, truths = (torch.randint(0, 9, (int(o[-1]), 4), generator=generator) / 4.0 for o in offsets)
    crowd = torch.randint(0, 4, (len(truths),), generator=generator) == 0
    return boxes.double(), truths.double(), crowd, *offsets


def test_by_a_grid_of_pixels():
    """Boxes with integer corners, whose areas are counted pixel by pixel."""
    generator = torch.Generator().manual_seed(0)
    boxes = torch.randint(1, 12, (9, 4), generator=generator)
    crowd = torch.tensor([False, True, False, False])
    covered = torch.zeros(9, 24, 24, dtype=torch.bool)
    for pixels, (x, y, w, h) in zip(covered, boxes.tolist(), strict=True):
        pixels[y : y + h, x : x + w] = True
    d, g = torch.tensor([0, 2, 2, 5]), torch.tensor([0, 1, 3, 4])
    expected = []
    for i in range(3):
        for a in range(d[i], d[i + 1]):
            for b in range(g[i], g[i + 1]):
                one, other = covered[a], covered[5 + b]
                whole = one if crowd[b] else one | other
                expected.append(int((one & other).sum()) / int(whole.sum()))
    found = ragged_box_iou(boxes[:5].double(), boxes[5:].double(), crowd, d, g)
    assert found.tolist() == pytest.approx(expected, abs=1e-15)
    assert any(0 < value < 1 for value in expected)


def test_boxes_without_area_and_apart():
    boxes = torch.tensor([[0.0, 0, 5, 5], [20, 20, 0, 0], [5, 0, 5, 5]], dtype=torch.float64)
    one = torch.tensor([0, 3]), torch.tensor([0, 1])
    assert ragged_box_iou(boxes, boxes[:1], torch.tensor([False]), *one).tolist() == [1, 0, 0]
    assert (
        ragged_box_iou(boxes[:0], boxes[:0], torch.zeros(0, dtype=torch.bool), *torch.zeros(2, 4).long()).tolist() == []
    )


def test_opcheck(kernels):
    if kernels == "reference":
        pytest.skip("the dispatcher knows the native ops")
    boxes = torch.rand(5, 4, dtype=torch.float64)
    offsets = torch.tensor([0, 2, 5]), torch.tensor([0, 1, 3])
    torch.library.opcheck(native_op("ragged_box_iou"), (boxes, boxes[:3], torch.zeros(3, dtype=torch.bool), *offsets))


@pytest.mark.parametrize("seed", range(3))
def test_native_is_the_reference(seed):
    arguments = ragged(seed)
    found = ragged_box_iou(*arguments)
    with pydlx.backend("reference"):
        expected = ragged_box_iou(*arguments)
    assert torch.equal(found, expected)
    assert {0.0, 1.0} < set(found.tolist())


def test_crowd_regions_divide_by_the_detection():
    boxes = torch.tensor([[0.0, 0, 4, 4]], dtype=torch.float64)
    truths = torch.tensor([[2.0, 0, 10, 10]] * 2, dtype=torch.float64)
    offsets = torch.tensor([0, 1]), torch.tensor([0, 2])
    assert ragged_box_iou(boxes, truths, torch.tensor([False, True]), *offsets).tolist() == [8 / 108, 8 / 16]


def test_other_strides():
    boxes, truths, crowd, *offsets = ragged(0)
    apart = [torch.cat([x, x + 1], -1)[:, :4] for x in (boxes, truths)]
    assert not apart[0].is_contiguous()
    every_other = crowd.repeat_interleave(2)[::2]
    expected = ragged_box_iou(boxes, truths, crowd, *offsets)
    assert torch.equal(ragged_box_iou(*apart, every_other, *offsets), expected)


def test_threads_change_nothing():
    arguments = ragged(3, groups=3000)
    same_on_one_and_two_threads(lambda: ragged_box_iou(*arguments))


TWO, OFFSETS = torch.zeros(2, 4, dtype=torch.float64), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": TWO.float()}, r"boxes must be torch\.float64 of \(\*, 4\), got torch\.float32 of \(2, 4\)"),
        ({"boxes": TWO[:, :3]}, r"boxes must be torch\.float64 of \(\*, 4\), got torch\.float64 of \(2, 3\)"),
        ({"truths": TWO.long()}, r"truths must be torch\.float64 of \(\*, 4\), got torch\.int64"),
        ({"truths": TWO.flatten()}, r"truths must be torch\.float64 of \(\*, 4\), got torch\.float64 of \(8,\)"),
        (
            {"crowd": torch.zeros(1, dtype=torch.bool)},
            r"crowd must be torch\.bool of \(2,\), got torch\.bool of \(1,\)",
        ),
        ({"crowd": torch.zeros(2)}, r"crowd must be torch\.bool of \(2,\), got torch\.float32"),
        ({"detection_offsets": OFFSETS + 1}, "detection_offsets must rise from 0 to the number of rows, 2"),
        ({"detection_offsets": torch.tensor([0, 2, 1, 2])}, "detection_offsets must rise from 0"),
        (
            {"detection_offsets": OFFSETS.int()},
            r"detection_offsets must be int64 of shape \(n \+ 1,\), got torch\.int32",
        ),
        ({"truth_offsets": torch.tensor([0, 3])}, "truth_offsets must rise from 0 to the number of rows, 2"),
        ({"truth_offsets": torch.tensor([0, 1, 2])}, "truth_offsets must be of the other offsets' length, 2, got 3"),
    ],
)
def test_rows_that_do_not_fit_are_refused(change, message):
    fitting = {
        "boxes": TWO,
        "truths": TWO,
        "crowd": torch.zeros(2, dtype=torch.bool),
        "detection_offsets": OFFSETS,
        "truth_offsets": OFFSETS,
    }
    ragged_box_iou(**fitting)
    with pytest.raises(ValueError, match=f"^ragged_box_iou: {message}"):
        ragged_box_iou(**(fitting | change))
