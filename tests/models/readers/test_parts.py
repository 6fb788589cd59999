"""The parts of readers do what their papers' equations say, and padding changes no result and no gradient."""

from __future__ import annotations

import pytest
import torch
from reader_checks import CHARACTERS, FEATURES, WORDS, alone, check_masks, states, tokens
from torch import nn

from pydlx.data.reading.tokens import Tokens
from pydlx.models.readers.attention import (
    AdditiveAttention,
    Coattention,
    DotAttention,
    SelfAlignment,
    WeightedSummary,
    attend,
    masked_softmax,
)
from pydlx.models.readers.embedding import CharacterCNN, CharacterRNN, TokenEmbedding, WordEmbedding
from pydlx.models.readers.encoders import RNN, EncoderBlock, VariationalDropout, final_states, position_code
from pydlx.models.readers.fusion import SFU, Gate, GatedSum, Highway
from pydlx.models.readers.pointers import AnswerPointer, BilinearPointer, MemoryPointer, SpanScoring

LENGTHS, OTHERS = (6, 1, 4), (2, 3, 1)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# Words, characters and features


def test_only_the_words_that_are_tuned_have_gradients():
    embedding = WordEmbedding(7, 3, tune_partial=2)
    vectors = torch.arange(21.0).view(7, 3)
    embedding.load_vectors(vectors)
    words = torch.tensor([[2, 3, 4, 6, 1, 0, 3]])
    found = embedding(words)
    assert torch.equal(found[0, :4], vectors[[2, 3, 4, 6]])
    assert not found[0, 4:6].any()  # the unknown word and padding
    found.sum().backward()
    assert torch.equal(embedding.tuned.grad, torch.tensor([[1.0] * 3, [2.0] * 3]))


@pytest.mark.parametrize(("tune_partial", "trained"), [(0, 0), (3, 3), (99, 5), (None, 6)])
def test_as_many_words_are_trained_as_asked_for(tune_partial, trained):
    embedding = WordEmbedding(7, 3, tune_partial)
    assert sum(x.numel() for x in embedding.parameters()) == 3 * trained
    vectors = torch.randn(7, 3)
    embedding.load_vectors(vectors)
    wanted = vectors.clone()
    wanted[0] = 0
    if tune_partial is not None:
        wanted[1] = 0
    assert torch.equal(embedding(torch.arange(7)[None])[0], wanted)


def test_a_convolution_sees_the_characters_of_its_word_and_zeros_beyond():
    part, text = CharacterCNN(CHARACTERS, 3, 4, 3).double(), tokens(LENGTHS)
    found = part(text.characters)
    kernel, bias = part.convolution.weight, part.convolution.bias  # (4, 3, 3)
    for b, t in ((0, 0), (0, 5), (2, 3)):
        spelt = text.characters[b, t][text.characters[b, t] > 0]
        vectors = nn.functional.pad(part.vectors(spelt), (0, 0, 1, 1))
        scores = [bias + sum(kernel[:, :, k] @ vectors[i + k] for k in range(3)) for i in range(len(spelt))]
        close(found[b, t], torch.stack(scores).relu().amax(0))
    assert not found[~text.mask].any()


@pytest.mark.parametrize(("cell", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_an_rnn_over_characters_ends_at_the_end_of_each_word(cell, kind):
    part, text = CharacterRNN(CHARACTERS, 3, 4, cell).double(), tokens(LENGTHS)
    found = part(text.characters)
    plain = plain_rnn(part.rnn, kind(3, 4, bidirectional=True, batch_first=True))
    for b, t in ((0, 0), (0, 5), (2, 3)):
        spelt = text.characters[b, t][text.characters[b, t] > 0]
        _, last = plain(part.vectors(spelt)[None])
        close(found[b, t], (last if cell == "gru" else last[0]).flatten())
    assert not found[~text.mask].any()


@pytest.mark.parametrize("kind", [CharacterCNN, CharacterRNN])
def test_characters_of_a_batch_are_read_as_those_of_single_texts(kind):
    part, text = kind(CHARACTERS, 3, 4).double(), tokens(LENGTHS)
    found = part(text.characters)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weights).sum(), list(part.parameters()))
    singles = [torch.zeros_like(x) for x in gradients]
    for index, length in enumerate(LENGTHS):
        one = part(alone(text, index).characters)
        close(one[0], found[index, :length])
        loss = (one * weights[index : index + 1, :length]).sum()
        for total, gradient in zip(singles, torch.autograd.grad(loss, list(part.parameters())), strict=True):
            total += gradient
    for a, b in zip(gradients, singles, strict=True):
        close(a, b)


