"""RaSoR, DrQA, MPCM and Mnemonic Reader, and their layers, against their papers' equations."""

from __future__ import annotations

import re

import pytest
import torch
from reader_checks import CHARACTERS, FEATURES, WORDS, alone, check_masks, states, tokens
from small_readers import PASSAGES, QUESTIONS
from torch import nn
from torch.nn import functional as F

import pydlx
from pydlx.models.readers import SpanScores, WholeSpanScores
from pydlx.models.readers.matching import CosineFilter, MultiPerspectiveMatching
from pydlx.models.readers.pointers import FeedForwardPointer, SpanScoring


def reader(name, *, spread=0.5, **options):
    torch.manual_seed(0)
    model = pydlx.create_model(name, vocabulary_size=WORDS, word_dim=6, tune_partial=9, **options).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=spread)
    return model.eval()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def seen_by(module):
    """Records the arguments of a module's calls."""
    seen = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    return seen


def texts():
    return tokens(PASSAGES), tokens(QUESTIONS, seed=1)


# RaSoR


@pytest.mark.parametrize("max_length", [1, 3, 9])
def test_gradients_of_span_scores_are_right(max_length):
    part = SpanScoring(3, 4, max_length).double()
    h, mask = states((6, 1, 4), 3)

    def scores(*given):
        values = torch.func.functional_call(part, dict(zip(names, given[1:], strict=True)), (given[0], mask))
        return values[values > -torch.inf]

    names, weights = zip(*part.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(scores, (h.requires_grad_(), *weights))


def test_span_scores_keep_no_more_than_the_states():
    part = SpanScoring(8, 8, 30)
    h, mask = torch.randn(2, 50, 8, requires_grad=True), torch.ones(2, 50, dtype=torch.bool)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        part(h, mask)
    numbers = sum(x.numel() for x in kept if x.is_floating_point())
    assert 0 < numbers < 6 * h.numel()  # a thirtieth of (B, n, w, h), but for the mask of (B, n, w) flags


def test_span_scores_are_of_float32_under_autocast():
    part = SpanScoring(8, 8, 4)
    h, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        scores = part(h, mask)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, part(h, mask), rtol=0.02, atol=0.02)


def test_rasor_reads_words_beside_what_they_and_the_question_say():
    model = reader("rasor", hidden=4, max_length=3)
    passage, question = texts()
    given, spans = seen_by(model.passage_lstm), seen_by(model.spans)
    scores = model(passage, question)
    p, q = model.embed.words(passage.words)[0], model.embed.words(question.words)[0, :2]
    W, b = model.aligned.project.weight, model.aligned.project.bias
    q_align = ((p @ W.T + b).relu() @ (q @ W.T + b).relu().T).softmax(1) @ q
    states = model.question_lstm(q.unsqueeze(0), question.mask[:1, :2])[0]
    _, inner, _, w = model.independent.score
    q_indep = inner(states).relu().matmul(w.weight[0]).softmax(0) @ states
    close(given[0][0][0], torch.cat([p, q_indep.expand(7, -1), q_align], 1))
    h = model.passage_lstm(given[0][0], passage.mask)
    close(spans[0][0], h)
    close(scores.spans, model.spans(h, passage.mask))


def logistic(scores, null, start, end):
    """Returns, for one example, -log of the probability that all its answers are right."""
    total = 0.0
    for i in range(scores.shape[0]):
        for k in range(scores.shape[1]):
            sign = 1 if (i, i + k) == (start, end) else -1
            total -= float(F.logsigmoid(sign * scores[i, k]))  # -inf, not a span, contributes 0
    return total - float(F.logsigmoid(null if start < 0 else -null))


def test_spans_are_learned_one_by_one():
    model = reader("rasor", hidden=4, max_length=3, objective="span_binary", no_answer=True)
    passage, question = texts()
    start, end = torch.tensor([2, 0, -1]), torch.tensor([3, 2, -1])
    with torch.no_grad():
        scores = model(passage, question)
    wanted = [logistic(scores.spans[b], scores.null[b].detach(), int(start[b]), int(end[b])) for b in range(3)]
    assert model.loss(passage, question, start, end).item() == pytest.approx(sum(wanted) / 3)
    end[0] = 5  # there are four tokens, so this one has no score
    assert model.loss(passage, question, start, end).item() == pytest.approx(sum(wanted[1:]) / 2)
    end[0] = 1
    with pytest.raises(ValueError, match="RaSoR: end must be start or a later token, or -1 as start is"):
        model.loss(passage, question, start, end)
    model = reader("rasor", hidden=4, objective="span_binary")
    with pytest.raises(
        ValueError, match="RaSoR: start must be a token of the passage, got -1, which needs no_answer=True"
    ):
        model.loss(passage, question, start, end)


