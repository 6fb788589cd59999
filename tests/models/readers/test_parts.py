"""The layers of readers against their papers' equations; padding changes no result and no gradient."""

from __future__ import annotations

import pytest
import torch
from reader_checks import check_masks, states
from torch import nn

from pydlx.models.readers.attention import (
    AdditiveAttention,
    Coattention,
    DotAttention,
    SelfAlignment,
    WeightedSummary,
    attend,
    masked_softmax,
)
from pydlx.models.readers.fusion import SFU, Gate, GatedSum, Highway
from pydlx.models.readers.pointers import AnswerPointer, BilinearPointer, MemoryPointer, SpanScoring

LENGTHS, OTHERS = (6, 1, 4), (2, 3, 1)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# Attention


def test_a_softmax_is_exactly_zero_under_its_mask_and_where_nothing_is_left():
    scores = torch.tensor([[3.0, 500.0, 1.0], [1.0, 2.0, 3.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    found = masked_softmax(scores, mask)
    torch.testing.assert_close(found[0, [0, 2]], torch.tensor([3.0, 1.0]).softmax(0))
    assert found[0, 1] == 0
    assert not found[1].any()
    found[0, 0].backward()
    assert scores.grad.isfinite().all()
    assert not scores.grad[~mask].any()


@pytest.mark.parametrize("options", [{}, {"diagonal": True}, {"scaled": True}], ids=str)
def test_dot_attention_is_its_equation(options):
    part = DotAttention(3, 5, **options).double()
    if "diagonal" in options:
        nn.init.normal_(part.diagonal)
    (x, _), (y, mask), (values, _) = states(LENGTHS, 3), states(OTHERS, 3, 1), states(OTHERS, 2, 2)
    U = part.project.weight
    D = torch.diag(part.diagonal) if "diagonal" in options else torch.eye(5).double()
    factor = 5**-0.5 if "scaled" in options else 1.0
    scores = torch.stack([factor * (U @ x[0, 2]).relu() @ D @ (U @ y[0, j]).relu() for j in range(2)])
    close(part(x, y, mask, values)[0, 2], scores.softmax(0) @ values[0, :2])
    check_masks(part, lambda x, y, _, mask: part(x, y, mask), states(LENGTHS, 3), states(OTHERS, 3, 1))


def test_additive_attention_and_the_summary_are_their_equations():
    part = AdditiveAttention(3, 4, 5).double()
    y, mask = states(LENGTHS, 3)
    x = torch.randn(3, 4).double()
    found = part(x, part.keys(y))
    close(found[2, 1], part.score.weight[0] @ (part.keys(y[2, 1]) + part.query.weight @ x[2]).tanh())
    summary = WeightedSummary(3).double()
    close(summary(y, mask)[2], (y[2, :4] @ summary.score.weight[0]).softmax(0) @ y[2, :4])
    check_masks(summary, summary, states(LENGTHS, 3))
    check_masks(part, lambda y, mask: part(x[: len(y)] * 0 + 1, part.keys(y)), states(LENGTHS, 3))


def test_self_alignment_leaves_out_the_token_itself():
    part = SelfAlignment()
    c, mask = states(LENGTHS, 3)
    found = part(c, mask)
    others = [0, 1, 3]
    close(found[2, 2], (c[2, others] @ c[2, 2]).softmax(0) @ c[2, others])
    assert not found[1, 0].any()  # the only token
    check_masks(part, part, states(LENGTHS, 3))


def test_coattention_is_its_equations_with_sentinels_behind_the_last_tokens():
    part = Coattention(3).double()
    (x, x_mask), (y, y_mask) = states(LENGTHS, 3), states(OTHERS, 3, 1)
    found, mask = part(x, y, x_mask, y_mask)
    assert mask.sum(1).tolist() == [7, 2, 5]
    D = torch.cat([x[2, :4], part.passage_sentinel[None]])
    Q = torch.cat([y[2, :1], part.question_sentinel[None]]) @ part.project.weight.T
    Q = (Q + part.project.bias).tanh()
    L = D @ Q.T
    C_Q = L.softmax(0).T @ D
    C_D = L.softmax(1) @ torch.cat([Q, C_Q], 1)
    close(found[2, :5], torch.cat([D, C_D], 1))
    assert not found[2, 5:].any()
    check_masks(
        part,
        lambda x, y, x_mask, y_mask: part(x, y, x_mask, y_mask)[0][:, : x.shape[1]],
        states(LENGTHS, 3),
        states(OTHERS, 3, 1),
    )


# Fusion


def test_fusions_are_their_equations():
    r, f = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    both = torch.cat([r, f], -1)
    sfu, gate, total, highway = SFU(4, 4), Gate(4), GatedSum(4), Highway(4, 2)
    g = sfu.gate(both).sigmoid()
    torch.testing.assert_close(sfu(r, f), g * sfu.candidate(both).tanh() + (1 - g) * r)
    torch.testing.assert_close(gate(r), (r @ gate.gate.weight.T).sigmoid() * r)
    g = total.gate(both).sigmoid()
    torch.testing.assert_close(total(r, f), g * r + (1 - g) * f)
    x = r
    for layer in range(2):
        t = highway.gates[layer](x).sigmoid()
        x = t * highway.transforms[layer](x).relu() + (1 - t) * x
    torch.testing.assert_close(highway(r), x)


# Pointers

POINTERS = {
    "answer": lambda: AnswerPointer(3, 3, 5),
    "answer_lstm_both_ways": lambda: AnswerPointer(3, 3, 5, "lstm", both_ways=True),
    "bilinear": lambda: BilinearPointer(3, 3),
    "bilinear_gru": lambda: BilinearPointer(3, 3, update=True),
    "memory": lambda: MemoryPointer(3, 5),
}


@pytest.mark.parametrize("name", POINTERS)
def test_padding_changes_nothing_in_a_pointer(name):
    part = POINTERS[name]()
    check_masks(part, lambda x, mask: torch.stack(part(x, mask, x[:, 0]), -1), states(LENGTHS, 3))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_answer_pointer_reads_what_it_points_at(cell):
    part = AnswerPointer(3, 4, 5, cell, both_ways=True).double()
    h, mask = states((4,), 3)

    def point(which):
        attention, step = part.attention[which], part.cells[which]
        state = torch.zeros(1, 4).double()
        scores = []
        for _ in range(2):
            s = [attention.score((attention.keys(h[:, j]) + attention.query(state)).tanh()) for j in range(4)]
            scores.append(torch.cat(s, 1))
            read = (scores[-1].softmax(1)[:, :, None] * h).sum(1)
            state = step(read, state) if cell == "gru" else step(read, (state, state))[0]
        return scores

    start, end = point(0)
    end_first, start_last = point(1)
    found = part(h, mask)
    close(found[0], (start + start_last) / 2)
    close(found[1], (end + end_first) / 2)


def test_a_bilinear_pointer_goes_on_from_what_the_start_points_at():
    part = BilinearPointer(3, 4, update=True).double()
    h, mask = states((4,), 3)
    q = torch.randn(1, 4).double()
    start, end = part(h, mask, q)
    close(start[0], torch.stack([q[0] @ part.start.weight.T @ h[0, j] for j in range(4)]))
    q = part.cell(start.softmax(1) @ h[0], q)
    close(end[0], torch.stack([q[0] @ part.end.weight.T @ h[0, j] for j in range(4)]))


def test_a_memory_pointer_is_its_equations():
    part = MemoryPointer(3, 5, hops=2).double()
    c, mask = states((4,), 3)
    z = torch.randn(1, 3).double()

    def score(turn, z):
        return part.score[turn](torch.cat([c[0], z.expand(4, 3), c[0] * z], 1)).T

    z_s, wanted = z, ()
    for hop in range(2):
        s = score(2 * hop, z_s)
        z_e = part.fuse[2 * hop](z_s, s.softmax(1) @ c[0])
        e = score(2 * hop + 1, z_e)
        wanted = (s, e)
        if hop == 0:
            z_s = part.fuse[1](z_e, e.softmax(1) @ c[0])
    for a, b in zip(part(c, mask, z), wanted, strict=True):
        close(a, b)


def test_spans_are_scored_one_by_one():
    part = SpanScoring(3, 5, max_length=3)
    check_masks(part, part, states(LENGTHS, 3))
    h, mask = states(LENGTHS, 3)
    found = part(h, mask)
    assert found.shape == (3, 6, 3)
    for i in range(6):
        for k in range(3):
            if i + k < 4:
                pair = part.start(h[2, i]) + part.end(h[2, i + k])
                close(found[2, i, k], part.score(pair.relu())[0])
            else:
                assert found[2, i, k] == -torch.inf


def test_weighted_sums_are_of_tokens():
    values, mask = states(OTHERS, 3)
    scores = torch.randn(3, 2, 3).double()
    close(attend(scores, mask, values)[0, 1], scores[0, 1, :2].softmax(0) @ values[0, :2])
