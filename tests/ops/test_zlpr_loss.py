"""The zlpr loss against sums written out, published and hand-made values, and torch's own checks."""

from __future__ import annotations

import math

import pytest
import torch
from op_checks import FLOATS, TOLERANCES, assert_close, native_op, same_on_one_and_two_threads, sliced

from pydlx.losses import ZLPRLoss
from pydlx.ops import zlpr_loss

NAN, INF = math.nan, math.inf
NUMBERS = (1, 5, 16, 19, 63, 193, 1030)  # vectors, and the chunks of the emulated kernels
CHUNK = 16384  # of the CPU kernels


def draw(rows, cells, kind="hard", dtype=torch.float64, masked=True, seed=0):
    """Scores, labels and a mask; the first row is masked, and in the second every element is a label."""
    generator = torch.Generator().manual_seed(seed)
    scores = (3 * torch.randn(rows, cells, generator=generator, dtype=torch.float64) - 1).to(dtype)
    labels = torch.rand(rows, cells, generator=generator)
    hard = labels < 0.2
    labels = torch.where(hard, 1.0, torch.where(labels > 0.8, 0.0, labels)) if kind == "soft" else hard
    mask = torch.rand(rows, cells, generator=generator) < 0.8
    mask[:1] = False
    labels[1:2] = 1
    return scores, labels, mask if masked else None


def written_out(scores, labels, mask=None):
    """(R,): the definition for scores that do not overflow."""
    s, y = scores.double(), labels.double()
    counts = torch.ones_like(s) if mask is None else mask.double()
    s = torch.where(counts > 0, s, 0)
    of_labels, of_others = (counts * y * torch.exp(-s)).sum(-1), (counts * (1 - y) * torch.exp(s)).sum(-1)
    return torch.log1p(of_labels) + torch.log1p(of_others)


def with_gradient(loss, scores, labels, mask=None, **options):
    """Losses of the rows and the gradient of their weighted sum."""
    scores = scores.detach().requires_grad_()
    losses = loss(scores, labels, mask, **options)
    above = torch.arange(1, losses.numel() + 1, dtype=losses.dtype).cos().view_as(losses)
    return losses.detach(), torch.autograd.grad(losses, scores, above)[0]


def check(scores, labels, mask=None, **tolerance):
    found = with_gradient(zlpr_loss, scores, labels, mask, reduction="none")
    expected = with_gradient(written_out, scores, labels, mask)
    assert found[0].dtype is (torch.float64 if scores.dtype is torch.float64 else torch.float32)
    assert found[1].dtype is scores.dtype
    for actual, wanted, dtype in zip(found, expected, (found[0].dtype, scores.dtype), strict=True):
        assert_close(actual, wanted, **{**TOLERANCES[dtype], **tolerance})


