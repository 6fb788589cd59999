"""DCN, FastQA and FastQAExt against their equations, token by token."""

from __future__ import annotations

import torch
from reader_checks import states, tokens
from small_readers import PASSAGES, QUESTIONS, reader

from pydlx.models.readers.dcn import DynamicDecoder, HighwayMaxout
from pydlx.models.readers.fastqa import CoattendedFusion, EndGivenStart, RunningFusion, WeightedWordInQuestion


def spread(module, std=0.5):
    torch.manual_seed(0)
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=std)
    return module


def test_highway_maxout_scores_one_token_after_another():
    part, (U, _) = spread(HighwayMaxout(3, 4, 5)), states((6, 4), 4)
    (h, _), (u_s, _), (u_e, _) = (states((1, 1), size, seed) for seed, size in ((1, 3), (2, 4), (3, 4)))
    h, u_s, u_e = h[:, 0], u_s[:, 0], u_e[:, 0]
    W1 = torch.cat([part.m1_of_u.weight, part.m1_of_r.weight], 1)
    found = part(part.m1_of_u(U), h, u_s, u_e)
    for b in range(2):
        r = (part.r.weight @ torch.cat([h[b], u_s[b], u_e[b]])).tanh()
        for t in range(6):
            m1 = (W1 @ torch.cat([U[b, t], r]) + part.m1_of_u.bias).view(5, 3).amax(0)
            m2 = (part.m2.weight @ m1 + part.m2.bias).view(5, 3).amax(0)
            score = (part.score.weight @ torch.cat([m1, m2]) + part.score.bias).max()
            torch.testing.assert_close(found[b, t], score, rtol=0, atol=1e-12)


def test_the_decoder_reads_the_span_that_it_found_last():
    part, (U, mask) = spread(DynamicDecoder(3, 4, 2, 6), 2.0), states((6, 4, 1), 4)
    for b, length in enumerate((6, 4, 1)):
        own, s, e, h = U[b, :length], 0, length - 1, (torch.zeros(1, 3).double(), torch.zeros(1, 3).double())
        spans = []
        for start, end in part.train()(U, mask):
            h = part.cell(torch.cat([own[s], own[e]])[None], h)
            for network, found in ((part.start, start), (part.end, end)):
                wanted = network(network.m1_of_u(own[None]), h[0], own[s : s + 1], own[e : e + 1])[0]
                torch.testing.assert_close(found[b, :length], wanted, rtol=0, atol=1e-12)
            s, e = int(start[b].argmax()), int(end[b].argmax())
            spans.append((s, e))
        # In inference the scores are those of the iteration that returned the same span as the one before.
        first = next((i for i in range(1, 6) if spans[i] == spans[i - 1]), 5)
        if spans[0] == (0, length - 1):
            first = 0
        wanted, found = part.train()(U, mask)[first], part.eval()(U, mask)[-1]
        for a, c in zip(wanted, found, strict=True):
            assert torch.equal(a[b], c[b])


def test_all_iterations_of_dcn_are_learned_and_the_last_answers():
    model = reader("dcn", iterations=3).train()
    model.fusion.dropout.probability = model.encoder.dropout.probability = 0.0
    text = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    start, end = torch.tensor([2, 0, 0]), torch.tensor([3, 2, 0])
    found = model.iterate(*text)
    assert len(found) == 3
    torch.testing.assert_close(model.loss(*text, start, end), sum(each.loss(start, end) for each in found))
    assert torch.equal(model(*text).start, found[-1].start)


def test_the_decoder_compiles_as_one_graph():
    part, text = spread(DynamicDecoder(3, 4, 2, 4)), states((6, 4, 1), 4)
    for mode in (part.train(), part.eval()):
        compiled = torch.compile(mode, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*text), part(*text))


def test_words_in_the_question_are_weighted():
    part, (p, p_mask), (q, q_mask) = spread(WeightedWordInQuestion(3)), states((4, 2), 3), states((2, 3), 3, 1)
    found = part(p, q, p_mask, q_mask)
    scores = torch.stack([torch.stack([part.v @ (q[0, i] * p[0, j]) for j in range(4)]) for i in range(2)])
    torch.testing.assert_close(found[0], scores.softmax(1).sum(0), rtol=0, atol=1e-12)


