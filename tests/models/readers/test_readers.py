"""All readers: padding changes nothing, options have their effect, parameter counts are the papers'."""

from __future__ import annotations

import math
import re

import pytest
import torch
from reader_checks import alone, states, tokens
from small_readers import END, PASSAGES, QUESTIONS, SMALL, START, reader

import pydlx
from pydlx.models import load_model, save_model
from pydlx.models.readers import ConditionalScores, SpanScores, decode_answers
from pydlx.models.readers.r_net import StaticMatching

CASES = [(name, options) for name, (_, choices) in SMALL.items() for options in choices]
IDS = ["-".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options in CASES]


def by_token(scores):
    """Returns the token scores (B, n, ...); of end scores given a start, those given the best start."""
    if isinstance(scores, ConditionalScores):
        return [scores.start, scores.end[:, 0]]
    return [part for name, part in scores._asdict().items() if name != "null"]


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_padded_batch_gives_scores_and_gradients_of_its_examples(name, options):
    model = reader(name, no_answer=True, **options).eval()
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    scores = model(passage, question)
    parameters = list(model.parameters())
    padded = torch.autograd.grad(3 * model.loss(passage, question, START, END), parameters)
    single = [torch.zeros_like(x) for x in parameters]
    for index, length in enumerate(PASSAGES):
        one = model(alone(passage, index), alone(question, index))
        for together, apart in zip(by_token(scores), by_token(one), strict=True):
            torch.testing.assert_close(together[index, :length], apart[0, :length], rtol=0, atol=1e-10)
            assert (together[index, length:] == -torch.inf).all()
        spans = [part.best(None, 50) for part in (scores, one)]
        for together, apart in (
            (scores.log_partition(), one.log_partition()),
            (scores.no_answer(), one.no_answer()),
            *zip(*spans, strict=True),
        ):
            torch.testing.assert_close(together[index], apart[0], rtol=0, atol=1e-10)
        texts = alone(passage, index), alone(question, index)
        loss = model.loss(*texts, START[index : index + 1], END[index : index + 1])
        for total, gradient in zip(single, torch.autograd.grad(loss, parameters), strict=True):
            total += gradient
    for (parameter, _), a, b in zip(model.named_parameters(), padded, single, strict=True):
        torch.testing.assert_close(
            a, b, rtol=0, atol=1e-10, msg=lambda text, parameter=parameter: f"{parameter}: {text}"
        )
    # Everything is learned.
    still = {parameter for (parameter, _), a in zip(model.named_parameters(), padded, strict=True) if not a.any()}
    if name == "match_lstm" or "iterations" in options:  # initialised to zero, and only one step was taken
        still = {parameter for parameter in still if not parameter.endswith("weight_hh")}
    assert not still, still


def lstm(inputs: int, hidden: int) -> int:
    return 4 * hidden * (inputs + hidden + 2)


def gru(inputs: int, hidden: int) -> int:
    return 3 * hidden * (inputs + hidden + 2)


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def block(convolutions: int, width: int) -> int:
    """QANet's, of size 128."""
    separable = 128 * width + linear(128, 128)
    attention, feed_forward = 4 * linear(128, 128), 2 * linear(128, 128)
    return convolutions * separable + attention + feed_forward + (convolutions + 2) * 2 * 128


FASTQA = (
    (50 * 20 + linear(5 * 20, 300))
    + 600 * 300
    + 2 * linear(300, 300)
    + 300  # v of wiq_w
    + 2 * lstm(302, 300)
    + 2 * 600 * 300
    + 300
    + (linear(900, 300) + 300)
    + (linear(1500, 300) + 300)
)