@pytest.mark.parametrize(
    ("scores", "labels", "loss", "gradient"),
    [
        ([2, -1, 0.5, -3], [1, 0, 1, 0], 0.903969, [-0.07770, 0.25950, -0.34821, 0.03512]),
        ([20, -3, -4, -5], [1, 0, 0, 0], 0.072172, [-2.1e-9, 0.04632, 0.01704, 0.00627]),
        ([10] + 400 * [-6], [1] + 400 * [0], 0.688934, [-4.54e-5] + 400 * [0.001245]),
        ([20] + 400 * [-6], [1] + 400 * [0], 0.688889, [-2.1e-9] + 400 * [0.001245]),
        (4 * [-INF], 4 * [0], 0, 4 * [0]),
        ([], [], 0, []),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_known_values(scores, labels, loss, gradient, dtype):
    found = with_gradient(zlpr_loss, torch.tensor(scores, dtype=dtype), torch.tensor(labels, dtype=torch.bool))
    assert found[0].item() == pytest.approx(loss, abs=1e-6)
    for actual, wanted in zip(found[1].div(math.cos(1)).tolist(), gradient, strict=True):
        assert actual == pytest.approx(wanted, rel=0.02, abs=1e-5 if abs(wanted) > 1e-5 else 1e-10)


@pytest.mark.parametrize("positive", [9, 10, 13, 14, 15, 16, 17, 20, 50])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_large_positive_changes_nothing_among_the_others(positive, dtype):
    """The form that subtracts it from the sum over all elements would give a negative number."""
    check(torch.tensor([[positive] + 400 * [-6]], dtype=dtype), torch.arange(401).eq(0)[None])
    scores = torch.tensor([positive] + 400 * [-6], dtype=dtype, requires_grad=True)
    gradient = torch.autograd.grad(zlpr_loss(scores, torch.arange(401) == 0), scores)[0]
    assert gradient[0] <= 0 < gradient[1]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("cells", NUMBERS)
def test_values_and_gradients(cells, kind, masked):
    check(*draw(5, cells, kind, masked=masked))


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes(dtype, kind):
    check(*draw(4, 75, kind, dtype))


@pytest.mark.parametrize("cells", [CHUNK - 1, CHUNK + 1, 2 * CHUNK + 17])
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_rows_of_several_chunks(cells, kind):
    check(*draw(3, cells, kind, torch.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dim", "shape"),
    [(-1, (2, 3, 4)), (0, (3, 4, 5)), (-2, (2, 3, 5)), ((2, 3), (2, 3)), ([3, -3], (2, 4)), ((0, 1, 2, 3), ())],
)
def test_dimensions_and_reductions(dim, shape):
    scores, labels, mask = (x.view(2, 3, 4, 5) for x in draw(24, 5))
    dims = sorted(d % 4 for d in ((dim,) if isinstance(dim, int) else dim))
    rows = [
        x.movedim(dims, [d - len(dims) for d in range(len(dims))]).flatten(-len(dims)) for x in (scores, labels, mask)
    ]
    expected = written_out(*rows)
    found = zlpr_loss(scores, labels, mask, dim=dim, reduction="none")
    assert found.shape == shape
    assert_close(found, expected)
    assert_close(zlpr_loss(scores, labels, mask, dim=dim), expected.mean())
    assert_close(zlpr_loss(scores, labels, mask, dim=dim, reduction="sum"), expected.sum())
    loss = ZLPRLoss(dim, "sum")
    assert_close(loss(scores, labels, mask), expected.sum())
    assert repr(loss) == f"ZLPRLoss(dim={dim}, reduction='sum')"


def test_masks_broadcast():
    scores, labels, _ = (x if x is None else x.view(2, 3, 4, 5) for x in draw(24, 5, masked=False))
    for shape in ((5,), (4, 1), (2, 1, 1, 5), (1, 1, 4, 5), ()):
        mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.7
        expected = written_out(scores, labels, mask.expand(scores.shape))
        assert_close(zlpr_loss(scores, labels, mask, reduction="none"), expected)


def test_kinds_of_labels():
    """Labels 0 and 1 give the same bits as False and True."""
    scores, labels, mask = draw(4, 75, dtype=torch.float32)
    expected = with_gradient(zlpr_loss, scores, labels, mask)
    for dtype in (torch.int64, torch.uint8, torch.int8):
        assert all(map(torch.equal, with_gradient(zlpr_loss, scores, labels.to(dtype), mask), expected))
    for dtype in FLOATS:
        for actual, wanted in zip(with_gradient(zlpr_loss, scores, labels.to(dtype), mask), expected, strict=True):
            assert_close(actual, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_large_scores_neither_overflow_nor_vanish(dtype, kind):
    scores = torch.tensor([[1e4, -1e4, 1e4, -1e4], [-1e4, 1e4, -1e4, 1e4], [1e4, 1e4, -1e4, -1e4]], dtype=dtype)
    labels = torch.tensor([[True, False, True, False]]).expand(3, 4)
    large = scores[0, 0].item()
    losses, gradient = with_gradient(zlpr_loss, scores, labels if kind == "hard" else labels.double(), reduction="none")
    expected = torch.tensor([0, 2 * large + 2 * math.log(2), 2 * large], dtype=torch.float64)
    assert_close(losses, expected, rtol=1e-6)
    above = torch.arange(1, 4, dtype=torch.float64).cos()
    slopes = torch.tensor([[0, 0, 0, 0], [-0.5, 0.5, -0.5, 0.5], [0, 1, -1, 0]]) * above.unsqueeze(1)
    assert_close(gradient, slopes, rtol=1e-12 if dtype is torch.float64 else 2e-3)  # 1e4 + log(2) is rounded


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("poison", [NAN, INF, -INF])
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_masked_cells_are_never_read(dtype, poison, kind):
    scores, labels, mask = draw(4, 75, kind, dtype)
    expected = with_gradient(zlpr_loss, scores, labels, mask, reduction="none")
    found = with_gradient(zlpr_loss, scores.masked_fill(~mask, poison), labels, mask, reduction="none")
    assert all(map(torch.equal, found, expected))
    assert found[0][0] == 0
    assert (found[1][~mask] == 0).all()


def test_a_score_of_minus_infinity_is_a_mask():
    """Also at a label, where the formula would be infinite: heads score padding with -inf."""
    scores, labels, mask = draw(4, 75)
    found = with_gradient(zlpr_loss, scores.masked_fill(~mask, -INF), labels)
    assert all(map(torch.equal, found, with_gradient(zlpr_loss, scores, labels, mask)))


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("cells", [7, 75])
def test_special_scores_stay_in_their_example(kind, cells):
    scores, labels, _ = draw(5, cells, kind, torch.float32, masked=False)
    labels[:, 3], labels[:, 4] = 0, 1
    usual, slopes = with_gradient(zlpr_loss, scores, labels, reduction="none")
    scores[1, 3], scores[2, 4], scores[3, 3], scores[4, 4] = NAN, NAN, INF, INF
    losses, gradient = with_gradient(zlpr_loss, scores, labels, reduction="none")
    assert losses.isnan().tolist() == [False, True, True, False, False]
    assert losses[3] == INF
    assert losses[0] == usual[0] and torch.equal(gradient[0], slopes[0])
    assert losses[4] < usual[4] and gradient[4, 4] == 0  # an endlessly right label has no share
    assert gradient[1].isnan().any() and gradient[2].isnan().any()


def test_labels_that_are_almost_zero():
    """Their weight may be tiny where the exponential is huge."""
    scores = torch.tensor([[-60.0, 1.0], [60.0, 1.0], [-88.0, 1.0], [-90.0, 1.0]])
    labels = torch.tensor([[1e-20, 0.0], [1 - 2.0**-24, 1.0], [2.0**-126, 0.0], [2.0**-140, 0.0]])
    check(scores, labels)


def test_order_and_padding_change_nothing():
    scores, labels, mask = draw(4, 75)
    losses = zlpr_loss(scores, labels, mask, reduction="none")
    order = torch.randperm(75)
    assert_close(zlpr_loss(scores[:, order], labels[:, order], mask[:, order], reduction="none"), losses)
    padded = [torch.cat([x, x[:, :30]], 1) for x in (scores, labels)]
    more = torch.cat([mask, torch.zeros(4, 30, dtype=torch.bool)], 1)
    assert_close(zlpr_loss(*padded, more, reduction="none"), losses)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_kernels_are_repeatable_to_the_bit(kind):
    scores, labels, mask = draw(6, 2 * CHUNK + 100, kind, torch.float32)
    same_on_one_and_two_threads(lambda: with_gradient(zlpr_loss, scores, labels, mask, reduction="none"))


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_gradcheck(kind):
    scores, labels, mask = draw(3, 5, kind)

    def run(scores):
        return zlpr_loss(scores, labels, mask, reduction="none")

    assert torch.autograd.gradcheck(run, scores.requires_grad_())
    assert torch.autograd.gradgradcheck(run, scores)


@pytest.mark.parametrize(("kind", "masked"), [("hard", True), ("soft", False)])
def test_opcheck(kind, masked):
    scores, labels, mask = draw(3, 5, kind, masked=masked)
    cells = (scores.requires_grad_(), labels.double() if kind == "soft" else labels, mask)
    torch.library.opcheck(native_op("zlpr_loss"), cells)
    parts = native_op("zlpr_loss")(*cells).detach()
    torch.library.opcheck(native_op("_zlpr_loss_backward"), (torch.randn_like(parts).requires_grad_(), parts, *cells))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("masked", [False, True])
def test_empty(shape, masked):
    scores, labels = torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
    losses, gradient = with_gradient(zlpr_loss, scores, labels, labels if masked else None, reduction="none")
    assert losses.tolist() == [0.0] * shape[0]
    assert gradient.shape == shape


def test_inputs_are_not_modified_and_may_have_any_strides():
    given = draw(4, 75)
    before = [x.clone() for x in given]
    expected = with_gradient(zlpr_loss, *given)
    assert all(map(torch.equal, given, before))
    for change in (sliced, lambda x: x.mT.contiguous().mT):
        assert all(map(torch.equal, with_gradient(zlpr_loss, *map(change, given)), expected))


def test_compiles_and_exports():
    given, loss = draw(4, 15), ZLPRLoss()
    expected = loss(*given)
    assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(*given), expected)
    assert_close(torch.export.export(loss, given).module()(*given), expected)
    assert sum(node.op == "call_function" for node in torch.fx.symbolic_trace(loss).graph.nodes) == 1


SCORES, LABELS = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scores": SCORES.int()}, TypeError, "scores must be a floating-point tensor, got torch.int32"),
        ({"labels": [1]}, TypeError, "labels must be a tensor, got list"),
        ({"labels": LABELS[:1]}, ValueError, r"labels must have the shape of scores, \(2, 3\), got \(1, 3\)"),
        ({"labels": SCORES.long() + 2}, ValueError, "labels must be from 0 to 1, got 2"),
        ({"labels": SCORES - 0.5}, ValueError, "labels must be from 0 to 1, got -0.5"),
        ({"labels": SCORES + NAN}, ValueError, "labels must be from 0 to 1, got nan"),
        ({"labels": SCORES.clone().requires_grad_()}, ValueError, "labels must not require a gradient"),
        ({"mask": SCORES}, TypeError, "mask must be a bool tensor, got torch.float32"),
        ({"mask": LABELS[:, :2]}, ValueError, r"mask must have a shape that broadcasts .* \(2, 3\), got \(2, 2\)"),
        ({"mask": LABELS[None]}, ValueError, r"mask must have a shape that broadcasts .* \(2, 3\), got \(1, 2, 3\)"),
        ({"dim": 2}, ValueError, "dim must name different dimensions of scores, which has 2, got 2"),
        ({"dim": (0, -2)}, ValueError, r"dim must name different dimensions of scores, which has 2, got \(0, -2\)"),
        ({"dim": ()}, TypeError, r"dim must be a whole number or a tuple of them, got \(\)"),
        ({"reduction": "max"}, ValueError, "reduction must be one of 'mean', 'sum', 'none', got 'max'"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=f"^zlpr_loss: {message}"):
        zlpr_loss(**{"scores": SCORES, "labels": LABELS} | change)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_cuda_agrees_with_the_cpu(dtype, kind):
    given = draw(7, 9000, kind, dtype)
    expected = with_gradient(zlpr_loss, *given, reduction="none")
    found = with_gradient(zlpr_loss, *(x.cuda() for x in given), reduction="none")
    for actual, wanted in zip(found, expected, strict=True):
        assert_close(actual.cpu(), wanted, rtol=1e-4 if dtype is torch.float32 else TOLERANCES[dtype]["rtol"])


def test_labels_of_any_integers():
    scores, labels = torch.randn(3, 4), torch.rand(3, 4) < 0.5
    for dtype in (torch.uint8, torch.int64, torch.uint16, torch.uint32):
        assert zlpr_loss(scores, labels.to(dtype)) == zlpr_loss(scores, labels)
    with pytest.raises(ValueError, match="labels must be from 0 to 1, got 2"):
        zlpr_loss(scores, labels.int().mul(2).to(torch.uint16))
