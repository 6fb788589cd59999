"""The OKS loss against its formulas."""

from __future__ import annotations

import doctest
import math

import pytest
import torch

import pydlx.losses.oks
from pydlx.losses import OKSLoss

SIGMAS = [0.05, 0.1, 0.2]


def scene(n=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    truth = 100 * torch.rand(n, 3, 2, generator=generator, dtype=torch.float64)
    pred = truth + 8 * torch.randn(n, 3, 2, generator=generator, dtype=torch.float64)
    visibility = torch.tensor([[2, 1, 0]]).repeat(n, 1)
    return pred.to(dtype), truth.to(dtype), visibility, torch.linspace(500, 3000, n, dtype=dtype)


def similarities(pred, truth, visibility, area):
    """The OKS of each pair of poses, computed point by point."""
    found = []
    for p, q, v, a in zip(pred.tolist(), truth.tolist(), visibility.tolist(), area.tolist(), strict=True):
        terms = [
            math.exp(-((x - u) ** 2 + (y - w) ** 2) / (8 * a * sigma**2))
            for (x, y), (u, w), seen, sigma in zip(p, q, v, SIGMAS, strict=True)
            if seen > 0
        ]
        found.append(sum(terms) / len(terms))
    return torch.tensor(found, dtype=torch.float64)


FORMULAE = {"linear": lambda s: 1 - s, "square": lambda s: 1 - s * s, "log": lambda s: -s.log()}


@pytest.mark.parametrize("mode", FORMULAE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_is_the_formula(mode, dtype):
    arguments = scene(dtype=dtype)
    each = OKSLoss(SIGMAS, mode, reduction="none")(*arguments)
    assert each.dtype == dtype
    expected = FORMULAE[mode](similarities(*arguments))
    torch.testing.assert_close(each.double(), expected, rtol=1e-5, atol=1e-6 if dtype is torch.float32 else 1e-14)
    torch.testing.assert_close(OKSLoss(SIGMAS, mode)(*arguments), each.mean())
    torch.testing.assert_close(OKSLoss(SIGMAS, mode, reduction="sum")(*arguments), each.sum())


@pytest.mark.parametrize("mode", FORMULAE)
def test_equal_poses_have_loss_zero(mode):
    _, truth, visibility, area = scene(dtype=torch.float32)
    assert (OKSLoss(SIGMAS, mode, reduction="none")(truth, truth, visibility, area) == 0).all()


@pytest.mark.parametrize("mode", FORMULAE)
def test_poses_without_a_visible_point_are_ignored(mode):
    pred, truth, visibility, area = scene()
    expected = OKSLoss(SIGMAS, mode)(pred[1:], truth[1:], visibility[1:], area[1:])
    visibility[0] = 0
    point = pred.requires_grad_()
    loss = OKSLoss(SIGMAS, mode)(point, truth, visibility, area)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (point.grad[0] == 0).all()
    assert point.grad[1:].abs().sum() > 0
    assert OKSLoss(SIGMAS, mode)(pred, truth, visibility * 0, area) == 0


def test_areas_are_clamped_to_min_area():
    pred, truth, visibility, area = scene()
    loss = OKSLoss(SIGMAS, min_area=1000.0, reduction="none")
    torch.testing.assert_close(
        loss(pred, truth, visibility, area * 0), loss(pred, truth, visibility, torch.full_like(area, 1000))
    )


def test_log_is_clamped_at_eps():
    pred, truth, visibility, area = scene()
    loss = OKSLoss(SIGMAS, "log", eps=1e-3)(pred + 1e4, truth, visibility, area)
    torch.testing.assert_close(loss, torch.tensor(-math.log(1e-3), dtype=torch.float64))


def test_log_above_eps_is_the_logarithm():
    """eps is a lower bound; it is not added to larger values."""
    arguments = scene()
    expected = similarities(*arguments)
    assert (expected > 0.01).all() and (expected < 1).all()
    found = OKSLoss(SIGMAS, "log", eps=0.01, reduction="none")(*arguments)
    torch.testing.assert_close(found, -expected.log(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("mode", FORMULAE)
def test_gradcheck_and_descent(mode):
    pred, truth, visibility, area = scene()
    loss = OKSLoss(SIGMAS, mode)
    assert torch.autograd.gradcheck(lambda p: loss(p, truth, visibility, area), (pred.requires_grad_(),))
    before = loss(pred, truth, visibility, area)
    (gradient,) = torch.autograd.grad(before, pred)
    assert loss(pred - gradient, truth, visibility, area) < before


def test_leading_dimensions_compilation_and_narrow_dtypes():
    pred, truth, visibility, area = (x.unflatten(0, (2, 3)) for x in scene(dtype=torch.bfloat16))
    loss = OKSLoss(SIGMAS, reduction="none")
    each = loss(pred, truth, visibility, area)
    assert each.shape == (2, 3)
    assert each.dtype is torch.float32
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(pred, truth, visibility, area), each)
    assert not loss.state_dict()
    assert repr(loss) == "OKSLoss(3 points, mode='linear', min_area=1.0, reduction='none')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "cubic"}, "mode must be one of 'linear', 'square', 'log', got 'cubic'"),
        ({"reduction": "max"}, "reduction must be one of 'mean', 'sum', 'none', got 'max'"),
        ({"min_area": 0}, "min_area must be positive, got 0"),
        ({"eps": -1}, "eps must be positive, got -1"),
        ({"sigmas": [0.1, -0.1]}, r"sigmas must be positive numbers in one row, got \[0.1, -0.1\]"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^OKSLoss: {message}"):
        OKSLoss(**{"sigmas": SIGMAS, **options})


@pytest.mark.parametrize("place", range(4))
def test_arguments_that_are_no_tensors(place):
    arguments = list(scene())
    arguments[place] = arguments[place].tolist()
    name = ("pred", "truth", "visibility", "area")[place]
    with pytest.raises(TypeError, match=f"^OKSLoss: {name} must be a .*tensor, got list$"):
        OKSLoss(SIGMAS)(*arguments)


def test_examples():
    assert doctest.testmod(pydlx.losses.oks, extraglobs={"torch": torch}).failed == 0
