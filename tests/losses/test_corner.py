"""CornerNet's losses against published numbers and their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from pydlx.losses import (
    CornerLoss,
    CornerMaps,
    CornerTargets,
    corner_focal_loss,
    corner_offset_loss,
    corner_tag_loss,
)

LOGITS = torch.tensor([[2.0, 0, -2], [-1, -0.5, 1]], dtype=torch.float64)
HEAT = torch.tensor([[1.0, 0.5, 0], [0, 1, 0.25]], dtype=torch.float64)


def focal_by_loop(logits, target):
    total, corners = 0.0, 0
    for x, y in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = min(max(1 / (1 + math.exp(-x)), 1e-4), 1 - 1e-4)
        total -= (1 - p) ** 2 * math.log(p) if y == 1 else (1 - y) ** 4 * p**2 * math.log(1 - p)
        corners += y == 1
    return total / max(corners, 1)


def test_focal_loss_as_published():
    assert corner_focal_loss(LOGITS, HEAT).item() == pytest.approx(0.3182913633054328, rel=1e-14)
    assert corner_focal_loss(LOGITS, HEAT / 2).item() == pytest.approx(0.5980661883360219, rel=1e-14)


def test_focal_loss_counts_the_corners_of_the_whole_batch():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 2, 6, 5, generator=generator, dtype=torch.float64)
    target = torch.rand(3, 2, 6, 5, generator=generator, dtype=torch.float64)
    target[0, 0, 0, :2] = target[2, 1, 5, 4] = 1
    assert corner_focal_loss(logits, target).item() == pytest.approx(focal_by_loop(logits, target), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_focal_loss_of_certain_predictions_is_finite(dtype):
    logits = torch.tensor([100.0, -100.0, 100.0, -100.0], dtype=dtype, requires_grad=True)
    target = torch.tensor([1.0, 1, 0, 0])
    loss = corner_focal_loss(logits, target)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(focal_by_loop(logits, target), rel=1e-3)
    loss.backward()
    assert logits.grad.isfinite().all()


TAG_TL, TAG_BR = torch.tensor([[0, 0.5, 2, 0]]), torch.tensor([[0.2, 0.9, 2, 0]])


@pytest.mark.parametrize(
    ("objects", "pull", "push"),
    [(3, 0.0333322, 0.1333477), (2, 0.0499975, 0.4000300), (1, 0.0199980, 1.0001659), (0, 0, 0)],
)
def test_tag_loss_as_published(objects, pull, push):
    mask = torch.arange(4)[None] < objects
    found = corner_tag_loss(TAG_TL, TAG_BR, mask, form="original")
    torch.testing.assert_close(found, (torch.tensor(pull * 1.0), torch.tensor(push * 1.0)), rtol=0, atol=1e-7)


def tags_by_loop(tag_tl, tag_br, mask):
    pull = push = 0.0
    for first, second, held in zip(tag_tl.tolist(), tag_br.tolist(), mask.tolist(), strict=True):
        pairs = [(a, b) for a, b, here in zip(first, second, held, strict=True) if here]
        means = [(a + b) / 2 for a, b in pairs]
        n = len(pairs)
        pull += sum((a - m) ** 2 + (b - m) ** 2 for (a, b), m in zip(pairs, means, strict=True)) / (n + 1e-4)
        if n > 1:
            near = [max(0, 1 - abs(means[j] - means[k])) for j in range(n) for k in range(n) if j != k]
            push += sum(near) / (n * (n - 1))
    return torch.tensor([pull, push], dtype=torch.float64)


def tags(batch, rows):
    generator = torch.Generator().manual_seed(batch)
    first, noise = torch.randn(2, batch, rows, generator=generator, dtype=torch.float64)
    mask = torch.arange(rows) < torch.arange(batch)[:, None]  # 0, 1, 2, ... objects
    return first, first + 0.3 * noise, mask


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_tag_loss_is_the_formula(batch):
    arguments = tags(batch, rows=7)
    torch.testing.assert_close(torch.stack(corner_tag_loss(*arguments)), tags_by_loop(*arguments))


def test_push_of_a_single_object_is_zero():
    first, second, mask = tags(2, rows=3)
    first.requires_grad_()
    _, push = corner_tag_loss(first, second, mask)
    assert push == 0
    push.backward()
    assert not first.grad.any()


def test_rows_without_an_object_are_ignored():
    first, second, mask = tags(4, rows=5)
    expected = corner_tag_loss(first, second, mask)
    first, second = (torch.where(mask, x, math.nan).requires_grad_() for x in (first, second))
    found = corner_tag_loss(first, second, mask)
    torch.testing.assert_close(found, expected)
    sum(found).backward()
    assert first.grad[mask].isfinite().all()


def test_offset_loss_is_smooth_l1_over_objects():
    offset = torch.tensor([[[0.5, 3.0], [9, 9]], [[0.0, -0.25], [2.0, 0.5]]], dtype=torch.float64)
    target = torch.zeros_like(offset)
    mask = torch.tensor([[True, False], [True, True]])
    expected = (0.125 + 2.5 + 0.03125 + 1.5 + 0.125) / 3.0001
    assert corner_offset_loss(offset, target, mask).item() == pytest.approx(expected, rel=1e-14)
    assert corner_offset_loss(offset, target, mask & False) == 0


def test_gradients():
    assert torch.autograd.gradcheck(lambda x: corner_focal_loss(x, HEAT), LOGITS.clone().requires_grad_())
    first, second, mask = tags(4, rows=5)
    inputs = first.requires_grad_(), second.requires_grad_()
    for form in ("exact", "original"):
        assert torch.autograd.gradcheck(lambda a, b, form=form: corner_tag_loss(a, b, mask, form), inputs)
    offset = torch.randn(4, 5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: corner_offset_loss(x, torch.zeros_like(x), mask), (offset,))


def scene(batch=2, dtype=torch.float32):
    """Maps of two stacks, and targets in which the last image has no object."""
    generator = torch.Generator().manual_seed(batch)
    stacks = [
        CornerMaps(*(torch.randn(batch, c, 6, 7, generator=generator).to(dtype) for c in (3, 3, 1, 1, 2, 2)))
        for _ in range(2)
    ]
    heat = torch.rand(2, batch, 3, 6, 7, generator=generator)
    cells = torch.randint(42, (2, batch, 4), generator=generator)
    offsets = torch.rand(2, batch, 4, 2, generator=generator)
    mask = torch.arange(4) < torch.arange(batch).flip(0)[:, None] * 3
    for kind in range(2):
        for image in range(batch):
            heat[kind, image, 0].view(-1)[cells[kind, image, mask[image]]] = 1
    none = torch.zeros(batch, dtype=torch.int64)
    return stacks, CornerTargets(*heat, *cells, *offsets, mask, none, none)


def at_pixels(maps, index):
    """Values of maps with 7 columns at flat pixel indices, one by one: (2, 4, C)."""
    return torch.stack([maps[image, :, i // 7, i % 7] for image, row in enumerate(index) for i in row]).unflatten(
        0, (2, 4)
    )


def test_loss_is_the_weighted_sum_of_its_terms():
    stacks, targets = scene()
    expected = torch.zeros(4)
    for maps in stacks:
        for kind in range(2):
            expected[0] += corner_focal_loss(maps[kind], targets[kind])
            offset = at_pixels(maps[4 + kind], targets[2 + kind])
            expected[3] += corner_offset_loss(offset, targets[4 + kind], targets.mask)
        tag_tl, tag_br = at_pixels(maps.tag_tl, targets.cell_tl), at_pixels(maps.tag_br, targets.cell_br)
        expected[1:3] += torch.stack(corner_tag_loss(tag_tl[..., 0], tag_br[..., 0], targets.mask))
    expected /= 2
    found = CornerLoss(0.2, 0.3, 0.5)(stacks, targets)
    torch.testing.assert_close(torch.stack(found[1:]), expected)
    torch.testing.assert_close(found.total, expected @ torch.tensor([1, 0.2, 0.3, 0.5]))
    found = CornerLoss()(stacks, targets)
    torch.testing.assert_close(found.total, expected @ torch.tensor([1, 0.1, 0.1, 1.0]))


def test_original_form_adds_a_constant_for_a_single_object():
    stacks, targets = scene()
    targets = targets._replace(mask=torch.arange(4).expand(2, 4) < 1)
    assert CornerLoss()(stacks, targets).push == 0
    assert CornerLoss(form="original")(stacks, targets).push.item() == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_image_without_objects_has_gradients_in_the_heat_only(dtype):
    stacks, targets = scene(batch=1, dtype=dtype)
    assert not targets.mask.any()
    for maps in stacks:
        for each in maps:
            each.requires_grad_()
    found = CornerLoss()(stacks, targets)
    assert found.total.dtype is torch.float32 and found.total == found.heat > 0
    found.total.backward()
    for maps in stacks:
        assert all(x.grad.any() for x in maps[:2])
        assert not any(x.grad.any() for x in maps[2:])


def test_compiles_as_one_graph():
    stacks, targets = scene()
    loss = CornerLoss()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(tuple(compiled(stacks, targets)), tuple(loss(stacks, targets)))
    assert repr(loss) == "CornerLoss(pull_weight=0.1, push_weight=0.1, offset_weight=1.0, form='exact')"


def test_wrong_targets_are_refused():
    stacks, targets = scene()
    with pytest.raises(TypeError, match=r"^CornerLoss: targets.cell_tl must be integers, got torch.float32"):
        CornerLoss()(stacks, targets._replace(cell_tl=targets.cell_tl.float()))
    with pytest.raises(TypeError, match=r"^corner_tag_loss: mask must be bool, got torch.uint8"):
        CornerLoss()(stacks, targets._replace(mask=targets.mask.to(torch.uint8)))
    with pytest.raises(ValueError, match=r"^corner_focal_loss: target must have shape \(2, 3, 6, 7\) as logits"):
        CornerLoss()(stacks, targets._replace(heat_br=targets.heat_br[:1]))
