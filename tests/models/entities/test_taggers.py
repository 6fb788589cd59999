"""Taggers compute what their definitions say, whatever padding follows a text."""

from __future__ import annotations

import itertools
import math
import re
import sys

import pytest
import torch
from entity_samples import annotated, tiny_tagger

from pydlx.data import EntitySet, TokenisedEntities
from pydlx.data.text import TextFeaturizer
from pydlx.models import create_model, load_model, save_model
from pydlx.models.entities.tags import tags_of_spans
from pydlx.models.exporting import export_model

MODELS = ("global_pointer", "efficient_global_pointer", "bio_tagger", "crf_tagger")
ENCODERS = ("lstm", "transformer", "hugging_face")


@pytest.fixture(autouse=True)
def packages(request):
    values = list(request.node.callspec.params.values()) if hasattr(request.node, "callspec") else []
    if "crf_tagger" in values:
        pytest.importorskip("torchcrf")
    if "hugging_face" in values:
        pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")


def batch_of(model, *numbers):
    """Texts of different lengths; the last is a prefix of the others."""
    featurizer = TextFeaturizer.from_state(model.companion["featurizer"])
    texts = TokenisedEntities([annotated(n) for n in numbers], featurizer.tokeniser)
    examples = EntitySet(texts, featurizer, model.companion["types"])
    return examples.collate([examples[place] for place in range(len(examples))])


def alone(model, batch, item):
    """Returns one item of a batch as a batch of its own, without padding."""
    featurizer = TextFeaturizer.from_state(model.companion["featurizer"])

    def cut(part, width):
        return None if part is None else part[item : item + 1, :width]

    text, length = batch.text, int(batch.text.lengths[item])
    pieces = text.pieces
    if pieces is not None:
        width = int(pieces.mask[item].sum())
        pieces = type(pieces)(*(cut(part, width) for part in pieces[:2]), *(cut(part, length) for part in pieces[2:]))
    assert featurizer
    spans = batch.spans[batch.spans[:, 0] == item].clone()
    spans[:, 0] = 0
    return type(text)(*(cut(part, length) for part in text[:4]), pieces), spans


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_padded_batch_is_its_texts_alone(name, encoder):
    model = tiny_tagger(name, encoder=encoder).double()
    batch = batch_of(model, 0, 2)
    lengths = batch.text.lengths
    assert lengths[0] < lengths[1]
    together = model(batch.text)
    losses = []
    for item, length in enumerate(lengths.tolist()):
        text, spans = alone(model, batch, item)
        scores = model(text)[0]
        own = together[item][..., :length, :length] if "pointer" in name else together[item][:length]
        torch.testing.assert_close(own, scores, rtol=0, atol=1e-10)
        losses.append(model.loss(text, spans))
    weights = torch.ones(2).double() / 2 if "pointer" in name else lengths.double() / lengths.sum()
    wanted = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
    loss = model.loss(batch.text, batch.spans)
    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-10)
    gradients = torch.autograd.grad(loss, model.head.parameters())
    for found, right in zip(gradients, torch.autograd.grad(wanted, model.head.parameters()), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_tokens_without_entities_give_a_loss(name):
    model = tiny_tagger(name)
    batch = batch_of(model, 0, 1)
    loss = model.loss(batch.text, batch.spans[:0])
    assert loss.isfinite() and loss > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_tagger_finds_the_same(name, tmp_path):
    model = tiny_tagger(name)
    save_model(model, tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    assert again.companion == model.companion
    assert again.model_options == model.model_options
    text = batch_of(model, 0, 1, 2).text
    assert again.find(text) == model.find(text)


def test_probabilities_of_spans():
    model = tiny_tagger().double()
    text = batch_of(model, 0, 1).text
    scores = model(text)
    for item, entities in enumerate(model.find(text)):
        assert entities
        for entity in entities:
            logit = scores[item, entity.type, entity.start, entity.end].item()
            assert entity.score == pytest.approx(1 / (1 + math.exp(-logit)))
    for threshold in (0.0, 0.3, 0.9, 1.0):
        found = sum(map(len, model.find(text, threshold=threshold)))
        real = scores > -torch.inf
        assert found == (real & (scores.sigmoid() > threshold)).sum() if threshold else real.sum()


def all_tags(scores, crf):
    """Yields every sequence of tags of a text, with its score."""
    length, count = scores.shape
    for tags in itertools.product(range(count), repeat=length):
        total = crf.start_transitions[tags[0]] + crf.end_transitions[tags[-1]] + scores[range(length), tags].sum()
        yield tags, total + sum(crf.transitions[pair] for pair in itertools.pairwise(tags))


def test_a_random_field_by_enumeration():
    """Loss, best tags and marginals of a text of three tokens and one of two equal those by enumeration."""
    pytest.importorskip("torchcrf")
    model = tiny_tagger("crf_tagger").double()
    with torch.no_grad():
        for weights in model.crf.parameters():
            weights.normal_()
    batch = batch_of(model, 0, 2)
    text = type(batch.text)(*(None if part is None else part[:, :3] for part in batch.text[:4]))
    text.mask[1, 2] = False
    spans = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 1]])
    scores, wanted = model(text), 0
    tags, logarithms = model.tags(text)
    true = tags_of_spans(spans, text.mask)
    for item, length in enumerate((3, 2)):
        rows = dict(all_tags(scores[item, :length], model.crf))
        total = torch.stack([*rows.values()]).logsumexp(0)
        wanted += total - rows[tuple(true[item, :length].tolist())]
        assert tuple(tags[item]) == max(rows, key=rows.get)
        for place, tag in enumerate(tags[item]):
            share = sum((value - total).exp() for row, value in rows.items() if row[place] == tag)
            torch.testing.assert_close(logarithms[item, place, tag].exp(), share.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.loss(text, spans), wanted / 5, rtol=1e-5, atol=1e-5)