def test_rasor_may_score_the_ends_apart():
    model = reader("rasor", hidden=4, objective="endpoints")
    passage, question = texts()
    seen = seen_by(model.ends)
    scores = model(passage, question)
    assert isinstance(scores, SpanScores)
    for side, network in zip(scores[:2], (model.ends.start, model.ends.end), strict=True):
        _, inner, _, outer = network
        close(side[0], inner(seen[0][0][0]).relu() @ outer.weight[0])
    assert model.scores_type is SpanScores
    assert type(reader("rasor", hidden=4)(passage, question)) is WholeSpanScores is reader("rasor").scores_type


def test_rasor_starts_small():
    model = pydlx.create_model("rasor", vocabulary_size=50, hidden=8, no_answer=True, tune_partial=None)
    for name, weights in model.named_parameters():
        largest = float(weights.abs().max())
        if name.startswith("embed."):
            assert largest > 0.05
        else:
            assert largest <= 0.005, name
    other = pydlx.create_model("rasor", vocabulary_size=50, hidden=8, initial_range=None)
    assert float(other.passage_lstm.forwards[0].weight_hh_l0.abs().max()) > 0.1


# DrQA


def test_drqa_reads_words_beside_the_question_they_are_like():
    model = reader("drqa", hidden=4, features=FEATURES)
    passage, question = texts()
    given, asked, pointed = (seen_by(part) for part in (model.passage_lstm, model.question_lstm, model.pointer))
    scores = model(passage, question)
    p, q = model.embed.words(passage.words)[0], model.embed.words(question.words)[0, :2]
    W, b = model.aligned.project.weight, model.aligned.project.bias
    f_align = ((p @ W.T + b).relu() @ (q @ W.T + b).relu().T).softmax(1) @ q
    close(given[0][0][0], torch.cat([p, passage.features[0], f_align], 1))
    states = model.question_lstm(asked[0][0], question.mask)[0, :2]
    q = (states @ model.summary.score.weight[0]).softmax(0) @ states
    close(pointed[0][2][0], q)
    p = model.passage_lstm(given[0][0], passage.mask)[0]
    close(scores.start[0], p @ model.pointer.start.weight @ q)
    close(scores.end[0], p @ model.pointer.end.weight @ q)


# MPCM


def test_words_are_filtered_by_the_word_of_the_question_that_is_most_like_them():
    p, q = torch.randn(2, 3, 4).double(), torch.randn(2, 2, 4).double()
    p[0, 1] = 0
    mask = torch.tensor([[True, True], [True, False]])
    r = CosineFilter()(p, q, mask)
    assert r.shape == (2, 3, 1)
    for j in range(3):
        both = F.cosine_similarity(p[0, j].expand(2, -1), q[0], dim=1)
        close(r[0, j, 0], both.max() if j != 1 else torch.tensor(0.0).double())
        close(r[1, j, 0], F.cosine_similarity(p[1, j], q[1, 0], dim=0))
    part = CosineFilter()
    check_masks(part, lambda p, q, _, mask: part(p, q, mask), states(PASSAGES, 3), states(QUESTIONS, 3, 1))


@pytest.mark.parametrize("share", [False, True])
def test_multi_perspective_matching_is_its_equations(share):
    part = MultiPerspectiveMatching(3, 4, share=share).double()
    (x, _), (y, mask) = states(PASSAGES, 6), states(QUESTIONS, 6, 1)
    found = part(x, y, mask)
    assert found.shape == (3, 7, part.output) == (3, 7, 24)

    def m(number, a, b):
        W = part.weights[0 if share else number]
        return torch.stack([F.cosine_similarity(W[k] * a, W[k] * b, dim=0) for k in range(4)])

    wanted = []
    for half in range(2):
        at = slice(3 * half, 3 * half + 3)
        h, others = x[0, 2, at], y[0, :2, at]
        final = others[-1] if half == 0 else others[0]
        every = [torch.stack([m(3 * half + way, h, other) for other in others]) for way in (1, 2)]
        wanted += [m(3 * half, h, final), every[0].amax(0), every[1].mean(0)]
    close(found[0, 2], torch.cat(wanted))
    check_masks(part, lambda x, y, _, mask: part(x, y, mask), states(PASSAGES, 6), states(QUESTIONS, 6, 1))


