"""OKS against a loop over its definition in extended precision, COCO's published values, and torch's own checks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from op_checks import native_op, same_on_one_and_two_threads

from pydlx.ops import ragged_oks

COCO_SIGMAS = torch.tensor([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]).double() / 1000


def oks_loop(pred, truth, visibility, area, sigmas, boxes=None):
    """(D, G) by plain loops over points, in extended precision."""
    pred, truth, visibility, area, sigmas = (
        np.asarray(given, dtype=np.longdouble) for given in (pred, truth, visibility, area, sigmas)
    )
    similarity = np.zeros((len(pred), len(truth)), dtype=np.longdouble)
    for d, g in np.ndindex(similarity.shape):
        terms = []
        hidden = not (visibility[g] > 0).any()
        if hidden and boxes is None:
            continue
        for k, sigma in enumerate(sigmas):
            if hidden:
                x, y, w, h = np.asarray(boxes[g], dtype=np.longdouble)
                dx = max(x - w - pred[d, k, 0], 0, pred[d, k, 0] - (x + 2 * w))
                dy = max(y - h - pred[d, k, 1], 0, pred[d, k, 1] - (y + 2 * h))
            elif visibility[g, k] > 0:
                dx, dy = pred[d, k] - truth[g, k]
            else:
                continue
            size = area[g] + np.spacing(1)
            terms.append(np.exp(-(dx**2 + dy**2) / (2 * size * (2 * sigma) ** 2)))
        similarity[d, g] = sum(terms) / len(terms)
    return torch.from_numpy(similarity.astype(np.float64))


def scene(detections, truths, points=17, seed=0, dtype=torch.float64):
    """Poses in an image, detections near the truths; every fourth truth hides all its points, the others some."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    boxes = torch.cat([300 * draw(truths, 2), 20 + 150 * draw(truths, 2)], dim=1)
    truth = boxes[:, None, :2] + draw(truths, points, 2) * boxes[:, None, 2:]
    owner = torch.arange(detections) % max(1, truths)
    pred = (truth[owner] if truths else 300 * draw(detections, points, 2)) + 20 * draw(detections, points, 2) - 10
    visibility = (3 * draw(truths, points)).floor()
    visibility[::4] = 0
    area = 0.6 * boxes[:, 2] * boxes[:, 3]
    sigmas = COCO_SIGMAS if points == 17 else 0.02 + 0.1 * draw(points)
    return pred.to(dtype), truth.to(dtype), visibility, area.to(dtype), sigmas, boxes.to(dtype)


def ragged_scene(sizes, points=17, dtype=torch.float64):
    """The groups of these (detections, truths) one by one, and the arguments that hold them all."""
    groups = [scene(d, g, points, seed, dtype) for seed, (d, g) in enumerate(sizes)]
    sigmas = groups[0][4]
    pred, truth, visibility, area, _, boxes = (torch.cat(rows) for rows in zip(*groups, strict=True))
    ends = torch.tensor([(0, 0), *sizes]).cumsum(0)
    return groups, (pred, truth, visibility, area, sigmas, boxes, ends[:, 0].contiguous(), ends[:, 1].contiguous())


SIZES = [(3, 2), (0, 4), (70, 5), (5, 0), (1, 1), (0, 0), (64, 3), (9, 4)]


@pytest.mark.parametrize("points", [17, 5, 133])
def test_ragged_groups_are_compared_each_within_itself(points):
    groups, arguments = ragged_scene(SIZES, points)
    expected = [oks_loop(*group[:4], arguments[4], group[5]).flatten() for group in groups]
    similarity = ragged_oks(*arguments)
    assert (similarity - torch.cat(expected)).abs().max() <= 1e-15


def test_ragged_is_repeatable_to_the_bit():
    _, arguments = ragged_scene(SIZES * 20)
    same_on_one_and_two_threads(lambda: ragged_oks(*arguments))


def test_ragged_gives_cocos_values(shared_data):
    pairs = json.loads((shared_data / "keypoints" / "waymo_oks_pairs.json").read_text())

    def column(side, name):
        return torch.tensor([pair[side][name] for pair in pairs], dtype=torch.float64)

    truth = column("ground_truth", "keypoints").view(len(pairs), -1, 3)
    pred = column("prediction", "keypoints").view(truth.shape)[..., :2]
    one_each = torch.arange(len(pairs) + 1)
    similarity = ragged_oks(
        pred,
        truth[..., :2],
        truth[..., 2],
        column("ground_truth", "area"),
        COCO_SIGMAS,
        column("ground_truth", "bbox"),
        one_each,
        one_each,
    )
    expected = torch.tensor([pair["oks"] for pair in pairs], dtype=torch.float64)
    assert (similarity - expected).abs().max() <= 1e-15


def test_ragged_opcheck():
    _, (pred, truth, visibility, *others, pred_offsets, truth_offsets) = ragged_scene(SIZES)
    sizes = torch.tensor(SIZES)
    pairs = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.prod(1).cumsum(0)])
    arguments = (pred, truth, visibility > 0, *others, pred_offsets, truth_offsets, pairs, int(pairs[-1]))
    torch.library.opcheck(native_op("oks_ragged"), arguments)