def test_word_dropout_hides_words_and_pairs_in_training_only():
    encoder = tiny_tagger(word_dropout=0.5).encoder
    words = torch.tensor([[2, 3, 4, 5] * 50, [6, 1, 0, 0] * 50])
    assert torch.equal(encoder._known(words), words)
    hidden = encoder.train()._known(words)
    assert 60 < (hidden != words).sum() < 190
    assert (hidden[hidden != words] == 1).all()
    assert torch.equal(hidden[words < 2], words[words < 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": 0}, "GlobalPointerTagger: types must be positive, got 0"),
        ({"encoder": "bert"}, "TextEncoder: encoder must be one of 'lstm', 'transformer', 'hugging_face', got 'bert'"),
        ({"encoder": "hugging_face"}, "TextEncoder: encoder_config must come with encoder hugging_face and no other"),
        ({"encoder_config": "{}"}, "TextEncoder: encoder_config must come with encoder hugging_face and no other"),
        ({"dropout": 1.0}, "TextEncoder: dropout must be at least 0 and below 1, got 1.0"),
        ({"word_dropout": -0.1}, "TextEncoder: word_dropout must be at least 0 and below 1, got -0.1"),
        ({"layers": 0}, "TextEncoder: layers must be positive, got 0"),
        ({"vocabulary_size": 0}, "TextEncoder: vocabulary_size must be positive where nothing else is read, got 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        create_model("global_pointer", **{"types": 2, "vocabulary_size": 5, **options})


def test_what_a_model_reads_must_be_given():
    model = tiny_tagger()
    text = batch_of(model, 0).text
    with pytest.raises(ValueError, match=r"^TextEncoder: bigrams must be part of the texts for this model, got None"):
        model(text._replace(bigrams=None))


@pytest.mark.parametrize(
    ("package", "build", "message"),
    [
        (
            "transformers",
            {"name": "bio_tagger", "encoder": "hugging_face"},
            'encoder needs transformers: pip install "pydlx[hf]"',
        ),
        ("torchcrf", {"name": "crf_tagger"}, 'random field needs pytorch-crf: pip install "pydlx[crf]"'),
    ],
)
def test_a_missing_package_is_named(monkeypatch, package, build, message):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=re.escape(message)):
        tiny_tagger(**build)


def test_export_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^export_model: model must read images or answer questions to be exported, got"
    ):
        export_model(tiny_tagger(), tmp_path / "tagger.onnx", (3, 4))
