"""The recipe for readers tunes or freezes a pretrained encoder, and saves it whole in the checkpoint."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

from encoder_samples import bert_folder
from reader_samples import passage, squad_file

from pydlx.cli import main
from pydlx.models import load_model
from pydlx.models.readers import ask
from pydlx.training import reader as recipe
from pydlx.training.options import parse_options
from pydlx.training.reader_recipes import reader_optimizer

TINY = ["hidden=8", "further=character_filters=4", "batch_size=4", "progress=false", "accelerator=cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with eight questions and a tiny encoder."""
    folder = tmp_path_factory.mktemp("questions")
    squad_file(folder / "questions.json")
    bert_folder(folder / "bert")
    return folder


def train(place, out, *words):
    data = place / "questions.json"
    return main(["train", "reader", f"data={data}", f"val={data}", f"out={out}", f"encoder={place / 'bert'}", *words])


def moved(model, place):
    """Returns the largest difference of the encoder's weights from those in the folder."""
    import transformers

    before = transformers.AutoModel.from_pretrained(place / "bert").state_dict()
    after = model.embed.pretrained.model.state_dict()
    return max(float((tensor - before[name]).abs().max()) for name, tensor in after.items())


def test_a_tuned_encoder_has_a_rate_of_its_own_and_stays_in_the_checkpoint(place, tmp_path, capsys):
    """The passages have more pieces than the encoder reads; the commands' scores equal the validation's."""
    copy, out = tmp_path / "place", tmp_path / "out"
    shutil.copytree(place, copy)
    words = ["max_passage=none", "encoder_lr=1e-6", "epochs=1", "optimizer=adam", "lr=0.03", "dropout=0"]
    assert train(copy, out, *TINY, *words, "pooling=mean") == 0
    shutil.rmtree(copy / "bert")
    model = load_model(out / "best.ckpt")
    assert 1e-7 < moved(model, place) < 3e-6  # two steps
    assert model.embed.words is None
    assert model.embed.pretrained.pooling == "mean"
    assert model.companion["max_passage"] == 28
    predictions = tmp_path / "predictions.json"
    asked = ["--data", str(place / "questions.json"), "--out", str(predictions)]
    assert main(["answer", "--checkpoint", str(out / "best.ckpt"), *asked]) == 0
    capsys.readouterr()
    assert main(["eval", "squad", str(place / "questions.json"), str(predictions), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["results"]
    [path] = out.glob("csv/*/metrics.csv")
    [logged] = [float(row["val/f1"]) for row in csv.DictReader(path.open()) if row["val/f1"]]
    assert logged == float(np.float32(said["f1"]))
    [answer] = ask(model, passage(9) + passage(8), "Where does Anna9 live?").answers
    assert answer.text in passage(9) + passage(8)


def test_a_frozen_encoder_stands_beside_vectors_and_is_not_tuned(place, tmp_path, recwarn):
    glove = tmp_path / "glove.txt"
    glove.write_text("our 1 2 3\nlives 4 5 6\n")
    words = ["max_passage=20", "max_steps=2", "lr=1", "freeze_encoder=true", f"vectors={glove}"]
    assert train(place, tmp_path / "out", *TINY, *words) == 0
    assert not [warning for warning in recwarn if "eval mode" in str(warning.message)]
    model = load_model(tmp_path / "out" / "last.ckpt")
    assert moved(model, place) == 0
    assert model.embed.word_size == 3 + 8
    assert model.model_options["freeze_encoder"]


@pytest.mark.parametrize(
    ("words", "kind", "rates"),
    [
        ([], torch.optim.Adam, [1e-3, 5e-5]),
        (["freeze_encoder=true"], torch.optim.Adadelta, [0.5]),
        (["model=fusionnet", "encoder_lr=1e-5"], torch.optim.Adamax, [2e-3, 1e-5]),
    ],
)
def test_an_encoder_that_is_tuned_is_never_tuned_by_adadelta(words, kind, rates):
    options = parse_options(recipe.ReaderOptions, ["encoder=minilm", *words])
    model = torch.nn.ModuleDict({"end": torch.nn.Linear(2, 2), "embed": torch.nn.Module()})
    model["embed"].pretrained = torch.nn.Linear(2, 2).requires_grad_(not options.freeze_encoder)
    model.model_name = options.model
    optimizer, _ = reader_optimizer(model, options, 10)
    assert type(optimizer) is kind
    assert [group["initial_lr"] for group in optimizer.param_groups] == rates


def test_a_reader_to_start_with_reads_no_more_than_its_encoder(place, tmp_path, capsys):
    data = squad_file(tmp_path / "long.json", 3, around=1)  # longer than the encoder reads
    assert train(place, tmp_path / "first", *TINY, "max_passage=20", "max_steps=1") == 0
    files = [f"data={data}", f"val={data}", f"start={tmp_path / 'first' / 'last.ckpt'}", "max_steps=1"]
    words = ["progress=false", "accelerator=cpu", *files]
    assert main(["train", "reader", f"out={tmp_path / 'second'}", "max_passage=none", *words]) == 0
    assert load_model(tmp_path / "second" / "last.ckpt").companion["max_passage"] == 28
    for word, message in (
        ("max_passage=29", "reader: max_passage must be at most 28 wordpieces with this encoder, got 29"),
        ("optimizer=adadelta", "reader: optimizer must be adam or adamax with an encoder that is not frozen, got"),
    ):
        given = ["max_passage=20", *words, word]
        assert main(["train", "reader", f"out={tmp_path / 'third'}", *given]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "reader: max_passage must be at most 28 wordpieces with this encoder, got 400"),
        (["optimizer=adadelta"], "reader: optimizer must be adam or adamax with an encoder that is not frozen, got"),
        (["pooling=last"], "reader: pooling must be one of 'first', 'mean', got 'last'"),
        (["encoder_lr=0"], "reader: encoder_lr must be positive, got 0"),
        (["encoder={}"], "cannot be read as a pretrained encoder"),
    ],
)
def test_errors_are_one_line(place, tmp_path, capsys, words, message):
    assert train(place, tmp_path / "out", *(word.replace("{}", str(tmp_path)) for word in words)) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()