@pytest.mark.parametrize("filter_characters", [False, True])
def test_mpcm_makes_words_smaller_that_the_question_does_not_know(filter_characters):
    options = {"character_count": CHARACTERS, "character_hidden": 3, "filter_characters": filter_characters}
    model = reader("mpcm", hidden=4, perspectives=3, features=FEATURES, **options)
    passage, question = texts()
    context, matching, aggregation, pointer = (
        seen_by(part) for part in (model.context, model.matching, model.aggregation, model.pointer)
    )
    model(passage, question)
    p, q = (torch.cat(model.embed.vectors(text), -1)[0] for text in (passage, question))
    compared = p.shape[1] if filter_characters else 6
    r = torch.stack([F.cosine_similarity(word[:compared].expand(2, -1), q[:2, :compared], dim=1).max() for word in p])
    close(context[0][0][0], torch.cat([r.unsqueeze(1) * p, passage.features[0]], 1))
    close(context[1][0][0], torch.cat([q, question.features[0]], 1))
    h_p, h_q = (model.context(given[0], text.mask) for given, text in zip(context[:2], texts(), strict=True))
    assert torch.equal(matching[0][0], h_p)
    assert torch.equal(matching[0][1], h_q)
    m = model.matching(h_p, h_q, question.mask)
    assert torch.equal(aggregation[0][0], m)
    assert torch.equal(pointer[0][0], model.aggregation(m, passage.mask))


# Mnemonic Reader


def test_mnemonic_reader_aligns_in_hops():
    model = reader("mnemonic_reader", hidden=4)
    passage, question = (alone(text, 0) for text in texts())
    seen = seen_by(model.pointer)
    model(passage, question)
    c, q = (model.encode(text) for text in (passage, question))
    for hop in model.aligners:
        q_tilde = (c @ q.mT).softmax(-1) @ q
        c_bar = hop.fuse_question(c, torch.cat([q_tilde, c * q_tilde, c - q_tilde], -1))
        scores = (c_bar @ c_bar.mT).masked_fill(torch.eye(7, dtype=torch.bool), -torch.inf)
        c_tilde = scores.softmax(-1) @ c_bar
        c_hat = hop.fuse_passage(c_bar, torch.cat([c_tilde, c_bar * c_tilde, c_bar - c_tilde], -1))
        c = hop.lstm(c_hat, passage.mask)
    close(seen[0][0], c)
    close(seen[0][2][0], torch.cat([q[0, 1, :4], q[0, 0, 4:]]))  # the last state forwards, the first backwards


# All


def test_a_feed_forward_pointer_has_a_network_for_each_end():
    part = FeedForwardPointer(3, 5).double()
    h, _ = states(PASSAGES, 3)
    for side, network in zip(part(h), (part.start, part.end), strict=True):
        close(side[0, 2], network[3].weight[0] @ (network[1].weight @ h[0, 2] + network[1].bias).relu())


def test_options_impossible_for_these_readers_are_refused():
    for name, wrong, sentence in (
        ("rasor", {"objective": "x"}, "RaSoR: objective must be one of 'span', 'span_binary', 'endpoints', got 'x'"),
        ("rasor", {"max_length": 0}, "SpanScoring: max_length must be positive, got 0"),
        ("mpcm", {"perspectives": 0}, "MultiPerspectiveMatching: perspectives must be positive, got 0"),
        ("mnemonic_reader", {"hops": 0}, "MnemonicReader: hops must be positive, got 0"),
        ("drqa", {"layers": 0}, "RNN: layers must be positive, got 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            pydlx.create_model(name, **{"vocabulary_size": 9, **wrong})
    with pytest.raises(TypeError, match="MPCM: filter_characters must be"):
        pydlx.create_model("mpcm", vocabulary_size=9, filter_characters=2)
