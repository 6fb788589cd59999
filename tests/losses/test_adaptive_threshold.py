"""The adaptive-threshold losses against published numbers and their formulas."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pydlx.losses import (
    AdaptiveFocalLoss,
    AdaptiveThresholdLoss,
    adaptive_focal_loss,
    adaptive_threshold_loss,
    threshold_labels,
)

LOGITS = torch.tensor([[0.5, 2.0, -1.0, 0.3, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([[0, 1, 1, 0, 0]]) > 0
NONE = torch.zeros_like(LABELS)
WEIGHTS = [(0, 1), (0, 2), (1, 1), (1, 2)]  # offset, gamma


def pairs_at_random(pairs=6, classes=7, seed=0, scale=2.0):
    """Random logits and labels, with one pair that has all relations and one that has none."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(pairs, classes, generator=generator, dtype=torch.float64)
    labels = torch.rand(pairs, classes, generator=generator) < 0.4
    labels[0], labels[1] = True, False
    return logits, labels


def by_loop(logits, labels, offset=None, gamma=None):
    """Each pair's focal loss, or the threshold loss if there is no weight."""
    losses = []
    for row, held in zip(logits.tolist(), labels.tolist(), strict=True):
        positive = [r for r in range(1, len(row)) if held[r]]
        others = [r for r in range(1, len(row)) if not held[r]]
        loss = -math.log(math.exp(row[0]) / (math.exp(row[0]) + sum(math.exp(row[r]) for r in others)))
        for r in positive:
            if gamma is None:
                loss -= math.log(math.exp(row[r]) / (math.exp(row[0]) + sum(math.exp(row[s]) for s in positive)))
            else:
                p = 1 / (1 + math.exp(row[0] - row[r]))
                loss -= (offset + (1 - p) ** gamma) * math.log(p)
        losses.append(loss)
    return torch.tensor(losses, dtype=torch.float64)


def test_the_notes_threshold_loss():
    assert adaptive_threshold_loss(LOGITS, LABELS).item() == pytest.approx(4.726043, abs=5e-7)
    below = adaptive_threshold_loss(LOGITS[:, [0, 3, 4]], NONE[:, :3])
    assert below.item() == pytest.approx(1.243420, abs=5e-7)
    assert adaptive_threshold_loss(LOGITS[:, :3], LABELS[:, :3]).item() == pytest.approx(3.482623, abs=5e-7)
    assert adaptive_threshold_loss(LOGITS, NONE).item() == pytest.approx(2.100747, abs=5e-7)


@pytest.mark.parametrize(
    ("weight", "positive", "total"),
    list(zip(WEIGHTS, (1.427775, 1.143975, 3.330602, 3.046802), (2.671195, 2.387395, 4.574022, 4.290222), strict=True)),
)
def test_the_notes_focal_loss(weight, positive, total):
    offset, gamma = weight
    assert adaptive_focal_loss(LOGITS, LABELS, gamma, offset).item() == pytest.approx(total, abs=5e-7)
    alone = adaptive_focal_loss(LOGITS[:, :3], LABELS[:, :3], gamma, offset)
    assert alone.item() == pytest.approx(positive, abs=5e-7)
    assert adaptive_focal_loss(LOGITS, NONE, gamma, offset).item() == pytest.approx(2.100747, abs=5e-7)


@pytest.mark.parametrize(("offset", "gamma", "expected"), [(1, 1, 2.1137), (0, 1, 1.8854), (0, 2, 1.8398)])
def test_the_notes_second_example(offset, gamma, expected):
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 6), torch.zeros(4, 6)
    labels[0, 2:4] = labels[1, 4] = 1
    assert adaptive_focal_loss(logits, labels, gamma, offset).item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("weight", [None, *WEIGHTS, (0, 0), (2.5, 0.5)])