def test_what_a_reader_needs_and_does_not_get_is_said():
    embed = TokenEmbedding(WordEmbedding(WORDS, 6), CharacterCNN(CHARACTERS, 3, 4), FEATURES)
    assert [x.shape[-1] for x in embed.double()(tokens(LENGTHS))] == [6, 4, 3]
    assert embed.size == 13
    with pytest.raises(ValueError, match=r"characters must have shape \(B, n, characters\) for this reader, got None"):
        embed(tokens(LENGTHS, characters=False))
    with pytest.raises(ValueError, match=r"features must have shape \(B, n, 3\) for this reader, got \(3, 6, 2\)"):
        embed(Tokens(*tokens(LENGTHS)[:2], torch.zeros(3, 6, 2)))
    with pytest.raises(ValueError, match=r"load_vectors: vectors must have shape \(30, 6\), got \(30, 5\)"):
        embed.words.load_vectors(torch.zeros(30, 5))
    with pytest.raises(ValueError, match="CharacterCNN: width must be odd, got 4"):
        CharacterCNN(5, 3, 4, 4)


# Encoders


def plain_rnn(part: RNN, plain: nn.RNNBase) -> nn.RNNBase:
    """PyTorch's module with the weights of a part."""
    plain = plain.double()
    with torch.no_grad():
        for suffix, directions in (("", part.forwards), ("_reverse", part.backwards)):
            for layer, direction in enumerate(directions):
                for name, weight in direction.named_parameters():
                    getattr(plain, name.replace("l0", f"l{layer}") + suffix).copy_(weight)
    return plain


@pytest.mark.parametrize(("cell", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_an_rnn_gives_what_packed_sequences_give(cell, kind):
    x, mask = states(LENGTHS, 3)
    part = RNN(3, 4, 2, cell=cell).double()
    plain = plain_rnn(part, kind(3, 4, 2, bidirectional=True, batch_first=True))
    packed = nn.utils.rnn.pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False)
    out, last = plain(packed)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    found = part(x, mask)
    close(found, wanted)
    last = last if cell == "gru" else last[0]
    close(final_states(found, mask), torch.cat([last[-2], last[-1]], -1))


RNNS = [
    {},
    {"cell": "gru", "layers": 2},
    {"layers": 3, "concatenate": True},
    {"cell": "gru", "bidirectional": False, "concatenate": True, "layers": 2},
]


@pytest.mark.parametrize("options", RNNS, ids=str)
def test_padding_changes_nothing_in_an_rnn(options):
    part = RNN(3, 4, **options)
    check_masks(part, part, states(LENGTHS, 3))
    x, mask = states(LENGTHS, 3)
    found = part(x, mask)
    assert found.shape[-1] == part.output
    assert not found[~mask].any()


def test_variational_dropout_drops_the_same_elements_at_all_tokens():
    part, x = VariationalDropout(0.5), torch.ones(40, 5, 20)
    y = part(x)
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert (y == y[:, :1]).all()
    assert (y[0] != y[1]).any()
    assert abs(float((y == 0).double().mean()) - 0.5) < 0.05
    assert part.eval()(x) is x


BLOCKS = [{}, {"relu": False, "last_norm": True}, {"position": False}]


@pytest.mark.parametrize("options", BLOCKS, ids=str)
def test_padding_changes_nothing_in_an_encoder_block(options):
    part = EncoderBlock(8, 2, 3, 2, **options)
    check_masks(part, part, states(LENGTHS, 8))


def test_stochastic_depth_keeps_the_expected_change_and_drops_the_last_sublayers_most():
    part = EncoderBlock(4, 2, 3, 1, dropout=0.0, survival=0.6, position=False)
    assert part.kept == pytest.approx([0.9, 0.8, 0.7, 0.6])
    x, change = torch.zeros(4000, 1, 4), torch.ones(1, 1, 4)
    added = part._added(x, change, 3)
    assert sorted(added.unique().tolist()) == pytest.approx([0, 1 / 0.6])
    assert (added == added[:, :, :1]).all()  # an example as a whole
    assert abs(float(added.mean()) - 1) < 0.05
    assert EncoderBlock(4, 2, 3, 1, sublayers=(4, 8), survival=0.9).kept[-1] == pytest.approx(0.9)


def test_the_position_code_is_of_sines_and_cosines():
    code = position_code(5, 6, torch.zeros((), dtype=torch.float64))
    for t in range(5):
        for i in range(3):
            angle = torch.tensor(t / 10000 ** (i / 2))
            torch.testing.assert_close(code[t, [i, 3 + i]].float(), torch.stack([angle.sin(), angle.cos()]))


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
