"""The three kinds of scores: probabilities of all spans sum to one, and loss and decoding use the same ones."""

from __future__ import annotations

import math

import pytest
import torch

from pydlx.models.readers import ConditionalScores, SpanScores, WholeSpanScores, decode_answers

LENGTHS, N, WIDTH = (5, 3, 1), 5, 3


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def scores_of(kind, null):
    """Returns scores of three passages, and log p of all their spans as {(first, last): log p}, and of no answer."""
    real = torch.arange(N) < torch.tensor(LENGTHS).unsqueeze(1)
    start, end = drawn(3, N).masked_fill(~real, -torch.inf), drawn(3, N, 1)[..., 0].masked_fill(~real, -torch.inf)
    none = drawn(3, 2 if kind is SpanScores else 1) if null else None
    if kind is SpanScores:
        scores = SpanScores(start, end, none)
        spans = [{(i, j): start[b, i] + end[b, j] for i in range(n) for j in range(n)} for b, n in enumerate(LENGTHS)]
        spans = [
            {**of, **({(i, -1): start[b, i] + none[b, 1] for i in range(n)} if null else {})}
            for b, (of, n) in enumerate(zip(spans, LENGTHS, strict=True))
        ]
        spans = [
            {**of, **({(-1, j): none[b, 0] + end[b, j] for j in range(n)} if null else {})}
            for b, (of, n) in enumerate(zip(spans, LENGTHS, strict=True))
        ]
    elif kind is WholeSpanScores:
        ends = torch.arange(N).unsqueeze(1) + torch.arange(WIDTH)
        inside = ends.expand(3, N, WIDTH) < torch.tensor(LENGTHS)[:, None, None]
        scores = WholeSpanScores(drawn(3, N, WIDTH).masked_fill(~inside, -torch.inf), none)
        spans = [
            {(i, i + k): scores.spans[b, i, k] for i in range(n) for k in range(WIDTH) if i + k < n}
            for b, n in enumerate(LENGTHS)
        ]
    else:
        given = torch.arange(N).expand(3, N).flip(1)
        behind = (torch.arange(N) >= given.unsqueeze(2)) & real.unsqueeze(1)
        ends = drawn(3, N, N).masked_fill(~behind, -torch.inf)
        ends = torch.where(behind.any(2, keepdim=True), ends, 0.0)  # starts in padding, which are never used
        scores = ConditionalScores(start, given, ends, none)
        likely = {(b, int(s)): ends[b, k].log_softmax(0) for b in range(3) for k, s in enumerate(given[b])}
        spans = [
            {(i, j): start[b, i] + likely[b, i][j] for i in range(n) for j in range(i, n)}
            for b, n in enumerate(LENGTHS)
        ]
    for b, of in enumerate(spans):
        if null:
            of[-1, -1] = none[b].sum()
        total = torch.stack([*of.values()]).logsumexp(0)
        spans[b] = {span: float(score - total) for span, score in of.items()}
    return scores, spans


KINDS = [SpanScores, WholeSpanScores, ConditionalScores]


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_spans_by_falling_probability(kind, null):
    scores, spans = scores_of(kind, null)
    for length in (None, 2):
        for found, of in zip(decode_answers(scores, length, 30), spans, strict=True):
            wanted = {
                span: p for span, p in of.items() if 0 <= span[0] <= span[1] and span[1] - span[0] < (length or N)
            }
            assert {(a.start, a.end): math.log(a.probability) for a in found.spans} == pytest.approx(wanted)
            assert [a.probability for a in found.spans] == sorted((a.probability for a in found.spans), reverse=True)
            assert found.null_probability == pytest.approx(math.exp(of[-1, -1]) if null else 0.0)


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_of_minus_log_p(kind, null):
    scores, spans = scores_of(kind, null)
    targets = [(1, 2), (-1, -1) if null else (0, 1), (0, 0)]
    if kind is ConditionalScores:  # the right start is the first that is followed up
        order = torch.tensor([[N - 1 - max(start, 0)] for start, _ in targets])
        end = scores.end.gather(1, order.unsqueeze(2).expand(3, 1, N))
        scores = scores._replace(given=scores.given.gather(1, order), end=end)
    wanted = -sum(of[target] for of, target in zip(spans, targets, strict=True)) / 3
    assert float(scores.loss(*torch.tensor(targets).T)) == pytest.approx(wanted)


def test_spans_that_have_no_score_do_not_count():
    scores, spans = scores_of(WholeSpanScores, False)
    loss = scores.loss(torch.tensor([0, 0, 0]), torch.tensor([3, 1, 0]))
    assert float(loss) == pytest.approx(-(spans[1][0, 1] + spans[2][0, 0]) / 2)
    assert float(scores.loss(torch.zeros(3, dtype=torch.int64), torch.full((3,), 4))) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_have_a_score_each_and_padding_none(kind):
    scores, _ = scores_of(kind, False)
    places = scores.token_scores()
    assert places.shape == (3, N)
    assert torch.equal(places > -torch.inf, torch.arange(N) < torch.tensor(LENGTHS).unsqueeze(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "count"), [(0, 1), (-1, 1), (3, 0), (3, -2), (1.5, 1), (3, 1.0)])
def test_impossible_requests_are_refused(kind, length, count):
    scores, _ = scores_of(kind, False)
    with pytest.raises((ValueError, TypeError), match=r"(max_length|top_k) must be"):
        decode_answers(scores, length, count)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_16_bits_are_of_float32(kind):
    scores, _ = scores_of(kind, True)
    first = torch.zeros(3, dtype=torch.int64)
    if kind is ConditionalScores:
        scores = scores._replace(given=first.unsqueeze(1), end=scores.end[:, -1:])
    small = kind(*(part.bfloat16() if part.is_floating_point() else part for part in scores))
    loss = small.loss(first, first)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, small.upcast().loss(first, first))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_16_bits_are_widened(kind):
    scores, _ = scores_of(kind, True)
    small = kind(*(part.bfloat16() if part.is_floating_point() else part for part in scores))
    assert all(part.dtype in (torch.float32, torch.int64) for part in small.upcast())
