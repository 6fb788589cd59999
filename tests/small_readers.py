"""Every reader in small, with weights that matter, and batches of texts for it."""

from __future__ import annotations

import torch
from reader_checks import CHARACTERS, FEATURES, WORDS

import pydlx

PASSAGES, QUESTIONS = (7, 3, 1), (2, 4, 1)
START, END = torch.tensor([2, 0, 0]), torch.tensor([3, 2, 0])

# Of each reader: what makes it small, and further options under which padding must change nothing.
SMALL = {
    "dcn": ({"hidden": 4, "pool": 3, "character_dim": 3, "character_filters": 5}, [{}, {"iterations": 1}]),
    "fastqa": ({"hidden": 4, "character_dim": 3}, [{}, {"beam": 2}]),
    "fastqa_ext": ({"hidden": 4, "character_dim": 3, "beam": 1}, [{}]),
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
    "rasor": (
        {"hidden": 5, "max_length": 4, "character_dim": 3, "character_filters": 5},
        [{}, {"objective": "span_binary"}, {"objective": "endpoints"}],
    ),
    "drqa": (
        {"hidden": 4, "character_dim": 3, "character_filters": 5},
        [{}, {"layers": 2, "concatenate_layers": False}],
    ),
    "mpcm": (
        {"hidden": 4, "perspectives": 3, "character_dim": 3, "character_hidden": 3},
        [{}, {"filter_characters": False, "share_perspectives": True}],
    ),
    "mnemonic_reader": ({"hidden": 4, "character_dim": 3, "character_hidden": 3}, [{}, {"hops": 1}]),
}


def reader(name, *, characters=True, features=True, spread=0.5, **options):
    torch.manual_seed(0)
    given = {
        "vocabulary_size": WORDS,
        "word_dim": 6,
        "character_count": CHARACTERS if characters else 0,
        "features": FEATURES if features else 0,
        "tune_partial": 9,
        **SMALL[name][0],
        **options,
    }
    model = pydlx.create_model(name, **given).double()
    for parameter in model.parameters():  # larger than a new reader's, so that no part of it hardly matters
        torch.nn.init.normal_(parameter, std=spread)
    return model
