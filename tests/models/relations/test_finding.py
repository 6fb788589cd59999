"""A model finds relations in documents, each with the sentences that mention both entities as evidence."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("tokenizers")

from relation_samples import ALONE, BARE, DOCUMENTS, RELATIONS, UNNAMED, document, tiny_model

from pydlx.models.relations import entity_name, find_all_relations, find_relations
from pydlx.models.relations.finding import found_relations


def test_logits_become_relations_with_evidence():
    logits = torch.full((6, 4), -5.0)
    logits[:, 0] = 0
    logits[0, 1], logits[1, 2], logits[1, 3], logits[3, 1] = 2.0, 1.0, 3.0, 0.5
    found = found_relations(logits, DOCUMENTS[0], RELATIONS)
    assert [each[:3] for each in found] == [(0, 2, "home of"), (0, 1, "born in"), (0, 2, "lives in"), (1, 2, "born in")]
    assert [each.evidence for each in found] == [(1,), (0,), (1,), ()]
    assert [each.score for each in found] == pytest.approx(torch.tensor([3, 2, 1, 0.5]).sigmoid().tolist())
    most = found_relations(logits, DOCUMENTS[0], RELATIONS, top_k=1)
    assert [each[:3] for each in most] == [(0, 2, "home of"), (0, 1, "born in"), (1, 2, "born in")]
    assert len(found_relations(logits, DOCUMENTS[0], RELATIONS, threshold=0.8)) == 2
    assert len(found_relations(logits, DOCUMENTS[0], RELATIONS, threshold=0.005)) == 18


@pytest.mark.parametrize("batch_size", [1, 3])
def test_documents_come_in_their_order_whatever_their_length(batch_size):
    model = tiny_model()
    documents = [ALONE, *(document(number) for number in range(20)), BARE, UNNAMED]
    found = list(find_all_relations(model, iter(documents), threshold=0.4, batch_size=batch_size))
    assert len(found) == len(documents)
    assert found[0] == found[-2] == []
    assert sum(map(len, found)) > 20
    for one, own in zip(documents, found, strict=True):
        alone = find_relations(model, one, threshold=0.4)
        assert {each[:3] for each in own} == {each[:3] for each in alone}
        assert [each.score for each in own] == sorted((each.score for each in own), reverse=True)


def test_settings_of_the_training_hold_by_default():
    model = tiny_model()
    model.companion |= {"top_k": 1, "max_length": 6}
    found = find_relations(model, DOCUMENTS[0], threshold=0.3)
    assert len({each[:2] for each in found}) == len(found)
    assert len(find_relations(model, DOCUMENTS[0], threshold=0.3, top_k=4)) > len(found)


def test_names_are_those_of_the_first_mention():
    assert [entity_name(DOCUMENTS[0], entity) for entity in range(3)] == ["Anna0", "Rome", "old Lima"]
    assert entity_name(UNNAMED, 1) == "entity 1"


def test_models_and_documents_that_do_not_fit_are_refused():
    model = tiny_model()
    with pytest.raises(TypeError, match="documents must hold nothing but RelationDocument, got 'a'"):
        list(find_all_relations(model, ["a"]))
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="model must give numbers for logits, got NaN"):
        find_relations(model, DOCUMENTS[0])
    model.companion = None
    with pytest.raises(ValueError, match="model must have a vocabulary"):
        find_relations(model, DOCUMENTS[0])