# Sizes of the papers, with 50 distinct characters where used, and FusionNet's 24 features. Word vectors are fixed,
# except FusionNet's 1,000 most frequent. PyTorch's LSTM and GRU cells have two biases.
SIZES = {
    "match_lstm": (
        {},
        2 * lstm(300, 150)
        + (3 * 150 * 150 + 150 + 150)  # W^q, W^p, W^r, b^p, w
        + 2 * lstm(300, 150)
        + (300 * 150 + 150 * 150 + 150 + 150)  # V, W^a, b^a, v
        + lstm(300, 150),
    ),
    "dcn": (
        {},
        lstm(300, 200)
        + (linear(200, 200) + 2 * 200)  # Q' and the sentinels
        + 2 * lstm(600, 200)
        + lstm(800, 200)
        + 2 * (1000 * 200 + linear(600, 16 * 200) + linear(200, 16 * 200) + linear(400, 16)),
    ),
    "fastqa": ({"character_count": 50}, FASTQA),
    "fastqa_ext": (
        {"character_count": 50},
        FASTQA + 2 * (300 + linear(600, 300)) + 2 * linear(600, 300) + linear(600, 300),
    ),
    "bidaf": (
        {"character_count": 50},
        (50 * 16 + linear(5 * 16, 100))
        + 4 * linear(200, 200)
        + 2 * lstm(200, 100)
        + 3 * 200
        + 2 * (lstm(800, 100) + lstm(200, 100))
        + 2 * lstm(1400, 100)
        + 2 * linear(1000, 1),
    ),
    "r_net": (
        {"character_count": 50},
        (50 * 8 + 2 * gru(8, 100))
        + 2 * (gru(500, 75) + 2 * gru(150, 75))
        + 2 * (2 * 450 * 75 + 75 * 75 + 2 * 75 + 900 * 900 + gru(900, 75))
        + (2 * 150 * 75 + 2 * 75 + 2 * (300 * 300 + gru(300, 75)))
        + (75 + linear(450, 75) + 75 * 75 + 75)
        + (linear(150, 75) + 450 * 75 + 75 + gru(150, 450)),
    ),
    "qanet": (
        {"character_count": 50},
        (50 * 200 + linear(5 * 200, 200))
        + linear(500, 128)
        + 4 * linear(128, 128)
        + block(4, 7)
        + 3 * 128
        + linear(512, 128)
        + 7 * block(2, 5)
        + 2 * linear(256, 1),
    ),
    "fusionnet": (
        {"features": 24},
        1000 * 300
        + 300 * 300
        + 2 * (lstm(624, 125) + lstm(250, 125) + lstm(300, 125) + lstm(250, 125) + lstm(500, 125))
        + 3 * (800 + 1) * 250
        + 2 * lstm(1250, 125)
        + (1800 + 1) * 250
        + 2 * lstm(500, 125)
        + 250
        + (2 * 250 * 250 + gru(250, 250)),
    ),
    "rasor": (
        {},
        linear(300, 100)
        + 2 * (lstm(300, 100) + lstm(200, 100))
        + (linear(200, 100) + 100)
        + 2 * (lstm(300 + 200 + 300, 100) + lstm(200, 100))
        + (linear(400, 100) + 100),
    ),
    "drqa": (
        {"features": 24},
        1000 * 300
        + linear(300, 300)
        + 2 * (lstm(624, 128) + lstm(300, 128) + 4 * lstm(256, 128))
        + 768
        + 2 * 768 * 768,
    ),
    "mpcm": (
        {"character_count": 50},
        (50 * 20 + lstm(20, 50))
        + 2 * lstm(350, 100)
        + 6 * 50 * 100
        + 2 * lstm(300, 100)
        + 2 * (linear(200, 100) + 100),
    ),
    "mnemonic_reader": (
        {"character_count": 50},
        (50 * 50 + 2 * lstm(50, 50))
        + 2 * lstm(400, 100)
        + 2 * (4 * linear(800, 200) + 2 * lstm(200, 100))
        + 4 * (linear(600, 100) + linear(100, 1))
        + 3 * 2 * linear(400, 200),
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_readers_have_as_many_parameters_as_their_papers(name):
    options, wanted = SIZES[name]
    model = pydlx.create_model(name, vocabulary_size=1100, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == wanted


def seen_by(module):
    """Returns a list to which the arguments of a module's calls are appended."""
    seen = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


def similarity(weight, c, q):
    return torch.stack([torch.stack([weight @ torch.cat([x, y, x * y]) for y in q]) for x in c])


def test_bidaf_attends_both_ways():
    model = reader("bidaf").eval()
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    seen = seen_by(model.modeling)
    model(passage, question)
    H, U = model.encode(passage)[0], model.encode(question)[0, :2]
    S = similarity(model.similarity.weight, H, U)
    H_tilde = (S.amax(1).softmax(0) @ H).expand_as(H)
    U_tilde = S.softmax(1) @ U
    torch.testing.assert_close(seen[0][0], torch.cat([H, U_tilde, H * U_tilde, H * H_tilde], 1), rtol=0, atol=1e-10)


def test_qanet_attends_both_ways():
    model = reader("qanet").eval()
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    seen = seen_by(model.resize)
    model(passage, question)
    C, Q = model.encode(passage)[0], model.encode(question)[0, :2]
    S = similarity(model.similarity.weight, C, Q)
    A, B = S.softmax(1) @ Q, (S.softmax(1) @ S.softmax(0).T) @ C
    torch.testing.assert_close(seen[0][0], torch.cat([C, A, C * A, C * B], 1), rtol=0, atol=1e-10)


def test_qanet_applies_one_encoder_three_times():
    model = reader("qanet").eval()
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    start, end, resized = seen_by(model.start), seen_by(model.end), []
    model.resize.register_forward_hook(lambda *given: resized.append(given[-1]))
    model(passage, question)
    M = [resized[0]]
    for _ in range(3):
        M.append(model.model(M[-1], passage.mask))
    torch.testing.assert_close(start[0], torch.cat([M[1], M[2]], -1), rtol=0, atol=1e-10)
    torch.testing.assert_close(end[0], torch.cat([M[1], M[3]], -1), rtol=0, atol=1e-10)


def test_fusionnet_fuses_by_the_history_of_words():
    model = reader("fusionnet", characters=False, features=False).eval()
    passage, question = (alone(tokens(lengths, seed=seed), 0) for lengths, seed in ((PASSAGES, 0), (QUESTIONS, 1)))
    fused, context, pointer = (seen_by(part) for part in (model.fused, model.context, model.pointer))
    model(passage, question)
    C, Q = passage.mask, question.mask

    def attention(part, x, y, values):
        left, right = (side @ part.project.weight.T for side in (x, y))
        return (left.relu() @ torch.diag(part.diagonal) @ right.relu().mT).softmax(-1) @ values

    g_C, g_Q = model.embed.words(passage.words), model.embed.words(question.words)
    word = torch.cat([g_C, model.word_fusion(g_C, g_Q, Q)], -1)
    low_C, low_Q = model.passage_low(word, C), model.question_low(g_Q, Q)
    high_C, high_Q = model.passage_high(low_C, C), model.question_high(low_Q, Q)
    U_Q = model.understanding(torch.cat([low_Q, high_Q], -1), Q)
    HoW_C, HoW_Q = torch.cat([g_C, low_C, high_C], -1), torch.cat([g_Q, low_Q, high_Q], -1)
    found = [
        attention(part, HoW_C, HoW_Q, values)
        for part, values in ((model.fuse_low, low_Q), (model.fuse_high, high_Q), (model.fuse_understanding, U_Q))
    ]
    torch.testing.assert_close(fused[0], torch.cat([low_C, high_C, *found], -1), rtol=0, atol=1e-10)
    v = model.fused(fused[0], C)
    HoW = torch.cat([HoW_C, *found, v], -1)
    wanted = torch.cat([v, attention(model.self_boost, HoW, HoW, v)], -1)
    torch.testing.assert_close(context[0], wanted, rtol=0, atol=1e-10)
    torch.testing.assert_close(pointer[0], model.context(wanted, C), rtol=0, atol=1e-10)


@pytest.mark.parametrize("attention", ["dynamic", "static"])
def test_r_net_matches_the_passage_with_the_question_then_with_itself(attention):
    model = reader("r_net", attention=attention).eval()
    given, found = {}, {}
    for name in ("encoder", "question_matching", "self_matching", "pointer"):
        part = model.get_submodule(name)
        part.register_forward_pre_hook(lambda _, inputs, name=name: given.setdefault(name, []).append(inputs))
        part.register_forward_hook(lambda _, inputs, out, name=name: found.setdefault(name, []).append(out))
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    model(passage, question)
    u_P, u_Q = found["encoder"]
    v, h = found["question_matching"][0], found["self_matching"][0]
    wanted = {
        "question_matching": (u_P, u_Q, passage.mask, question.mask),
        "self_matching": (v, v, *[passage.mask] * 2),
    }
    for name, inputs in wanted.items():
        assert all(torch.equal(a, b) for a, b in zip(given[name][0], inputs, strict=True)), name
    s = model.summary
    scores = s.score((s.keys(u_Q[1]) + s.query(model.V_r)).tanh())[:, 0]  # the longest question
    assert torch.equal(given["pointer"][0][0], h)
    torch.testing.assert_close(given["pointer"][0][2][1], scores.softmax(0) @ u_Q[1], rtol=0, atol=1e-10)


def test_static_matching_gates_words_and_what_they_attend_to():
    part = StaticMatching(3, 4, dropout=0.0, bidirectional=True).double()
    (x, mask), (y, other) = states(PASSAGES, 3), states(QUESTIONS, 3, 1)
    seen = seen_by(part.rnn)
    part(x, y, mask, other)
    W = part.attention.project.weight
    scores = torch.stack([(W @ x[0, 2]).relu() @ (W @ y[0, j]).relu() / 2 for j in range(2)])
    z = torch.cat([x[0, 2], scores.softmax(0) @ y[0, :2]])
    torch.testing.assert_close(seen[0][0, 2], (part.gate.gate.weight @ z).sigmoid() * z, rtol=0, atol=1e-10)


def test_fusionnet_reads_no_features_of_questions():
    model = reader("fusionnet").eval()
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    for a, b in zip(model(passage, question)[:2], model(passage, question._replace(features=None))[:2], strict=True):
        assert torch.equal(a, b)


def test_the_loss_is_of_start_and_end_or_of_no_answer():
    model = reader("bidaf")
    scores = SpanScores(torch.tensor([[1.0, 2.0], [0.5, -torch.inf]]), torch.tensor([[3.0, 1.0], [0.0, -torch.inf]]))
    plain = scores._replace(null=torch.tensor([[0.0, -1.0], [2.0, 1.0]]))
    start, end = torch.tensor([1, -1]), torch.tensor([1, -1])
    wanted = [
        math.log(1 + math.e + math.e**2) - 2 + math.log(math.e**3 + math.e + math.e**-1) - 1,
        math.log(math.e**0.5 + math.e**2) - 2 + math.log(1 + math.e) - 1,
    ]
    assert float(plain.loss(start, end)) == pytest.approx(sum(wanted) / 2)
    likely = plain.log_probabilities()
    assert float(-(likely.null.sum(1))[1]) == pytest.approx(wanted[1])
    right = torch.tensor([1, 0])
    wanted = (math.log(math.e + math.e**2) - 2 + math.log(math.e**3 + math.e) - 1) / 2
    assert float(scores.loss(right, right)) == pytest.approx(wanted)
    with pytest.raises(
        ValueError, match="BiDAF: start must be a token of the passage, got -1, which needs no_answer=True"
    ):
        model.loss(tokens((2, 1)), tokens((1, 1)), start, end)


def test_answers_are_the_best_spans_with_their_probabilities():
    start = torch.tensor([[2.0, 0.0, 1.0], [1.0, -torch.inf, -torch.inf]])
    end = torch.tensor([[0.2, 1.5, 1.0], [4.0, -torch.inf, -torch.inf]])
    first, second = decode_answers(SpanScores(start, end), max_length=2, top_k=2)
    assert [(a.start, a.end) for a in first.spans] == [(0, 1), (0, 0)]
    assert first.spans[0].score == 3.5
    assert first.spans[0].probability == pytest.approx(float(start[0].softmax(0)[0] * end[0].softmax(0)[1]))
    assert (first.null_probability, first.null_score) == (0, -math.inf)
    assert [a[:3] for a in second.spans] == [(0, 0, 1.0)]
    null = torch.tensor([[2.0, 1.0], [0.0, 0.0]])
    first, second = decode_answers(SpanScores(start, end, null))
    assert first.null_score == 3
    wanted = torch.cat([start[0], null[0, :1]]).softmax(0)[3] * torch.cat([end[0], null[0, 1:]]).softmax(0)[3]
    assert first.null_probability == pytest.approx(float(wanted))
    assert second.spans[0].probability + second.null_probability < 1
    with pytest.raises(TypeError, match="decode_answers: scores must be scores of a reader"):
        decode_answers(start)


def test_scores_of_16_bits_are_added_in_float32():
    start = torch.tensor([[32.0, 32.0]], dtype=torch.bfloat16)
    end = torch.tensor([[0.01, 0.02]], dtype=torch.bfloat16)  # both vanish next to 32 in bfloat16's 8 bits
    null = torch.tensor([[32.0, 0.0]], dtype=torch.bfloat16)
    scores = SpanScores(start, end, null)
    assert decode_answers(scores) == decode_answers(SpanScores(*(side.float() for side in scores)))
    [answers] = decode_answers(scores)
    assert (answers.spans[0].start, answers.spans[0].end) == (0, 1)
    assert answers.spans[0].score == pytest.approx(32.02, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_readers_learn_in_mixed_precision(name, options):
    model = reader(name, **options).float().train()
    passage, question = (
        text._replace(features=text.features.float()) for text in (tokens(PASSAGES), tokens(QUESTIONS, seed=1))
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(passage, question, START, END)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_readers_are_built_anew_from_files(tmp_path):
    model = reader("match_lstm").float().eval()
    model.companion = {"vocabulary": ["石", "b"]}
    save_model(model, tmp_path / "reader.pt")
    loaded = load_model(tmp_path / "reader.pt")
    text = [part._replace(features=part.features.float()) for part in (tokens(PASSAGES), tokens(QUESTIONS, seed=1))]
    assert torch.equal(loaded(*text).start, model(*text).start)
    assert loaded.companion == model.companion


def test_options_impossible_for_all_readers_are_refused():
    for name, wrong, sentence in (
        ("bidaf", {"end_input": "both"}, "BiDAF: end_input must be one of 'code', 'paper', got 'both'"),
        ("bidaf", {"dropout": 1.0}, "BiDAF: dropout must be at least 0 and below 1, got 1.0"),
        ("bidaf", {"hidden": 0}, "RNN: hidden must be positive, got 0"),
        ("bidaf", {"character_count": -1}, "CharacterCNN: count must be at least 2, got -1"),
        ("bidaf", {"vocabulary_size": 1}, "WordEmbedding: count must be at least 2, got 1"),
        ("r_net", {"attention": "none"}, "RNet: attention must be one of 'dynamic', 'static', got 'none'"),
        (
            "r_net",
            {"attention": "static", "recurrent_self_matching": True},
            "RNet: recurrent_self_matching must be False with static attention, got True",
        ),
        ("qanet", {"hidden": 12}, "EncoderBlock: size must be even and a multiple of the 8 heads, got 12"),
        ("fusionnet", {"second_input": "x"}, "FusionNet: second_input must be one of"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            pydlx.create_model(name, **{"vocabulary_size": 9, **wrong})
