"""The relation model gives a document the same scores in a batch as alone."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("tokenizers")

from relation_samples import DOCUMENTS, UNNAMED, batch_of, document, tiny_model

from pydlx.data import RelationDocument

LONGER = RelationDocument("Long", document(1).sentences + document(2).sentences * 2, document(1).entities)
MIXED = [DOCUMENTS[0], LONGER, UNNAMED, DOCUMENTS[3]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"context": "attention", "mention": "mean"},
        {"encoder": "transformer", "hidden": 8, "heads": 2, "context": "attention"},
        {"joint": 0, "distance": False, "types": 0, "numbers": 0, "character_count": 0},
        {"joint": 0, "threshold": "global", "layers": 2},
    ],
)
def test_a_padded_batch_is_its_documents_one_by_one(options):
    model = tiny_model(**options).double()
    together = model(batch_of(MIXED))
    alone = torch.cat([model(batch_of([one])) for one in MIXED])
    assert together.shape == (24, 4)
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)
    assert together.std(0)[1:].min() > 0  # pairs differ


def test_a_pretrained_encoder_reads_documents():
    pytest.importorskip("transformers")
    from encoder_samples import BERT, piece_json

    from pydlx.data.text import PieceTokeniser

    pieces = PieceTokeniser(piece_json())
    options = {"encoder": "hugging_face", "encoder_config": BERT.replace("32", "96"), "layers": None}
    model = tiny_model(pieces=pieces, vocabulary_size=0, character_count=0, **options).double()
    together = model(batch_of(MIXED, pieces=pieces))
    alone = torch.cat([model(batch_of([one], pieces=pieces)) for one in MIXED])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


def test_an_entity_that_is_named_nowhere_has_logits():
    for context in ("none", "attention"):
        model = tiny_model(context=context)
        logits = model(batch_of([UNNAMED]))
        assert logits.isfinite().all()
        logits.square().sum().backward()
        assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


def test_every_weight_is_trained():
    model = tiny_model(context="attention").train()
    model(batch_of()).square().sum().backward()
    idle = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not idle


def test_entities_beyond_the_numbers_share_the_last():
    model, batch = tiny_model(numbers=2), batch_of()
    assert batch.numbers.max() == 3
    assert torch.equal(model(batch), model(batch._replace(numbers=batch.numbers.clamp(max=2))))
    assert not torch.equal(model(batch), model(batch._replace(numbers=batch.numbers.clamp(max=1))))


def test_the_global_threshold_is_every_pair_s_first_logit():
    model = tiny_model(threshold="global")
    model.set_threshold(0.25)
    logits = model(batch_of())
    assert (logits[:, 0] == 0.25).all()
    assert model.state_dict()["threshold"] == 0.25
    with pytest.raises(ValueError, match="must have a global threshold"):
        tiny_model().set_threshold(0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mention": "last"}, "mention must be one of 'first', 'mean', got 'last'"),
        ({"context": "all"}, "context must be one of"),
        ({"threshold": 0.5}, "threshold must be one of"),
        ({"relations": 1}, "relations must be at least 2, got 1"),
        ({"joint": -1}, "joint must be not negative"),
        ({"pair_size": 6}, "must be a multiple of block"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(**options)
