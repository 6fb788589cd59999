"""The recipe for taggers learns entities, resumes, and leaves taggers that score as in the last validation."""

from __future__ import annotations

import csv
import json
import re
import zipfile

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")

from encoder_samples import bert_folder
from entity_samples import annotated, entity_file
from lightning.pytorch import Callback

from pydlx.cli import main
from pydlx.data import AnnotatedText, Entity, EntitySet, TokenisedEntities, write_entities
from pydlx.data.text import TextFeaturizer, Vocabulary, create_tokeniser
from pydlx.models import load_model
from pydlx.models.entities import find_entities
from pydlx.training import ner as recipe
from pydlx.training.encoding import encoder_optimizer
from pydlx.training.numbered import NumberedExamples
from pydlx.training.options import parse_options

TINY = ["hidden=8", "word_dim=8", "batch_size=4", "further=character_filters=4"]
FAST = ["lr=0.03", "dropout=0", "word_dropout=0", "warmup=0", "decay=none"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return entity_file(tmp_path_factory.mktemp("texts") / "texts.json")


def command(data, out, *words):
    fixed = [f"data={data}", f"val={data}", f"out={out}", *TINY, "progress=false", "accelerator=cpu"]
    return ["train", "ner", *fixed, *words]


def train(data, out, *words):
    return main(command(data, out, *words))


def logged(out, column):
    """Returns the logged values of a score, by step."""
    rows = [row for path in sorted(out.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}


def found(model, text):
    return {Entity(*entity[:3]) for entity in find_entities(model, text.text)}


def test_it_learns_nested_entities_by_heart(data, tmp_path, capsys):
    words = [*FAST, "epochs=45", "val_every=45", "characters=false", "batch_size=8"]
    assert train(data, tmp_path, *words) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"read {data}: 8 texts, 16 entities\n" * 2)
    assert "epoch 45 of 45: train/loss " in said and ", val/f1 1.0000\n" in said
    assert said.endswith(f"best val/f1 1.0000; written to {tmp_path}\n")
    assert "train: 8 examples of 8 texts, 16 entities\nval: 8 examples of 8 texts, 16 entities\n" in said
    scores = ("f1", "precision", "recall", "f1_LOC", "f1_PER")
    assert [logged(tmp_path, f"val/{score}") for score in scores] == [{44: 1}] * 5
    model = load_model(tmp_path / "best.ckpt")
    assert all(found(model, annotated(n)) == set(annotated(n).entities) for n in range(8))


def test_windows_are_no_longer_than_what_was_learned_from(data, tmp_path):
    """A tagger reads windows no longer than its longest training text: beyond it, scores are unreliable."""
    assert train(data, tmp_path, "max_steps=1") == 0
    longest = max(len(text.text.rstrip(".").split()) + 1 for text in map(annotated, range(8)))
    assert load_model(tmp_path / "last.ckpt").companion["max_length"] == longest


def test_a_tagger_learns_the_outermost(data, tmp_path, capsys):
    words = [*FAST, "model=bio_tagger", "epochs=30", "val_every=30", "characters=false", "batch_size=8"]
    assert train(data, tmp_path, *words) == 0
    assert "8 texts, 16 entities, 8 that overlap others, for which bio_tagger has no tags\n" in capsys.readouterr().out
    assert logged(tmp_path, "val/f1_PER") == {29: 1}
    assert logged(tmp_path, "val/f1_LOC") == {29: 0}  # each lies in a PER
    assert logged(tmp_path, "val/recall") == {29: 0.5}


def test_all_that_can_be_read_is_read(data, tmp_path):
    assert train(data, tmp_path, "max_steps=1", "bigrams=true", "bigram_count=1", "encoder=transformer") == 0
    model = load_model(tmp_path / "last.ckpt")
    options = model.model_options
    assert options["encoder"] == "transformer"
    assert min(options[f"{part}_count"] for part in ("bigram", "character")) > 10
    assert model.companion["types"] == ["LOC", "PER"]
    assert find_entities(model, "Anna of Rome") is not None


def test_chinese_by_characters(tmp_path):
    write_entities(tmp_path / "chinese.json", [AnnotatedText("", "他住在北京市。", (Entity("LOC", 3, 4),))] * 4)
    words = ["tokeniser=characters", "bigrams=true", "max_steps=1"]
    assert train(tmp_path / "chinese.json", tmp_path / "out", *words) == 0
    model = load_model(tmp_path / "out" / "last.ckpt")
    assert sorted(model.companion["featurizer"]["vocabulary"]) == sorted("他住在北京市。")
    assert "北 京" in model.companion["featurizer"]["bigrams"]
    assert {e.text for e in find_entities(model, "北京", threshold=0)} == {"北", "京", "北京"}


def test_a_table_of_tokens(tmp_path):
    (tmp_path / "book.tsv").write_text("Lord\tB-PER\tB-TITLE\nAnna\tI-PER\tO\nsat\tO\tO\n\nin\tO\tO\nRome\tB-LOC\tO\n")
    assert train(tmp_path, tmp_path / "out", "max_steps=1") == 0
    model = load_model(tmp_path / "out" / "last.ckpt")
    assert model.companion["types"] == ["LOC", "PER", "TITLE"]
    found = {e[:4] for e in find_entities(model, ["Lord", "Anna"], threshold=0)}
    assert ("PER", 0, 1, "Lord Anna") in found
    assert len(found) == 9  # three spans of each type


@pytest.fixture
def encoder(tmp_path):
    """A zip file of a tiny pretrained encoder, as the package of MiniLM has one."""
    pytest.importorskip("transformers")
    built = bert_folder(tmp_path / "bert")
    with zipfile.ZipFile(tmp_path / "bert.zip", "w") as file:
        for path in (tmp_path / "bert").iterdir():
            file.write(path, path.name)
    return tmp_path / "bert.zip", built.state_dict()


def test_a_pretrained_encoder_is_tuned_and_stays_in_the_checkpoint(data, tmp_path, encoder):
    path, weights = encoder
    words = [f"encoder={path}", "max_length=28", "max_steps=2", "lr=1e-3", "warmup=0", "decay=none", "pooling=mean"]
    assert train(data, tmp_path / "out", *words, "encoder_lr=1e-6") == 0
    path.unlink()
    model = load_model(tmp_path / "out" / "last.ckpt")
    kept = model.encoder.pretrained.model.state_dict()
    assert set(weights) - set(kept) == {"pooler.dense.weight", "pooler.dense.bias"}
    moved = {name: (kept[name] - weights[name]).abs().max().item() for name in kept}
    assert 1e-7 < max(moved.values()) < 3e-6  # two steps of the encoder's own rate
    assert model.encoder.words is None
    assert find_entities(model, "Anna of Rome") is not None


def test_windows_of_a_pretrained_encoder_fit_it(data, tmp_path, encoder, capsys):
    assert train(data, tmp_path / "out", f"encoder={encoder[0]}", "max_steps=1") == 2
    assert "max_length must be at most 28 wordpieces with this encoder, got 256" in capsys.readouterr().err


class Stop(Exception):
    pass


class Losses(Callback):
    """Records the losses of all steps, and interrupts the training as a kill would, before a step is saved."""

    def __init__(self, stop):
        self.seen, self.stop = [], stop

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.stop:
            raise Stop
        self.seen.append(outputs["loss"].item())


def losses(monkeypatch, data, out, stop=None):
    """A training of three epochs of two batches, with dropout, is interrupted at a step."""
    seen, build = Losses(stop), recipe.build_trainer
    monkeypatch.setattr(
        recipe, "build_trainer", lambda *a, callbacks, **k: build(*a, callbacks=[*callbacks, seen], **k)
    )
    words = command(data, out, "epochs=3", "checkpoint_steps=1", "word_dropout=0.3")[2:]
    try:
        recipe.train(parse_options(recipe.NerOptions, words))
    except Stop:
        assert stop
    monkeypatch.setattr(recipe, "build_trainer", build)
    return seen.seen


def test_a_killed_training_goes_on_with_the_same_losses(data, tmp_path, monkeypatch):
    whole = losses(monkeypatch, data, tmp_path / "whole")
    assert len(whole) == 6
    first = losses(monkeypatch, data, tmp_path / "killed", stop=4)
    assert len(first) == 3
    assert first + losses(monkeypatch, data, tmp_path / "killed") == whole


def test_validation_says_what_the_commands_say(data, tmp_path, capsys):
    """With windows, entities that cut tokens and a text without one: the same numbers, to the last digit of float32."""
    texts = [
        *(annotated(n) for n in range(6)),
        AnnotatedText("", "  "),
        AnnotatedText("", "Annas", (Entity("PER", 0, 3),)),
    ]
    write_entities(tmp_path / "dev.json", texts)
    words = [*FAST, f"val={tmp_path / 'dev.json'}", "epochs=20", "val_every=20", "max_length=6", "characters=false"]
    assert train(data, tmp_path / "out", *words) == 0
    out = tmp_path / "found.json"
    assert (
        main(
            [
                "predict",
                "--checkpoint",
                str(tmp_path / "out" / "last.ckpt"),
                "--data",
                str(tmp_path / "dev.json"),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["eval", "entities", str(tmp_path / "dev.json"), str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["results"]
    for name in ("f1", "precision", "recall"):
        assert [*logged(tmp_path / "out", f"val/{name}").values()] == pytest.approx([said[name]], rel=1e-6)
    assert 0 < said["recall"] < 1


def test_processes_share_the_texts():
    """All windows of a text go to one process, the shortest text first."""
    texts = TokenisedEntities(
        [AnnotatedText("", "a b c d e f " * n) for n in (3, 1, 2, 4, 1)], create_tokeniser("words")
    )
    asked = EntitySet(texts, TextFeaturizer(texts.tokeniser, Vocabulary([])), ["A"], max_length=8)
    parts = [NumberedExamples(asked, rank, 2) for rank in (0, 1)]
    assert [{asked.windows[number][0] for number in part.numbers} for part in parts] == [{0, 2, 4}, {1, 3}]
    assert sorted(number for part in parts for number in part.numbers) == list(range(len(asked)))
    batch, numbers = parts[0].collate([parts[0][n] for n in range(len(parts[0]))])
    assert batch.text.lengths.tolist() == asked.lengths[numbers].tolist() == sorted(asked.lengths[numbers])


def test_rates_and_decays_of_the_groups():
    options = parse_options(recipe.NerOptions, ["lr=1", "encoder_lr=0.1", "weight_decay=0.5", "warmup=0.2"])
    model = torch.nn.Module()
    model.encoder = torch.nn.ModuleDict({"pretrained": torch.nn.Linear(2, 2), "norm": torch.nn.LayerNorm(2)})
    model.head = torch.nn.Linear(2, 2)
    optimizer, schedule = encoder_optimizer(model, options, 10)
    groups = {(group["initial_lr"], group["weight_decay"]): len(group["params"]) for group in optimizer.param_groups}
    assert groups == {(0.1, 0.5): 1, (0.1, 0.0): 1, (1, 0.0): 3, (1, 0.5): 1}
    factors = []
    for _ in range(11):
        factors.append(schedule.get_last_lr()[-1])
        optimizer.step()
        schedule.step()
    assert factors == pytest.approx([1 / 3, 2 / 3, *(1 - n / 8 for n in range(9))])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=bio_tagger"], "option 'modle' is not one of this recipe; did you mean 'model'"),
        (
            ["model=bert"],
            "ner: model must be one of 'global_pointer', 'efficient_global_pointer', 'bio_tagger', 'crf_t",
        ),
        (
            ["tokeniser=letters"],
            "ner: tokeniser must be one of 'words', 'characters', 'spaces', 'spacy', got 'letters'",
        ),
        (["decay=step"], "ner: decay must be one of 'linear', 'cosine', 'none', got 'step'"),
        (["pooling=last"], "ner: pooling must be one of 'first', 'mean', got 'last'"),
        (["lr=0"], "ner: lr must be positive, got 0.0"),
        (["weight_decay=-1"], "ner: weight_decay must be zero or positive, and finite, got -1.0"),
        (["warmup=1"], "ner: warmup must be at least 0 and below 1, a share of the steps, got 1.0"),
        (["max_length=0"], "ner: max_length must be positive, got 0"),
        (["layers=-1"], "ner: layers must be not negative, got -1"),
        (["dropout=1"], "dropout must be at least 0 and below 1, got 1.0"),
        (["further=rotary"], "ner: further must hold NAME=VALUE, got 'rotary'"),
        (["further=depth=3"], "global_pointer has no option 'depth'"),
        (["data=none.json"], "ner: data: no such file or folder: 'none.json'"),
        (["vectors=none.txt"], "ner: vectors: no such file, and not glove or none: 'none.txt'"),
        (["data={}/nothing.json"], "ner: data must hold an entity, got none in 1 texts"),
        (["val={}/blank.json"], "ner: val must hold a text with a token for each process, got 0 for 1"),
        (["data={}/spaces.json"], "ner: data must hold a token, got none in 1 texts"),
        (["val={}/outside.json", "data={}/outside.json"], "ner: data must hold an entity, got none in 1 texts"),
    ],
)
def test_errors_are_one_line(data, tmp_path, capsys, words, message):
    write_entities(tmp_path / "nothing.json", [AnnotatedText("", "nobody")])
    write_entities(tmp_path / "blank.json", [AnnotatedText("", "  ")])
    write_entities(tmp_path / "spaces.json", [AnnotatedText("", "  ", (Entity("PER", 0, 0),))])
    (tmp_path / "outside.json").write_text('{"text": "Anna", "label": {"PER": {"Anna": [[0, 4], [3, 2]]}}}')
    assert train(data, tmp_path / "out", "epochs=1", *(word.replace("{}", str(tmp_path)) for word in words)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pydlx train: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_options_are_listed(capsys):
    assert main(["train", "ner", "--options"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^encoder +lstm +lstm, transformer, minilm, or", listed, re.MULTILINE)
    assert max(map(len, listed.splitlines())) <= 130