def test_fastqa_knows_which_words_the_question_holds():
    model = reader("fastqa", features=False).eval()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    question.words[0, 0], passage.words[0, 3], passage.words[0, 4], question.words[0, 1] = 7, 7, 1, 1  # 1 is unknown
    model(passage, question)
    assert seen[0][0, 3, 4] == 1
    assert seen[0][0, 4, 4] == 0
    assert (seen[1][0, :, 4:6] == 1).all()


def test_the_end_is_scored_given_each_start():
    part, (h, _), (z, _) = spread(EndGivenStart(3)), states((5, 5), 3), states((1, 1), 3, 1)
    given = torch.tensor([[2, 0], [4, 1]])
    found = part(h, z[:, 0], given)
    W = torch.cat([part.of_token.weight, *(x.weight for x in (part.of_question, part.of_start, part.of_product))], 1)
    for b in range(2):
        for k in range(2):
            h_s = h[b, given[b, k]]
            for t in range(5):
                x = torch.cat([h[b, t], h[b, t] * z[b, 0], z[b, 0], h_s, h[b, t] * h_s])
                wanted = part.outer.weight[0] @ (W @ x + part.of_token.bias).relu()
                torch.testing.assert_close(found[b, k, t], wanted, rtol=0, atol=1e-12)


def test_fastqa_follows_up_its_best_starts_and_learns_from_the_right_one():
    model = reader("fastqa", beam=2).eval()
    text = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    scores = model(*text)
    assert torch.equal(scores.given[0], scores.start[0].topk(2).indices)
    start, end = torch.tensor([2, 1, 0]), torch.tensor([3, 2, 0])
    told = model(*text, start[:, None])
    one = [
        told.start.log_softmax(1)[b, s] + told.end[b, 0].log_softmax(0)[e]
        for b, (s, e) in enumerate(zip(start, end, strict=True))
    ]
    torch.testing.assert_close(model.loss(*text, start, end), -sum(one) / 3)
    # A beam of one follows the best start only; a wider one may find a more probable span from another start.
    wider = reader("fastqa", beam=7).eval()
    assert (wider(*text).best(None, 1).score >= scores.best(None, 1).score - 1e-12).all()


def test_states_are_fused_with_what_they_attend_to():
    (x, mask), (y, other) = states((4, 3), 3), states((2, 3), 3, 1)
    intra, inter = spread(CoattendedFusion(3, other=True)), spread(CoattendedFusion(3))
    for part, memory, allowed in ((intra, x, mask), (inter, y, other)):
        found = part(x, memory, allowed)
        places = [k for k in range(int(allowed[0].sum())) if part is inter or k != 2]
        weights = torch.stack([part.v @ (x[0, 2] * memory[0, k]) for k in places]).softmax(0)
        read = weights @ memory[0, places]
        gate = part.fuse.gate(torch.cat([x[0, 2], read])).sigmoid()
        torch.testing.assert_close(found[0, 2], gate * x[0, 2] + (1 - gate) * read, rtol=0, atol=1e-12)


def test_states_are_fused_with_their_neighbours_from_both_sides():
    part, (x, mask) = spread(RunningFusion(3)), states((4, 2), 3)
    for b, length in ((0, 4), (1, 2)):
        sides = []
        for way in range(2):
            h, found = torch.zeros(3).double(), []
            for x_t in x[b, :length] if way == 0 else x[b, :length].flip(0):
                gate = (part.of_x[way](x_t) + h @ part.of_h[way]).sigmoid()
                h = gate * x_t + (1 - gate) * h
                found.append(h)
            sides.append(torch.stack(found if way == 0 else found[::-1]))
        wanted = part.fuse(*sides)
        torch.testing.assert_close(part(x, mask)[b, :length], wanted, rtol=0, atol=1e-12)
