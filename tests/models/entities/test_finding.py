"""A tagger finds entities, as character offsets, in texts of any length."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("tokenizers")
import itertools

from entity_samples import PLACES, annotated, tiny_tagger

from pydlx.models.entities import DecodedEntity, find_all_entities, find_entities
from pydlx.models.entities.tagger import EntityTagger

LONG = " ".join(annotated(number).text for number in range(8))


class Known(EntityTagger):
    """A model that finds each `Anna of` as type 1 and each place name as type 0, and records its inputs' lengths."""

    def __init__(self, model, nested=True):
        super().__init__(types=2, vocabulary_size=3)
        self.companion, self.finds_nested, self.widths = dict(model.companion), nested, []
        words = model.companion["featurizer"]["vocabulary"]
        self.anna, self.of = (2 + words.index(word) for word in ("Anna", "of"))
        self.places = {2 + words.index(place) for place in PLACES if place in words}

    def find(self, text, *, threshold=None, flat=False):
        self.widths.append(text.mask.shape[1])
        found = []
        for words in text.words.tolist():
            pairs = [at for at, pair in enumerate(itertools.pairwise(words)) if pair == (self.anna, self.of)]
            entities = [DecodedEntity(1, at, at + 1, 0.9) for at in pairs]
            found.append(entities + [DecodedEntity(0, at, at, 0.8) for at, w in enumerate(words) if w in self.places])
        return found


def test_what_is_found_stands_in_the_text():
    model = tiny_tagger()
    found = find_entities(model, LONG)
    assert found
    for entity in found:
        assert entity.text == LONG[entity.start : entity.end + 1]
        assert entity.type in ("LOC", "PER") and 0.5 < entity.score <= 1
    assert [(e.start, -e.end) for e in found] == sorted((e.start, -e.end) for e in found)
    flat = find_entities(model, LONG, flat=True)
    assert set(flat) < set(found)
    assert all(a.end < b.start for a, b in itertools.pairwise(flat))
    least = find_entities(model, LONG, threshold=0.9)
    assert least == [entity for entity in found if entity.score > 0.9]


def test_tokens_are_counted_where_they_were_given():
    model = tiny_tagger()
    tokens = annotated(0).text.rstrip(".").split()
    text, given = find_entities(model, " ".join(tokens)), find_entities(model, tokens)
    assert len(given) > 2
    assert [(e.type, e.text, e.score) for e in given] == [(e.type, e.text, e.score) for e in text]
    assert all(e.text == " ".join(tokens[e.start : e.end + 1]) for e in given)


@pytest.mark.parametrize("limit", [4, 5, 7, 99])
@pytest.mark.parametrize("nested", [True, False])
def test_windows_find_each_entity_once(limit, nested):
    model = Known(tiny_tagger(), nested)
    model.companion["max_length"] = limit
    found = find_entities(model, LONG)
    assert max(model.widths) <= limit
    assert [e.text for e in found if e.type == "PER"] == ["Anna of"] * 8
    assert [e.text for e in found if e.type == "LOC"] == [place for place in PLACES if " " not in place]


def test_many_texts_are_those_one_by_one():
    model = tiny_tagger()
    texts = [annotated(n).text for n in (3, 0, 6)] + ["", " \n", annotated(2).text.split(), "無"]
    together = list(find_all_entities(model, iter(texts), batch_size=2))
    assert [[e[:4] for e in found] for found in together] == [[e[:4] for e in find_entities(model, t)] for t in texts]
    assert together[3] == together[4] == []
    assert list(find_all_entities(model, [])) == []


def test_scores_of_nan_are_refused():
    for name in ("global_pointer", "bio_tagger"):
        model = tiny_tagger(name)
        with torch.no_grad():
            next(model.head.parameters()).fill_(torch.nan)
        with pytest.raises(ValueError, match=r"^find_all_entities: model must give numbers for scores, got NaN"):
            find_entities(model, "Anna of Rome")


@pytest.mark.parametrize("name", ["global_pointer", "bio_tagger", "crf_tagger"])
def test_finding_in_inference_mode(name):
    model, text = tiny_tagger(name), annotated(3).text
    expected = find_entities(model, text)
    with torch.inference_mode():
        assert find_entities(model, text) == expected


def test_a_model_without_a_vocabulary_is_refused():
    model = tiny_tagger()
    model.companion = None
    with pytest.raises(ValueError, match=r"^find_all_entities: model must have a vocabulary, as those that pydlx"):
        find_entities(model, "Anna")
