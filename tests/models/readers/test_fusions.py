"""Kinds of fusion of each reader: FusionNet's Table 1 agrees with what the models compute."""

from __future__ import annotations

import json

import pytest
import torch
from small_readers import SMALL, reader

from pydlx.cli import main
from pydlx.data.text.tokens import Tokens
from pydlx.models.readers.fusion_table import draw_fusion_table, fusion_table
from pydlx.models.readers.fusions import fusion_kinds
from pydlx.nn import AttentionRNN

# Huang et al., arXiv 1711.07341, Table 1; QANet appeared later.
PAPER = {
    "match_lstm": ("high",),
    "dcn": ("high", "coattention"),
    "fastqa": ("word",),
    "fastqa_ext": ("word", "high", "self"),
    "bidaf": ("high", "coattention"),
    "rasor": ("word", "summary"),
    "drqa": ("word",),
    "mpcm": ("word", "high"),
    "mnemonic_reader": ("word", "high", "self"),
    "r_net": ("high", "self"),
    "fusionnet": ("word", "high", "self"),
}


def test_the_table_is_the_papers():
    table = fusion_table()
    assert table.pop("qanet") == ("high", "self", "coattention")
    assert table == PAPER


def test_options_that_take_a_part_away_take_its_kind_away():
    assert fusion_kinds(reader("match_lstm", features=True)) == ("word", "high")
    assert fusion_kinds(reader("match_lstm", features=False)) == ("high",)


def called(model, passage, question):
    """Returns inputs and outputs of the marked layers, each layer once, in order of the calls."""
    calls = []

    def keep(part, inputs, output):
        calls.append((part, [x for x in inputs if isinstance(x, torch.Tensor) and x.is_floating_point()], output))

    hooks = [part.register_forward_hook(keep) for part in model.modules() if hasattr(part, "fuses")]
    with torch.no_grad():
        model(Tokens(passage), Tokens(question))
    for hook in hooks:
        hook.remove()
    return calls


@pytest.mark.parametrize("name", sorted(SMALL))
def test_word_level_parts_read_words_alone_and_others_words_in_context(name):
    model = reader(name, characters=False, features=False).eval()
    passage, question = torch.tensor([[5, 6, 7, 8, 9, 5]]), torch.tensor([[3, 9, 4]])
    other = passage.clone()
    other[0, 0] = 11  # this word is not in the question
    compared = 0
    for (part, inputs, _), (_, changed, _) in zip(
        called(model, passage, question), called(model, other, question), strict=True
    ):
        x, y = inputs[0], changed[0]
        if x.shape[1] != passage.shape[1] or "summary" in part.fuses:
            continue
        compared += 1
        assert torch.equal(x[:, 1:], y[:, 1:]) == ("word" in part.fuses), type(part).__name__
    assert compared or name == "drqa"


@pytest.mark.parametrize("name", sorted(SMALL))
def test_self_boosting_parts_look_at_the_whole_passage(name):
    """The output of such a layer at one token depends on the input at another token of the passage."""
    model = reader(name, characters=False, features=False).eval()
    passage, question = torch.tensor([[5, 6, 7, 8, 9, 5]]), torch.tensor([[3, 9, 4]])
    for part, inputs, output in called(model, passage, question):
        if any(isinstance(each, AttentionRNN) for each in part.modules()):
            continue  # a recurrent layer depends on other tokens in any case
        if inputs[0].shape[1] != passage.shape[1] or {"word", "summary"} & {*part.fuses}:
            continue
        with part.register_forward_pre_hook(lambda _, given: moved(given)):
            [changed] = [out for other, _, out in called(model, passage, question) if other is part]
        found = [out if isinstance(out, tuple) else (out,) for out in (output, changed)]
        same = all(torch.equal(a[:, 1:6], b[:, 1:6]) for a, b in zip(*found, strict=True))
        assert same != bool({"self", "coattention"} & {*part.fuses}), type(part).__name__


def moved(given):
    """Returns the same call with the first token of the passage changed."""
    first = given[0].clone()
    first[:, 0] += 1
    return tuple(first if x is given[0] else x for x in given)


def test_the_command_prints_and_draws_the_table(tmp_path, capsys):
    assert main(["models", "--fusions", "bidaf"]) == 0
    assert capsys.readouterr().out == "bidaf  (2) high level, (3') self-boosted, by coattention\n"
    assert main(["models", "--fusions", "--json", "--plot", str(tmp_path / "a.png")]) == 0
    assert json.loads(capsys.readouterr().out)["fastqa"] == ["word"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["models", "--plot", str(tmp_path / "b.png")]) == 2
    assert "--plot must come with --fusions" in capsys.readouterr().err
    assert main(["models", "--fusions", "fcn*"]) == 2
    draw_fusion_table({"bidaf": ("high",)}, tmp_path / "one.svg")
