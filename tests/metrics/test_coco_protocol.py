"""What an evaluation looks at: the groups of an image and category that exist, and of those the best detections."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pydlx.metrics.coco_protocol import Curves, Detections, Protocol, Truths, evaluate


class Counting:
    """Gives all pairs of the same image and category a similarity by their rows, and keeps what it was asked for."""

    def __init__(self, detections: int, truths: int) -> None:
        generator = torch.Generator().manual_seed(3)
        self.table = torch.rand(detections, truths, generator=generator, dtype=torch.float64)
        self.groups = self.pairs = 0

    def __call__(self, found: Tensor | None, true: Tensor | None, d: Tensor, g: Tensor) -> Tensor:
        rows, columns = self.table.shape
        found = torch.arange(rows) if found is None else found
        true = torch.arange(columns) if true is None else true
        self.groups, parts = len(d) - 1, [self.table.new_empty(0)]
        for i in range(self.groups):
            parts.append(self.table[found[d[i] : d[i + 1]]][:, true[g[i] : g[i + 1]]].flatten())
        self.pairs = sum(map(len, parts))
        return torch.cat(parts)


def drawn(images: int, categories: int, detections: int = 60, truths: int = 40, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)

    def whole(count: int, most: int) -> Tensor:
        return torch.randint(most, (count,), generator=generator)

    found = Detections(
        whole(detections, images),
        whole(detections, categories),
        whole(detections, 9).double() / 10,  # with ties
        torch.full((detections,), 100.0, dtype=torch.float64),
    )
    none = torch.zeros(truths, dtype=torch.bool)
    area = torch.full((truths,), 100.0, dtype=torch.float64)
    return found, Truths(whole(truths, images), whole(truths, categories), area, none, whole(truths, 5) == 0)


def run(found: Detections, true: Truths, similarity: Counting, images: int, categories: int, limits=(1, 10)) -> Curves:
    protocol = Protocol({"all": (0.0, 1e10)}, limits)
    return evaluate(found, true, similarity, protocol, images, categories)


def equal(a: Curves, b: Curves) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("precision", "recall", "scores"))


def test_images_and_categories_without_detections_are_no_groups():
    """The same data under numbers that are far apart: a table of all images x categories would not fit in memory."""
    found, true = drawn(images=5, categories=3)
    similarity = Counting(60, 40)
    expected = run(found, true, similarity, 5, 3)
    assert 0 < similarity.groups <= 15
    steps = 10**9
    apart = Detections(found.images * steps, found.categories, found.scores, found.area)
    true_apart = Truths(true.images * steps, true.categories, true.area, true.crowd, true.ignored)
    assert equal(run(apart, true_apart, Counting(60, 40), 5 * steps, 3), expected)


@pytest.mark.parametrize("in_order", [False, True])
def test_detections_beyond_the_limit_are_not_compared(in_order):
    found, true = drawn(images=2, categories=2, detections=200)
    if in_order:
        order = (found.categories * 2 + found.images).argsort(stable=True)
        found = Detections(*(getattr(found, name)[order] for name in ("images", "categories", "scores", "area")))
    similarity = Counting(200, 40)
    curves = run(found, true, similarity, 2, 2, limits=(1, 7))
    assert similarity.pairs <= 7 * 40

    # The best seven of each group, the earlier of equals, chosen here one by one.
    kept: list[int] = []
    for row in sorted(range(200), key=lambda i: (-float(found.scores[i]), i)):
        same = [
            i for i in kept if found.images[i] == found.images[row] and found.categories[i] == found.categories[row]
        ]
        kept += [row] if len(same) < 7 else []
    kept.sort()
    fewer = Detections(*(getattr(found, name)[kept] for name in ("images", "categories", "scores", "area")))
    of_fewer = Counting(len(kept), 40)
    of_fewer.table = similarity.table[kept]
    assert equal(curves, run(fewer, true, of_fewer, 2, 2, limits=(1, 7)))


def test_truths_without_detections_count():
    found, true = drawn(images=4, categories=2)
    two = torch.zeros(2, dtype=torch.bool)
    with_more = Truths(
        torch.cat([true.images, torch.tensor([9, 9])]),
        torch.cat([true.categories, torch.tensor([0, 1])]),
        torch.cat([true.area, true.area[:2]]),
        torch.cat([true.crowd, two]),
        torch.cat([true.ignored, two]),
    )
    recall = run(found, true, Counting(60, 40), 10, 2).recall
    similarity = Counting(60, 42)
    similarity.table[:, :40] = Counting(60, 40).table
    more = run(found, with_more, similarity, 10, 2).recall
    per_category = torch.bincount(true.categories[~true.ignored], minlength=2)
    torch.testing.assert_close(more * (per_category + 1)[:, None, None], recall * per_category[:, None, None])


def test_no_detections_at_all():
    _, true = drawn(images=4, categories=2)
    nothing = Detections(
        *(torch.empty(0, dtype=dtype) for dtype in (torch.int64, torch.int64, torch.float64, torch.float64))
    )
    curves = run(nothing, true, Counting(0, 40), 4, 2)
    assert curves.average_recall() == curves.average_precision() == 0
