"""Readers on a pretrained encoder: padding changes nothing, and the encoder is tuned unless frozen."""

from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

from encoder_samples import BERT, piece_json
from reader_checks import WORDS, alone, tokens
from reader_samples import passage, tiny_reader
from small_readers import END, PASSAGES, QUESTIONS, SMALL, START, reader

import pydlx
from pydlx.data.reading import ChoiceQuestion, ChoiceSet, Featurizer, Vocabulary, create_tokeniser
from pydlx.data.text import PieceTokeniser
from pydlx.models import load_model, readers, save_model
from pydlx.models.exporting import export_model
from pydlx.models.readers import Reader, ask, choose
from pydlx.models.text.embedding import TokenEmbedding


def reading(name, **options):
    """A reader whose words have nothing but the encoder's vectors."""
    return reader(name, spread=0.3, **{"vocabulary_size": 0, "encoder_config": BERT, "dropout": 0.0, **options})


def texts():
    return tokens(PASSAGES, pieces=True), tokens(QUESTIONS, pieces=True, seed=1)


def test_the_samples_are_all_readers():
    known = {kind for kind in vars(readers).values() if isinstance(kind, type) and issubclass(kind, Reader)}
    assert {type(reader(name)) for name in SMALL} == known - {Reader}


@pytest.mark.parametrize("name", SMALL)
def test_a_padded_batch_gives_scores_and_gradients_of_its_examples(name):
    model = reading(name, pooling="mean").eval()
    assert model.embed.words is None
    scores, weights = model(*texts()), dict(model.embed.pretrained.named_parameters())
    padded = torch.autograd.grad(3 * model.loss(*texts(), START, END), [*weights.values()])
    single = [torch.zeros_like(weight) for weight in padded]
    for index in range(len(PASSAGES)):
        own = [alone(text, index) for text in texts()]
        one = model(*own)
        torch.testing.assert_close(scores.log_partition()[index], one.log_partition()[0], rtol=0, atol=1e-10)
        for together, apart in zip(scores.best(None, 50), one.best(None, 50), strict=True):
            torch.testing.assert_close(together[index], apart[0], rtol=0, atol=1e-10)
        loss = model.loss(*own, START[index : index + 1], END[index : index + 1])
        for total, gradient in zip(single, torch.autograd.grad(loss, [*weights.values()]), strict=True):
            total += gradient
    for weight, a, b in zip(weights, padded, single, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        assert a.any() or weight.endswith("key.bias"), weight  # the softmax cancels this bias


@pytest.mark.parametrize("name", SMALL)
def test_a_frozen_encoder_stands_beside_the_words_and_stays_as_it_is(name):
    model = reading(name, vocabulary_size=WORDS, tune_partial=None, freeze_encoder=True).train()
    assert model.embed.word_size == 6 + 8
    model.loss(*texts(), START, END).backward()
    assert all(weight.grad is None for weight in model.embed.pretrained.parameters())
    assert model.embed.words.tuned.grad.any()
    vectors = model.embed.word_vectors(texts()[0])  # in training too, where other layers apply dropout
    assert torch.equal(vectors, model.eval().embed.word_vectors(texts()[0]))
    assert not vectors[1, 3:].any()


@pytest.mark.parametrize("name", SMALL)
def test_its_options_are_those_of_every_reader(name):
    model = reading(name)
    given = {key: model.model_options[key] for key in ("encoder_config", "pooling", "freeze_encoder")}
    assert given == {"encoder_config": BERT, "pooling": "first", "freeze_encoder": False}
    for unknown in ("characters", "encoder", "frozen"):
        with pytest.raises(TypeError, match=f"create_model: {name} has no option '{unknown}', it takes "):
            pydlx.create_model(name, vocabulary_size=9, **{unknown: None})


def test_a_loaded_reader_answers_as_the_saved_one(tmp_path):
    model = tiny_reader("fusionnet", max_passage=28, encoder_config=BERT, vocabulary_size=0)
    model.companion["featurizer"]["pieces"] = PieceTokeniser(piece_json()).json
    save_model(model, tmp_path / "reader.pt")
    text = " ".join(passage(n) for n in range(3))  # in many windows
    asked = [ask(each, text, "Where does Anna live?", top_k=5) for each in (model, load_model(tmp_path / "reader.pt"))]
    assert len(asked[0].answers) == 5
    assert asked[0] == asked[1]


def test_a_question_and_its_choice_are_one_text_for_an_encoder():
    """Both texts are one sequence of pieces, with the special tokens around each."""
    words = Featurizer(create_tokeniser("words"), Vocabulary([]), pieces=PieceTokeniser(piece_json()))
    asked, choices = "Where is Bob?", ("in Rome", "at home")
    example = ChoiceSet([ChoiceQuestion("1", passage(0), asked, choices)], words, training=False)[0]
    for read, choice in zip(example.questions, choices, strict=True):
        joined = words(passage(0), f"{asked} {choice}").question
        assert torch.equal(read.words, joined.words)
        for part, wanted in zip(read.pieces, joined.pieces, strict=True):
            assert torch.equal(part, wanted)
    model = tiny_reader("fastqa", columns=5, characters=False, vocabulary_size=0, encoder_config=BERT)
    model.companion = {"task": "choice", "featurizer": words.state()}
    assert sum(choose(model, passage(0), asked, choices).probabilities) == pytest.approx(1)


def test_mismatched_inputs_are_refused(tmp_path):
    model = reading("bidaf")
    bare = tokens(PASSAGES)
    for call, sentence in (
        (lambda: model(bare, bare), "TokenEmbedding: pieces must be of the words (B, n) for this model, got None"),
        (
            lambda: model(bare._replace(pieces=texts()[1].pieces), bare),
            "TokenEmbedding: pieces must be of the words (B, n) for this model, got (3, 4)",
        ),
        (lambda: model.load_vectors(torch.zeros(2, 2)), "BiDAF: vocabulary_size must be positive to load vectors"),
        (
            lambda: tiny_reader().load_pretrained({}),
            "BiDAF: encoder_config must be given to load its weights, got None",
        ),
        (lambda: pydlx.create_model("bidaf", vocabulary_size=0), "WordEmbedding: count must be at least 2, got 0"),
        (lambda: TokenEmbedding(None, None, 0), "TokenEmbedding: words must be given without a pretrained encoder"),
        (
            lambda: export_model(model.eval(), tmp_path / "reader.onnx", (9, 5)),
            "export_model: model must read numbers of words to be exported, not wordpieces; got BiDAF with a "
            "pretrained encoder",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()
    assert not list(tmp_path.iterdir())
