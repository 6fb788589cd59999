"""What every reader promises: padding changes nothing, options do what they say, sizes are the papers'."""

from __future__ import annotations

import pytest
import torch
from reader_checks import CHARACTERS, FEATURES, WORDS, alone, tokens

import pydlx

PASSAGES, QUESTIONS = (7, 3, 1), (2, 4, 1)
START, END = torch.tensor([2, 0, 0]), torch.tensor([3, 2, 0])

# Of each reader: what makes it small, and further options under which padding must change nothing.
SMALL = {
    "match_lstm": (
        {"hidden": 4, "character_dim": 3, "character_filters": 5},
        [{}, {"bidirectional": True, "share_directions": False, "both_ways": True}],
    ),
    "bidaf": ({"hidden": 4, "character_dim": 3, "character_filters": 5}, [{}, {"end_input": "paper"}]),
    "r_net": (
        {"hidden": 4, "character_dim": 3, "character_hidden": 3},
        [
            {},
            {"attention": "static"},
            {"recurrent_self_matching": True, "both_ways": False, "concatenate_layers": False, "last_gru": True},
        ],
    ),
    "qanet": (
        {"hidden": 8, "heads": 2, "blocks": 2, "character_dim": 3},
        [{}, {"relu": False, "last_norm": True, "position": False}],
    ),
    "fusionnet": (
        {"hidden": 4, "attention_size": 5, "character_dim": 3, "character_filters": 5},
        [{}, {"second_input": "input_and_low"}],
    ),
}


def reader(name, *, characters=True, features=True, **options):
    torch.manual_seed(0)
    given = {
        "character_count": CHARACTERS if characters else 0,
        "features": FEATURES if features else 0,
        "tune_partial": 9,
        **SMALL[name][0],
        **options,
    }
    return pydlx.create_model(name, vocabulary_size=WORDS, word_dim=6, **given).double()


CASES = [(name, options) for name, (_, choices) in SMALL.items() for options in choices]
IDS = ["-".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options in CASES]


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_padded_batch_gives_scores_and_gradients_of_its_examples(name, options):
    model = reader(name, no_answer=True, **options).eval()
    passage, question = tokens(PASSAGES), tokens(QUESTIONS, seed=1)
    scores = model(passage, question)
    parameters = list(model.parameters())
    padded = torch.autograd.grad(3 * model.loss(scores, START, END), parameters)
    single = [torch.zeros_like(x) for x in parameters]
    for index, length in enumerate(PASSAGES):
        one = model(alone(passage, index), alone(question, index))
        for together, apart in zip(scores, one, strict=True):
            torch.testing.assert_close(together[index, :length], apart[0, :length], rtol=0, atol=1e-10)
        assert (scores.start[index, length:] == -torch.inf).all()
        assert (scores.end[index, length:] == -torch.inf).all()
        loss = model.loss(one, START[index : index + 1], END[index : index + 1])
        for total, gradient in zip(single, torch.autograd.grad(loss, parameters), strict=True):
            total += gradient
    for (parameter, _), a, b in zip(model.named_parameters(), padded, single, strict=True):
        torch.testing.assert_close(
            a, b, rtol=0, atol=1e-10, msg=lambda text, parameter=parameter: f"{parameter}: {text}"
        )
    # Everything is learned.
    still = {parameter for (parameter, _), a in zip(model.named_parameters(), padded, strict=True) if not a.any()}
    if name == "match_lstm":  # its pointer starts at zero and takes one step
        still = {parameter for parameter in still if not parameter.endswith("weight_hh")}
    assert not still, still
