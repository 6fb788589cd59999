"""The span heads against their formulas, computed for one pair of tokens at a time."""

from __future__ import annotations

import math

import pytest
import torch
from op_checks import assert_close
from torch.nn import functional as F

from pydlx.nn import EfficientGlobalPointer, GlobalPointer
from pydlx.ops import zlpr_loss

SIZE, TYPES, LENGTH = 5, 3, 7
SPANS = torch.tensor([[0, 0, 1, 4], [0, 0, 2, 3], [1, 2, 0, 0], [0, 1, 1, 4]])
HEADS = {
    "full": lambda **options: GlobalPointer(SIZE, TYPES, 4, **options),
    "even and odd": lambda **options: EfficientGlobalPointer(SIZE, TYPES, 4, **options),
    "halves": lambda **options: EfficientGlobalPointer(SIZE, TYPES, 4, split="halves", **options),
}


def make(kind, **options):
    torch.manual_seed(0)
    return HEADS[kind](**options).double()


def draw():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(2, LENGTH, SIZE, dtype=torch.float64, generator=generator)
    return hidden, torch.arange(LENGTH) < torch.tensor([[LENGTH], [4]])


def turned(vector, position):
    """Rotate one vector, pair by pair."""
    pairs = []
    for i in range(0, len(vector), 2):
        angle = position * 10000 ** (-i / len(vector))
        x, y = vector[i], vector[i + 1]
        pairs += [x * math.cos(angle) - y * math.sin(angle), y * math.cos(angle) + x * math.sin(angle)]
    return torch.stack(pairs)


def score(head, kind, tokens, c, m, n, rotary):
    """The score of the span of type c from token m to token n of one text."""
    projected = F.linear(tokens, head.projection.weight, head.projection.bias)
    bias = 0.0
    if kind == "full":
        first = projected[m, c * 8 : c * 8 + 4]
        last = projected[n, c * 8 + 4 : c * 8 + 8]
    else:
        first, last = (
            (projected[m, ::2], projected[n, 1::2]) if kind != "halves" else (projected[m, :4], projected[n, 4:])
        )
        numbers = F.linear(projected, head.bias.weight, head.bias.bias) / 2
        bias = numbers[m, 2 * c + 1] + numbers[n, 2 * c]
    if rotary:
        first, last = turned(first, m), turned(last, n)
    return first @ last / 2 + bias  # the root of 4


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("triangle", [True, False])
@pytest.mark.parametrize("kind", HEADS)
def test_scores(kind, triangle, rotary):
    head, (hidden, mask) = make(kind, rotary=rotary, triangle=triangle), draw()
    found = head(hidden, mask)
    assert found.shape == (2, TYPES, LENGTH, LENGTH)
    expected = torch.full_like(found, -torch.inf)
    for b, c, m, n in torch.ones(found.shape).nonzero().tolist():
        if mask[b, m] and mask[b, n] and (m <= n or not triangle):
            expected[b, c, m, n] = score(head, kind, hidden[b], c, m, n, rotary)
    assert_close(found, expected)


@pytest.mark.parametrize("triangle", [True, False])
@pytest.mark.parametrize("kind", HEADS)
def test_loss_is_that_of_the_scores(kind, triangle):
    head, (hidden, mask) = make(kind, triangle=triangle), draw()
    gold = torch.zeros(2, TYPES, LENGTH, LENGTH, dtype=torch.bool)
    gold[tuple(SPANS.unbind(1))] = True
    for given in (mask, None):
        loss, expected = head.loss(hidden, SPANS, given), zlpr_loss(head(hidden, given), gold, dim=(-2, -1))
        assert_close(loss, expected)
        points = list(head.parameters())
        for actual, wanted in zip(
            torch.autograd.grad(loss, points), torch.autograd.grad(expected, points), strict=True
        ):
            assert_close(actual, wanted)


def test_weights_that_a_type_takes():
    def weights(head):
        return sum(x.numel() for name, x in head.named_parameters() if name.endswith("weight"))

    sizes = (96, 64)
    assert weights(GlobalPointer(96, 5)) - weights(GlobalPointer(96, 4)) == 2 * math.prod(sizes)
    assert weights(EfficientGlobalPointer(96, 5)) - weights(EfficientGlobalPointer(96, 4)) == 4 * sizes[1]


@pytest.mark.parametrize("kind", HEADS)
def test_training_finds_nested_spans(kind):
    head, (hidden, mask) = make(kind), draw()
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss = head.loss(hidden, SPANS, mask)
        loss.backward()
        optimiser.step()
    assert loss < 0.05
    assert {*map(tuple, (head(hidden, mask) > 0).nonzero().tolist())} == {*map(tuple, SPANS.tolist())}


@pytest.mark.parametrize("kind", HEADS)
def test_autocast(kind):
    """Projections in half precision, the loss summed in float32."""
    head, (hidden, mask) = make(kind).float(), draw()
    expected = head.loss(hidden.float(), SPANS, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = head.loss(hidden.float(), SPANS, mask)
        scores = head(hidden.float(), mask)
    assert loss.dtype is torch.float32
    assert_close(loss, expected, rtol=2e-2)
    assert (scores[:, :, 0, 0] > -torch.inf).all()


@pytest.mark.parametrize("kind", HEADS)
def test_one_node_for_the_scores_of_a_traced_head(kind):
    head, (hidden, mask) = make(kind), draw()
    graph = torch.fx.symbolic_trace(head)
    assert_close(graph(hidden, mask), head(hidden, mask))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GlobalPointer(4, 0), ValueError, "GlobalPointer: types must be positive, got 0"),
        (lambda: GlobalPointer(4, 2, 5), ValueError, "GlobalPointer: head_size must be even .* got 5"),
        (lambda: GlobalPointer(4, 2, 5, rotary=False)(torch.rand(1, 2, 3)), ValueError, r"hidden .* \(B, L, 4\), got"),
        (lambda: EfficientGlobalPointer(4, 2, split="odd"), ValueError, "split must be one of 'even_odd', 'halves'"),
        (lambda: GlobalPointer(4, 2)(torch.ones(1, 2, 4).int()), TypeError, "hidden must be a floating-point tensor"),
        (lambda: GlobalPointer(4, 2)(torch.rand(1, 2, 4), torch.ones(1, 2)), TypeError, "mask must be a bool tensor"),
        (
            lambda: GlobalPointer(4, 2)(torch.rand(1, 2, 4), torch.ones(1, 3, dtype=torch.bool)),
            ValueError,
            r"GlobalPointer: mask must have shape \(1, 2\), got \(1, 3\)",
        ),
        (
            lambda: EfficientGlobalPointer(4, 2).loss(torch.rand(1, 2, 4), torch.tensor([[0, 2, 0, 0]])),
            ValueError,
            "spans must lie within 1 items, 2 types and 2 tokens",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("kind", HEADS)
def test_half_precision_holds_scores_whose_products_it_does_not(kind):
    head = make(kind).half()
    with torch.no_grad():
        head.projection.weight.zero_()
        head.projection.bias.fill_(150.0)
    scores = head(torch.zeros(1, 3, SIZE, dtype=torch.float16), torch.ones(1, 3, dtype=torch.bool))
    assert scores.triu().isfinite().all()  # products of 4 numbers are 90,000, scores 45,000


def test_what_it_was_built_with_is_shown():
    assert "size=8, types=3, head_size=4, rotary=False, triangle=True\n" in repr(GlobalPointer(8, 3, 4, rotary=False))
