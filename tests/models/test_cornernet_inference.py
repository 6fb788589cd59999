"""CornerNet's detection: ideal maps give the boxes back, through padding, flips, scales, suppression and merging."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pydlx.losses import CornerMaps
from pydlx.models.detection import CornerNet, corner_targets, detect, normalize_image
from pydlx.models.detection.cornernet_images import padded
from pydlx.models.detection.cornernet_inference import Candidates, suppressed
from pydlx.ops import decode_corners

CLASSES = 4
BOXES = torch.tensor(
    [[12.3, 8.1, 80.9, 64.2], [100.4, 30.7, 190.2, 150.8], [20.6, 90.3, 70.1, 140.9], [130, 20.2, 180.7, 60.3]]
)
LABELS = torch.tensor([0, 1, 0, 3])


def ideal_maps(boxes, labels, image_size, map_size):
    """Returns the maps of a network that predicts perfectly."""
    targets = corner_targets(boxes, labels, num_classes=CLASSES, image_size=image_size, map_size=map_size)
    maps = []
    for kind in range(2):
        tag, offset = torch.zeros(1, *map_size), torch.zeros(2, *map_size)
        for k in targets.mask.nonzero().flatten().tolist():
            cell = targets[2 + kind][k]
            tag.view(-1)[cell] = 3.0 * k + 3
            offset.flatten(1)[:, cell] = targets[4 + kind][k]
        # Scores are .99, .98, ...: no ties.
        heat = 0.9 * targets[kind] + torch.where(tag > 0, 0.1 - 0.01 * tag / 3, 0)
        maps.append((heat.clamp(min=1e-4).logit(), tag, offset))
    return CornerMaps(*(maps[kind][part] for part in range(3) for kind in range(2)))


class Ideal(CornerNet):
    """A model that returns the boxes of one image at their positions in the padded and scaled image."""

    def __init__(self, size):
        torch.nn.Module.__init__(self)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.size, self.stride, self.size_multiple, self.features_only, self.inputs = size, 4, 128, False, []
        self.eval()

    def forward(self, images):
        self.inputs.append(images)
        height, width = images.shape[2:]
        new = next(
            (round(self.size[0] * s), round(self.size[1] * s))
            for s in (0.5, 1, 1.5)
            if (round(self.size[0] * s) | 127, round(self.size[1] * s) | 127) == (height, width)
        )
        border = torch.tensor([width // 2 - new[1] // 2, height // 2 - new[0] // 2]).repeat(2)
        boxes = BOXES * (new[1] / self.size[1]) + border
        mirrored = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), 1)
        views = (boxes, mirrored)[: len(images)]
        map_size = ((height + 1) // 4, (width + 1) // 4)
        maps = [ideal_maps(view, LABELS, (height, width), map_size) for view in views]
        return (CornerMaps(*map(torch.stack, zip(*maps, strict=True))),)


SIZE = (180, 220)
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def test_targets_and_decode_are_inverse():
    maps = ideal_maps(BOXES, LABELS, (255, 255), (64, 64))
    heat_tl, heat_br, *others = (x[None] for x in maps)
    boxes, scores, _, labels = decode_corners(heat_tl.sigmoid(), heat_br.sigmoid(), *others)
    found = scores[0] > 0.5
    torch.testing.assert_close(boxes[0, found] * 255 / 64, BOXES, rtol=0, atol=1e-3)
    assert torch.equal(labels[0, found], LABELS)
    assert scores[0, found].tolist() == pytest.approx([0.99, 0.98, 0.97, 0.96], abs=1e-5)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1,), (1.5,), (0.5, 1.0, 1.5)])
@pytest.mark.parametrize("merge", [False, True, None])
def test_boxes_come_back(flip, scales, merge):
    found = detect(Ideal(SIZE), IMAGE, flip=flip, scales=scales, merge=merge)
    best = found.scores > 0.5
    assert torch.equal(found.labels[best], LABELS)
    torch.testing.assert_close(found.boxes[best], BOXES, rtol=0, atol=2e-3)
    assert found.scores[best].tolist() == pytest.approx([0.99, 0.98, 0.97, 0.96], abs=1e-4)
    assert (found.scores.diff() <= 0).all()


def test_network_sees_the_normalised_image_in_the_middle_of_black():
    model = Ideal(SIZE)
    detect(model, IMAGE)
    (seen,) = model.inputs
    assert seen.shape == (2, 3, 255, 255)
    assert torch.equal(seen[1], seen[0].flip(2))
    top, left = 127 - 90, 127 - 110
    torch.testing.assert_close(seen[0, :, top : top + 180, left : left + 220], normalize_image(IMAGE))
    black = normalize_image(np.zeros((1, 1, 3), np.uint8))
    assert torch.equal(seen[0, :, 0], black[..., 0].expand(-1, 255))
    assert torch.equal(seen[0, :, :, left + 220], black[..., 0].expand(-1, 255))


def test_normalisation_is_that_of_blue_green_red():
    mean, std = [0.40789654, 0.44719302, 0.47026115], [0.28863828, 0.27408164, 0.27809835]
    expected = (IMAGE[..., ::-1] / 255 - mean) / std
    np.testing.assert_allclose(normalize_image(IMAGE).permute(1, 2, 0), expected, atol=1e-6)
    assert torch.equal(normalize_image(torch.from_numpy(IMAGE)), normalize_image(IMAGE))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (127, 128), (500, 375)])
def test_padding_reaches_the_next_size(height, width):
    view, left, top = padded(torch.ones(3, height, width), 128)
    assert view.shape == (3, height | 127, width | 127)
    assert view.sum() == 3 * height * width == view[:, top : top + height, left : left + width].sum()


def test_detections_stay_within_the_image():
    class Lost(Ideal):
        def forward(self, images):
            maps = super().forward(images)[0]
            shift = torch.tensor([-30.0, 0.0])[:, None, None]
            return (maps._replace(offset_tl=maps.offset_tl + shift, offset_br=maps.offset_br + shift),)

    found = detect(Lost(SIZE), IMAGE, flip=False)
    expected = torch.stack((BOXES - torch.tensor([30 * 255 / 64, 0, 30 * 255 / 64, 0]))[[1, 3]].clamp(min=0).unbind())
    best = found.scores > 0.5
    torch.testing.assert_close(found.boxes[best], expected, rtol=0, atol=2e-3)
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_image_without_detections():
    class Blind(Ideal):
        def forward(self, images):
            maps = super().forward(images)[0]
            return (maps._replace(tag_br=maps.tag_br + 100),)

    for merge in (False, True):
        found = detect(Blind(SIZE), IMAGE, merge=merge)
        assert [tuple(x.shape) for x in found] == [(0, 4), (0,), (0,)]


def candidates(n=60, labels=2):
    generator = torch.Generator().manual_seed(n)
    start = 20 * torch.rand(n, 2, generator=generator)
    boxes = torch.cat((start, start + 5 + 20 * torch.rand(n, 2, generator=generator)), 1)
    corner_scores = torch.rand(n, 2, generator=generator)
    label = torch.randint(labels, (n,), generator=generator)
    return Candidates(boxes, corner_scores.mean(1), corner_scores, label)


def merged_one_by_one(boxes, scores, corner_scores, labels):
    """Soft-NMS with merging by its definition: take the best box, average, lower the others, drop low scores."""
    left = [
        [*row] for row in zip(boxes.tolist(), scores.tolist(), corner_scores.tolist(), labels.tolist(), strict=True)
    ]
    taken = []
    while left:
        best = max(left, key=lambda row: row[1])
        left.remove(best)
        box, score, corner, label = best
        sums, totals = [corner[0] * box[0], corner[0] * box[1], corner[1] * box[2], corner[1] * box[3]], [*corner]
        for row in [row for row in left if row[3] == label]:
            other = row[0]
            sides = [min(box[i + 2], other[i + 2]) - max(box[i], other[i]) + 1 for i in range(2)]
            if min(sides) <= 0:
                continue
            area = [math.prod(b[i + 2] - b[i] + 1 for i in range(2)) for b in (box, other)]
            shared = math.prod(sides)
            decay = math.exp(-((shared / (sum(area) - shared)) ** 2) / 0.5)
            for i in range(4):
                sums[i] += row[2][i // 2] * (1 - decay) ** 10 * other[i]
            totals = [t + c * (1 - decay) ** 10 for t, c in zip(totals, row[2], strict=True)]
            row[1] *= decay
            if row[1] < 0.001:
                left.remove(row)
        taken.append(([s / totals[i // 2] for i, s in enumerate(sums)], score, label))
    return taken


@pytest.mark.parametrize("labels", [1, 3])
def test_merging_is_the_definition(labels):
    given = candidates(labels=labels)
    for most in (1000, 20):
        found = suppressed(given, True, most)
        expected = merged_one_by_one(*given)[:most]
        assert len(found.scores) == len(expected) > 10
        torch.testing.assert_close(found.boxes, torch.tensor([box for box, *_ in expected]), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            found.scores, torch.tensor([score for _, score, _ in expected]), rtol=1e-4, atol=1e-6
        )
        assert found.labels.tolist() == [label for *_, label in expected]


@pytest.mark.parametrize("scales", [torch.tensor([True]), torch.tensor([1 + 0j]), torch.ones(1, 1)])
def test_scales_as_a_tensor_are_real_numbers(scales):
    with pytest.raises(TypeError, match="detect: scales must be a sequence of numbers, got "):
        detect(Ideal(SIZE), IMAGE, scales=scales)


def test_what_is_too_low_has_no_part_in_the_best_box():
    boxes = torch.tensor([[0.0, 0, 20, 20], [1.0, 1, 21, 21]])
    corner_scores = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    labels = torch.zeros(2, dtype=torch.int64)
    for second, moved in ((0.0007, False), (0.1, True)):
        scores = torch.tensor([0.5, second])
        found = suppressed(Candidates(boxes, scores, corner_scores, labels), True, 100)
        assert bool((found.boxes[0] > boxes[0] + 0.01).all()) == moved


def test_published_soft_nms():
    boxes = torch.tensor([[0.0, 0, 9, 9], [2, 2, 11, 11], [50, 50, 59, 59], [0, 0, 9, 10]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    given = Candidates(boxes, scores, scores[:, None].expand(4, 2), torch.zeros(4, dtype=torch.int64))
    found = suppressed(given, False, 100)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7, 0.5137337593, 0.0666605719]))
    assert torch.equal(found.boxes, boxes[[0, 2, 1, 3]])


def test_the_best_stay_with_what_ties_with_the_last():
    boxes = 100 * torch.arange(6)[:, None] + torch.tensor([0.0, 0, 9, 9])
    scores = torch.tensor([0.3, 0.9, 0.5, 0.5, 0.5, 0.2])
    given = Candidates(boxes, scores, scores[:, None].expand(6, 2), torch.zeros(6, dtype=torch.int64))
    assert suppressed(given, False, 2).scores.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.5])
    assert len(suppressed(given, False, 4).scores) == 4 and len(suppressed(given, False, 6).scores) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": torch.nn.Conv2d(3, 3, 1)}, r"model must be a CornerNet, got Conv2d\("),
        ({"model": Ideal(SIZE).train()}, "model must be in evaluation mode, got it in training mode"),
        ({"image": IMAGE / 255}, "image must be uint8 red, green, blue, got ndarray of float64"),
        ({"image": IMAGE[..., 0]}, r"image must have shape \(H, W, 3\), got \(180, 220\)"),
        ({"image": IMAGE[:0]}, r"image must have shape \(H, W, 3\), got \(0, 220, 3\)"),
        ({"flip": 1}, "flip must be True or False, got 1"),
        ({"merge": "yes"}, "merge must be True or False, got 'yes'"),
        ({"scales": ()}, r"scales must be positive and finite, got \[\]"),
        ({"scales": (1, 0)}, r"scales must be positive and finite, got \[1.0, 0.0\]"),
        ({"scales": 1.0}, "scales must be a sequence of numbers, got 1.0"),
        ({"top_k": 0}, "top_k must be positive, got 0"),
        ({"max_detections": 0}, "max_detections must be positive, got 0"),
        ({"tag_threshold": math.nan}, "tag_threshold must be a number, got NaN"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises((TypeError, ValueError), match=f"^detect: {message}"):
        detect(**{"model": Ideal(SIZE), "image": IMAGE, **change})
