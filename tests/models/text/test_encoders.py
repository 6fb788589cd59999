"""Sequence encoders against their papers; padding changes no result and no gradient."""

from __future__ import annotations

import pytest
import torch
from reader_checks import check_masks, plain_rnn, states
from torch import nn

from pydlx.models.text.encoders import RNN, EncoderBlock, VariationalDropout, final_states, position_code

LENGTHS, OTHERS = (6, 1, 4), (2, 3, 1)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


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
    assert (added == added[:, :, :1]).all()  # dropped for a whole example
    assert abs(float(added.mean()) - 1) < 0.05
    assert EncoderBlock(4, 2, 3, 1, sublayers=(4, 8), survival=0.9).kept[-1] == pytest.approx(0.9)


def test_the_position_code_is_of_sines_and_cosines():
    code = position_code(5, 6, torch.zeros((), dtype=torch.float64))
    for t in range(5):
        for i in range(3):
            angle = torch.tensor(t / 10000 ** (i / 2))
            torch.testing.assert_close(code[t, [i, 3 + i]].float(), torch.stack([angle.sin(), angle.cos()]))