def test_against_a_loop(weight):
    logits, labels = pairs_at_random()
    if weight is None:
        run, expected = adaptive_threshold_loss, by_loop(logits, labels)
    else:
        offset, gamma = weight

        def run(*args, **options):
            return adaptive_focal_loss(*args, gamma=gamma, offset=offset, **options)

        expected = by_loop(logits, labels, offset, gamma)
    for given in (labels, labels.long(), labels.double()):
        torch.testing.assert_close(run(logits, given, reduction="none"), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(run(logits, labels), expected.mean())
    torch.testing.assert_close(run(logits, labels, reduction="sum"), expected.sum())
    shaped = run(logits.view(2, 3, 7), labels.view(2, 3, 7), reduction="none")
    torch.testing.assert_close(shaped, expected.view(2, 3), rtol=1e-12, atol=0)


def test_modules_have_the_functions_options():
    logits, labels = pairs_at_random()
    assert torch.equal(AdaptiveThresholdLoss("sum")(logits, labels), adaptive_threshold_loss(logits, labels, "sum"))
    expected = adaptive_focal_loss(logits, labels, 2.0, 1, "none")
    assert torch.equal(AdaptiveFocalLoss(2.0, 1, "none")(logits, labels), expected)
    assert repr(AdaptiveFocalLoss()) == "AdaptiveFocalLoss(gamma=1.0, offset=0, reduction='mean')"
    assert repr(AdaptiveThresholdLoss()) == "AdaptiveThresholdLoss(reduction='mean')"


@pytest.mark.parametrize("run", [adaptive_threshold_loss, adaptive_focal_loss])
def test_labels_are_not_modified_and_their_first_column_is_ignored(run):
    logits, labels = pairs_at_random()
    for given in (labels, labels.long(), labels.float()):
        given[:, 0] = 1
        before = given.clone()
        loss = run(logits, given)
        assert torch.equal(given, before)
        given[:, 0] = 0
        assert torch.equal(run(logits, given), loss)
    taken = threshold_labels(logits, 2)
    assert torch.equal(run(logits, taken), run(logits, taken & (torch.arange(7) > 0)))


@pytest.mark.parametrize("weight", WEIGHTS)
def test_gradient_by_its_formula(weight):
    """dL/dl_r = γ (1 − P)^γ P log P − (o + (1 − P)^γ)(1 − P) over the positives, the opposite on the threshold."""
    offset, gamma = weight
    logits, labels = pairs_at_random()
    logits = logits.requires_grad_()
    [found] = torch.autograd.grad(adaptive_focal_loss(logits, labels, gamma, offset, "sum"), logits)
    x, held = logits.detach(), labels & (torch.arange(7) > 0)
    p = (x - x[:, :1]).sigmoid()
    weight = (1 - p) ** gamma
    positive = torch.where(held, gamma * weight * p * p.log() - (offset + weight) * (1 - p), 0)
    share = x.masked_fill(held, -torch.inf).softmax(-1)
    expected = positive + share
    expected[:, 0] -= positive.sum(1) + 1
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "run", [adaptive_threshold_loss, adaptive_focal_loss, AdaptiveFocalLoss(1.5, 1), AdaptiveFocalLoss(0)]
)
def test_derivatives(run):
    logits, labels = pairs_at_random(4, 5)
    assert gradcheck(lambda x: run(x, labels), logits.requires_grad_())
    assert gradgradcheck(lambda x: run(x, labels), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("run", [adaptive_threshold_loss, adaptive_focal_loss, AdaptiveFocalLoss(2.0, 1)])
def test_large_logits(run, dtype):
    """Logits between -1e4 and 1e4, where plain exponentials and masking by 1e30 would overflow."""
    logits, labels = pairs_at_random(scale=4e3)
    logits = logits.clamp(-1e4, 1e4).to(dtype)
    exact = logits.double().requires_grad_()
    logits.requires_grad_()
    loss, expected = run(logits, labels), run(exact, labels)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    [found], [right] = torch.autograd.grad(loss, logits), torch.autograd.grad(expected, exact)
    assert found.dtype is dtype
    torch.testing.assert_close(found.double(), right, rtol=1e-2 if dtype is not torch.float32 else 1e-5, atol=1e-6)


def test_autocast_changes_nothing():
    logits, labels = pairs_at_random()
    for given in (logits.float(), logits.bfloat16(), logits):
        for run in (adaptive_threshold_loss, adaptive_focal_loss):
            expected = run(given, labels)
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.equal(run(given, labels), expected)
            assert expected.dtype is (torch.float64 if given is logits else torch.float32)


@pytest.mark.parametrize("run", [adaptive_threshold_loss, adaptive_focal_loss])
@pytest.mark.parametrize("shape", [(0, 5), (2, 0, 5), (3, 1), (4, 2)])
def test_no_pairs_and_few_classes(run, shape):
    """Without pairs, without relations, and with a single relation that holds for all pairs."""
    logits = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    loss = run(logits, torch.ones(shape, dtype=torch.bool))
    loss.backward()
    assert logits.grad.isfinite().all()
    right = {adaptive_threshold_loss: math.log(2), adaptive_focal_loss: 0.5 * math.log(2)}[run]
    assert loss.item() == pytest.approx(right if shape == (4, 2) else 0)
    assert run(logits, torch.ones(shape, dtype=torch.bool), reduction="none").shape == shape[:-1]


@pytest.mark.parametrize("run", [adaptive_threshold_loss, adaptive_focal_loss])
def test_infinities_that_do_not_count_leave_the_gradient_finite(run):
    """A class with logit -inf whose label is 0."""
    logits, labels = pairs_at_random()
    labels[:, 3] = False
    logits[:, 3] = -torch.inf
    found, without = logits.requires_grad_(), logits.detach()[:, [0, 1, 2, 4, 5, 6]].requires_grad_()
    loss, expected = run(found, labels), run(without, labels[:, [0, 1, 2, 4, 5, 6]])
    torch.testing.assert_close(loss, expected)
    [gradient], [right] = torch.autograd.grad(loss, found), torch.autograd.grad(expected, without)
    assert not gradient[:, 3].any()
    torch.testing.assert_close(gradient[:, [0, 1, 2, 4, 5, 6]], right)


def test_nan_stays_in_its_pair():
    logits, labels = pairs_at_random()
    logits[2, 4] = torch.nan
    for run in (adaptive_threshold_loss, adaptive_focal_loss):
        assert run(logits, labels, reduction="none").isnan().tolist() == [False, False, True, False, False, False]


def test_labels_other_than_0_and_1_are_refused():
    for wrong in (torch.tensor([[0, 2, 0, 0, 0]]), torch.tensor([[0, 0.5, 0, 0, 0]]), -LABELS.long()):
        with pytest.raises(ValueError, match=r"^adaptive_threshold_loss: labels must be 0 and 1, got other numbers"):
            adaptive_threshold_loss(LOGITS, wrong)


def labels_by_loop(logits, top_k, with_threshold=True):
    """ATLOP's decoding, with the threshold included among the k largest or not."""
    taken = torch.zeros_like(logits, dtype=torch.bool)
    for row, out in zip(logits.tolist(), taken, strict=True):
        largest = sorted(row if with_threshold else row[1:], reverse=True)
        for r in range(1, len(row)):
            kept = top_k is None or row[r] >= largest[min(top_k, len(largest)) - 1]
            out[r] = row[r] > row[0] and kept
        out[0] = not out.any()
    return taken


@pytest.mark.parametrize("top_k", [None, 1, 2, 4, 6, 7, 50])
def test_labels_by_threshold(top_k):
    """Logits with many ties. Whether the threshold is included makes no difference."""
    logits = torch.randint(-2, 3, (200, 7), generator=torch.Generator().manual_seed(0)).double()
    found = threshold_labels(logits, top_k)
    assert torch.equal(found, labels_by_loop(logits, top_k))
    assert torch.equal(found, labels_by_loop(logits, top_k, with_threshold=False))
    assert found.any(1).all()
    assert torch.equal(threshold_labels(logits.view(4, 50, 7), top_k).view(200, 7), found)


def test_labels_of_special_values():
    logits = torch.tensor([[0.0, torch.nan, 1], [torch.nan, 1, 1], [0, torch.inf, 1], [-torch.inf, 0, -torch.inf]])
    assert threshold_labels(logits).int().tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert threshold_labels(torch.zeros(0, 3), 2).shape == (0, 3)
    assert threshold_labels(torch.zeros(2, 1, dtype=torch.float16), 3).all()
    assert not threshold_labels(torch.zeros(2, 3, requires_grad=True)).requires_grad
