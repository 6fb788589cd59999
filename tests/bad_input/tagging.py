"""Calls of what numbers texts with entities, and of what finds entities."""

from __future__ import annotations

import numpy as np
import torch
from encoder_samples import piece_json
from entity_samples import TYPES, annotated, featurizer_of, tiny_tagger
from torch import nn

from bad_input.arguments import NAN, Argument, Call, anything, count, flag, number
from pydlx.data import TokenisedEntities
from pydlx.data.text import PieceTokeniser, Vocabulary, create_tokeniser, tokenise
from pydlx.models.entities import find_all_entities

WORDS = create_tokeniser("words")
TOKENISED = TokenisedEntities([annotated(0)], WORDS)
TOKENISER = anything(WORDS, None, "words", 5, len)
PARTS = anything(Vocabulary(["a"]), "x", 5, ["a"]).without_none()

DATA = {
    "TokenisedEntities": Call({"texts": anything([annotated(0)], None, 5, "a", ["a"], [3]), "tokeniser": TOKENISER}),
    "EntitySet": Call(
        {
            "source": anything(TOKENISED, None, 5, "a", [annotated(0)]),
            "featurizer": anything(featurizer_of(TOKENISED), None, "x", 5, WORDS),
            "types": anything(TYPES, None, 5, "LOC", [], ["LOC"]),
            "max_length": count(4),
        }
    ),
}
TEXT = {
    "PieceTokeniser": Call({"json": anything(piece_json(), None, 5, "x", "{}", b"{}"), "most": count(4)}),
    "TextFeaturizer": Call(
        {
            "tokeniser": TOKENISER,
            "vocabulary": anything(Vocabulary(["a"]), None, "x", 5, ["a"]),
            "bigrams": PARTS,
            "characters": PARTS,
            "pieces": anything(PieceTokeniser(piece_json()), "x", 5, WORDS).without_none(),
            "max_word": count(4),
        }
    ),
    "bigram_counts": Call({"texts": anything(tokenise(["a b"], WORDS), None, 5, "a b", ["a b"])}),
    "text_windows": Call(
        {
            "costs": Argument(
                np.array([1, 2]), [None, 5, "x", ["a"], [0.5], [[1]], [-1], NAN], [[1, 2], np.array([1])]
            ),
            "limit": count(3),
        }
    ),
}

SCORES, MASK = torch.zeros(2, 3, 4, 4), torch.ones(2, 4, dtype=torch.bool)
MODEL = anything(tiny_tagger(), None, "bio_tagger", 5, nn.Identity(), {})
ASKED = {
    "threshold": Argument(0.5, ["0.5", NAN, True, 1j, torch.ones(2), [0.5], -0.1, 1.1], [None, 0, 1, np.float32(0.5)]),
    "flat": flag(True),
}
FINDING = {
    "decode_entities": Call(
        {
            "scores": anything(SCORES, None, 5, "x", SCORES.long(), SCORES[0], SCORES[..., :3]),
            "mask": anything(MASK, None, 5, "x", MASK.long(), MASK[0], MASK[:, :3]),
            "threshold": number(0.0),
            "flat": flag(True),
        }
    ),
    "find_entities": Call(
        {"model": MODEL, "text": anything("a b", None, 5, b"a", [5], [""], {"a": 1}), **ASKED},
        speaks=("find_all_entities",),
    ),
    "find_all_entities": Call(
        {"model": MODEL, "texts": anything(["a b", ["a"]], None, 5, "ab"), **ASKED, "batch_size": count(2)},
        run=lambda **given: list(find_all_entities(**given)),
    ),
}
