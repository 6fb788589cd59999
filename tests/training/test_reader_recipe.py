"""The recipe for readers learns questions, resumes, and leaves readers that score as in validation."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")

from lightning.pytorch import Callback
from reader_samples import PLACES, passage, squad_file

from pydlx.cli import main
from pydlx.data.reading import Featurizer, ReadingSet, Vocabulary, create_tokeniser
from pydlx.models import load_model
from pydlx.models.readers import ask
from pydlx.training import reader as recipe
from pydlx.training import reader_recipes
from pydlx.training.numbered import NumberedExamples
from pydlx.training.options import parse_options
from pydlx.training.reading import ReadingTask

TINY = {
    "bidaf": ["further=character_filters=4"],
    "dcn": ["further=pool=2"],
    "drqa": [],
    "mnemonic_reader": ["further=character_dim=4,character_hidden=4"],
    "mpcm": ["further=character_hidden=4,perspectives=4"],
    "rasor": [],
    "fastqa": [],
    "fastqa_ext": [],
    "fusionnet": ["further=attention_size=8"],
    "match_lstm": [],
    "qanet": ["further=heads=2,blocks=1,character_dim=4"],
    "r_net": ["further=character_hidden=4"],
}
FAST = ["optimizer=adam", "lr=0.03", "dropout=0", "warmup=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return squad_file(tmp_path_factory.mktemp("questions") / "questions.json")


def command(data, out, *words, model="bidaf"):
    fixed = [f"data={data}", f"val={data}", f"out={out}", f"model={model}", "hidden=8", "word_dim=8", "batch_size=4"]
    return ["train", "reader", *fixed, *TINY[model], "progress=false", "accelerator=cpu", *words]


def train(data, out, *words, model="bidaf"):
    return main(command(data, out, *words, model=model))


def logged(out, column):
    """Returns the logged values of a score, by step."""
    rows = [row for path in sorted(out.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}


def test_it_learns_questions_by_heart(data, tmp_path, capsys):
    """The saved model answers, also about passages that it was not trained on."""
    assert train(data, tmp_path, *FAST, "epochs=20", "val_every=20", "characters=false", "batch_size=8") == 0
    files = f"reading {data}\n" * 2
    assert capsys.readouterr().out.startswith(
        f"{files}train: 8 examples of 8 questions, 8 answers\nval: 8 examples of 8"
    )
    assert logged(tmp_path, "val/exact_match") == {19: 100}
    model = load_model(tmp_path / "best.ckpt")
    assert [ask(model, passage(n), f"Where does Anna{n} live?").best for n in range(8)] == list(PLACES)
    other = ask(model, passage(3).replace("1903", "1855"), "Where does Anna3 live?").answers[0]
    assert (other.text, other.probability > 0.5) == ("Lima", True)


@pytest.mark.parametrize("model", sorted(TINY))
def test_every_model_trains_with_characters_and_features(data, tmp_path, model):
    assert train(data, tmp_path, "epochs=1", "batch_size=8", model=model) == 0
    built = load_model(tmp_path / "last.ckpt")
    assert built.model_name == model
    assert built.model_options["features"] == 4
    # Some papers' readers have no dropout, whatever the option says.
    without = ("match_lstm", "fusionnet", "dcn", "rasor", "drqa")
    assert (built.model_options["character_count"] > 0) == (model not in without)
    assert ask(built, passage(9), "Where does Anna9 live?").answers


def test_what_is_not_asked_for_is_left_out(data, tmp_path, capsys):
    words = ["max_steps=1", "characters=false", "features=false", "tune=5", "no_answer=true"]
    assert train(data, tmp_path, *words, "further=end_input=paper") == 0
    assert "stopped before a validation, so there is last.ckpt but no best.ckpt; written to" in capsys.readouterr().out
    options = load_model(tmp_path / "last.ckpt").model_options
    assert {name: options[name] for name in ("character_count", "features", "tune_partial", "end_input")} == {
        "character_count": 0,
        "features": 0,
        "tune_partial": 5,
        "end_input": "paper",
    }
    assert options["no_answer"]


class Stop(Exception):
    pass


class StopAt(Callback):
    """Interrupts the training as a kill would, before the step is saved."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Stop


class Losses(Callback):
    """Records the losses of all steps."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(outputs["loss"].item())


def losses(monkeypatch, data, out, stop=None):
    """A training of four epochs of four batches, with dropout, is interrupted at a step."""
    seen, build = Losses(), reader_recipes.build_trainer

    def watched(*given, callbacks, **named):
        return build(*given, callbacks=[*callbacks, seen, *([StopAt(stop)] if stop else [])], **named)

    monkeypatch.setattr(reader_recipes, "build_trainer", watched)
    words = command(data, out, "epochs=4", "batch_size=2", "checkpoint_steps=1", "characters=false", "dropout=0.3")[2:]
    try:
        recipe.train(parse_options(recipe.ReaderOptions, words))
    except Stop:
        seen.seen.pop()
    monkeypatch.setattr(reader_recipes, "build_trainer", build)
    return seen.seen


def test_a_killed_training_goes_on_with_the_same_losses(data, tmp_path, monkeypatch):
    whole = losses(monkeypatch, data, tmp_path / "whole")
    assert len(whole) == 16
    first = losses(monkeypatch, data, tmp_path / "killed", stop=7)
    assert len(first) == 6
    assert first + losses(monkeypatch, data, tmp_path / "killed") == whole
    weights = [load_model(tmp_path / run / "last.ckpt").state_dict() for run in ("whole", "killed")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_an_interrupted_training_says_how_to_go_on(data, tmp_path, monkeypatch, capsys):
    """Lightning ends the process with exit code 1, says nothing more, and ignores Ctrl-C from then on."""
    before = signal.getsignal(signal.SIGINT)
    one_step = ReadingTask.training_step

    def interrupted(task, batch, number):
        if task.global_step == 1:
            raise KeyboardInterrupt
        return one_step(task, batch, number)

    monkeypatch.setattr(ReadingTask, "training_step", interrupted)
    for steps, rest in (
        (2, "there is no checkpoint yet, the same command begins anew"),
        (1, f"the same command goes on from '{tmp_path / 'last.ckpt'}'"),
    ):
        assert train(data, tmp_path, "epochs=2", f"checkpoint_steps={steps}") == 130
        signal.signal(signal.SIGINT, before)
        assert capsys.readouterr().err.splitlines()[-1] == f"pydlx train: interrupted; {rest}"


def test_early_stopping(data, tmp_path):
    """The rate is too low to learn anything, so that F1 does not rise after the first validation."""
    assert train(data, tmp_path, "lr=1e-9", "dropout=0", "characters=false", "epochs=9", "patience=2") == 0
    assert len(logged(tmp_path, "val/f1")) == 3


def test_averaged_weights_are_those_that_are_validated_and_kept(data, tmp_path, capsys):
    for run, words in {"live": [], "average": ["ema=0.5"]}.items():
        assert train(data, tmp_path / run, *FAST, "characters=false", "epochs=3", *words) == 0
    live, average = (load_model(tmp_path / run / "last.ckpt").state_dict() for run in ("live", "average"))
    assert not torch.equal(live["start.weight"], average["start.weight"])
    for run in ("live", "average"):
        said = scores(tmp_path / run, data, capsys)
        assert list(logged(tmp_path / run, "val/f1").values())[-1] == float(np.float32(said["f1"]))


def scores(out, data, capsys, *words, checkpoint="last.ckpt"):
    """Returns the scores of ``pydlx eval squad`` for the answers of ``pydlx answer``."""
    predictions = out / "predictions.json"
    given = ["--checkpoint", str(out / checkpoint), "--data", str(data), "--out", str(predictions)]
    assert main(["answer", *given]) == 0
    capsys.readouterr()
    assert main(["eval", "squad", str(data), str(predictions), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)["results"]


def test_validation_says_what_the_commands_say(tmp_path, capsys):
    """With windows and a question without a token: the same numbers, to the last digit of float32."""
    train_on = squad_file(tmp_path / "train.json", 8)
    held_out = squad_file(tmp_path / "dev.json", 12, around=1)
    content = json.loads(held_out.read_text())
    content["data"][0]["paragraphs"][1]["qas"][0]["question"] = " "
    held_out.write_text(json.dumps(content))
    words = [f"val={held_out}", "epochs=4", "val_every=4", "max_passage=16", "characters=false"]
    assert train(train_on, tmp_path / "out", *FAST, *words) == 0
    said = scores(tmp_path / "out", held_out, capsys)
    exact, f1 = (logged(tmp_path / "out", f"val/{name}") for name in ("exact_match", "f1"))
    wanted = [{15: float(np.float32(said[name]))} for name in ("exact_match", "f1")]
    assert [exact, f1] == wanted
    assert 0 < said["exact_match"] < 92  # of the question without a token there is no answer


def test_processes_share_the_questions(tmp_path):
    """All windows of a question go to one process, the shortest question first."""
    featurizer = Featurizer(create_tokeniser("words"), Vocabulary([]))
    asked = ReadingSet(squad_file(tmp_path / "dev.json", 5, around=1), featurizer, training=False, max_passage=40)
    parts = [NumberedExamples(asked, rank, 2) for rank in (0, 1)]
    assert [{asked.windows[place].question for place in part.numbers} for part in parts] == [{0, 2, 4}, {1, 3}]
    assert sorted(place for part in parts for place in part.numbers) == list(range(len(asked)))
    for part in parts:
        batch, numbers = part.collate([part[n] for n in range(len(part))])
        assert batch.passage.lengths.tolist() == asked.lengths[numbers].tolist() == sorted(asked.lengths[numbers])


def test_questions_without_answers_are_learned(tmp_path, capsys):
    data = squad_file(tmp_path / "questions.json", 8, unanswerable=4)
    words = ["no_answer=true", "epochs=20", "val_every=20", "characters=false"]
    assert train(data, tmp_path / "out", *FAST, *words) == 0
    assert logged(tmp_path / "out", "val/exact_match") == {39: 100}
    said = scores(tmp_path / "out", data, capsys, "--version", "2.0")
    assert (said["HasAns_exact"], said["NoAns_exact"]) == (100, 100)
    nothing = ask(load_model(tmp_path / "out" / "last.ckpt"), passage(7), "Where does Anna7 sleep?")
    assert nothing.null_probability > 0.5


@pytest.fixture
def glove(tmp_path):
    """Vectors of five words, one of which occurs in the validation alone."""
    words = ["our", "year", "Rome", "lives", "elsewhere"]
    lines = [f"{word} {' '.join(str(n + 0.5) for _ in range(5))}" for n, word in enumerate(words)]
    (tmp_path / "glove.txt").write_text("\n".join(lines))
    return tmp_path / "glove.txt"


@pytest.mark.parametrize(("tune", "moved"), [("none", 0), ("1", 1)])
def test_vectors_of_a_file(data, tmp_path, glove, tune, moved):
    """Word vectors are fixed, except those of the most frequent words that an option says to train."""
    held_out = tmp_path / "dev.json"
    content = json.loads(data.read_text())
    for paragraph in content["data"][0]["paragraphs"]:
        paragraph["qas"][0]["question"] += " Or elsewhere?"
    held_out.write_text(json.dumps(content))
    words = ["lr=1", f"vectors={glove}", f"tune={tune}", f"val={held_out}", "max_steps=2", "characters=false"]
    assert train(data, tmp_path / "out", *words) == 0
    model = load_model(tmp_path / "out" / "last.ckpt")
    known = model.companion["featurizer"]["vocabulary"]
    assert sorted(known) == ["Our", "Rome", "elsewhere", "lives", "year"]
    assert known[-1] == "elsewhere"
    numbers = {"Our": 0.5, "year": 1.5, "Rome": 2.5, "lives": 3.5, "elsewhere": 4.5}
    vectors = model.embed.words(torch.arange(7)[None])[0]
    wanted = torch.tensor([[numbers.get(word, 0.0)] * 5 for word in ["", "", *known]])
    changed = (vectors != wanted).any(1)
    assert changed.nonzero().flatten().tolist() == list(range(2, 2 + moved))


def test_tokens_are_kept_for_next_time(data, tmp_path, monkeypatch):
    cached = [f"cache={tmp_path / 'cache'}", "max_steps=1", "characters=false", "val_limit=2"]
    assert train(data, tmp_path / "one", *cached) == 0
    names = ["data.questions.all.words.npz", "val.questions.2.words.npz"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == names
    monkeypatch.setattr("pydlx.data.text.cache.tokenise", None)  # cached texts are not split again
    assert train(data, tmp_path / "two", *cached) == 0
    one, two = (load_model(tmp_path / run / "last.ckpt") for run in ("one", "two"))
    assert all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_chinese_is_read_by_characters(tmp_path):
    passages = [f"他住在{place}市。" for place in ("北京", "上海", "天津", "重庆")]
    paragraphs = [
        {
            "context": text,
            "qas": [{"id": str(n), "question": "他住在哪里？", "answers": [{"text": text[3:5], "answer_start": 3}]}],
        }
        for n, text in enumerate(passages)
    ]
    (tmp_path / "chinese.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    words = [*FAST, "tokeniser=characters", "epochs=20", "val_every=20"]
    assert train(tmp_path / "chinese.json", tmp_path / "out", *words) == 0
    assert logged(tmp_path / "out", "val/exact_match") == {19: 100}
    model = load_model(tmp_path / "out" / "best.ckpt")
    assert model.model_options["character_count"] == 0  # words are single characters
    assert ask(model, passages[2], "他住在哪里？").best == "天津"


def test_tensorboard_shows_answers(data, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    content = json.loads(data.read_text())
    content["data"][0]["paragraphs"][0]["qas"][0]["question"] = "Where |\n live?"
    (tmp_path / "questions.json").write_text(json.dumps(content))
    assert train(tmp_path / "questions.json", tmp_path, "epochs=1", "characters=false") == 0
    events = accumulator.EventAccumulator(str(tmp_path / "logs")).Reload()
    [shown] = events.Tensors("val/answers/text_summary")
    rows = shown.tensor_proto.string_val[0].decode().splitlines()
    assert rows[:2] == ["question | answer | right answers", "---|---|---"]
    assert rows[2].startswith("Where \\| live? | ")
    assert [row.rpartition(" | ")[2] for row in rows[2:]] == list(PLACES)


def test_a_checkpoint_of_something_else_is_refused(data, tmp_path, capsys):
    tiny = ["epochs=1", "characters=false"]
    assert train(data, tmp_path, *tiny) == 0
    other = tmp_path / "other.json"
    other.write_text(data.read_text().replace("cat", "dog"))
    for words, message in (
        (["model=r_net", "further="], "model bidaf, not r_net"),
        (["hidden=9"], "hidden=8, not 9"),
        (["answer_length=9"], "answer_length=15, not 9"),
        ([f"data={other}"], "another featurizer"),
    ):
        assert train(data, tmp_path, *tiny, *words) == 2
        assert f"last.ckpt' holds {message}; give the same options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=bidaf"], "option 'modle' is not one of this recipe; did you mean 'model'"),
        (
            ["model=bert"],
            "'rasor', 'drqa', 'mpcm', 'mnemonic_reader', got 'bert'",
        ),
        (["tokeniser=letters"], "tokeniser must be one of 'words', 'characters', 'spaces', 'spacy', got 'letters'"),
        (["attention=hard"], "attention must be one of 'dynamic', 'static', got 'hard'"),
        (["score=bleu"], "score must be one of 'squad', 'cmrc', None, got 'bleu'"),
        (["optimizer=sgd"], "optimizer must be one of 'adam', 'adamax', 'adadelta', None, got 'sgd'"),
        (["no_answer=true", "score=cmrc"], "score must be squad with no_answer=true, got cmrc"),
        (["no_answer=true", "tokeniser=characters"], "score must be squad with no_answer=true, got cmrc"),
        (["lr=-1"], "lr must be positive, got -1.0"),
        (["batch_size=0"], "batch_size must be positive, got 0"),
        (["train_limit=0"], "train_limit must be positive, got 0"),
        (["val_limit=-1"], "val_limit must be positive, got -1"),
        (["max_passage=0"], "max_passage must be positive, got 0"),
        (["answer_length=0"], "answer_length must be positive, got 0"),
        (["patience=0"], "patience must be positive, got 0"),
        (["warmup=-1"], "warmup must be not negative, got -1"),
        (["tune=-1"], "tune must be not negative, got -1"),
        (["dropout=1"], "dropout must be at least 0 and below 1, got 1.0"),
        (["further=bidirectional"], "further must hold NAME=VALUE, got 'bidirectional'"),
        (["further=depth=3"], "bidaf has no option 'depth'"),
        (["data=none.json"], "data: no such file: 'none.json'"),
        (["val=none.json"], "val: no such file: 'none.json'"),
        (["vectors=none.txt"], "reader: vectors: no such file, and not glove or none: 'none.txt'"),
        (["attention=static"], "reader: attention is an option of r_net, got 'static' for bidaf"),
        (["data={}/empty.json"], "data must hold a question to train on, got none of 0"),
        (["data={}/unanswered.json"], "data must hold a question to train on, got none of 2"),
        (["val={}/empty.json"], "val must hold a question to answer for each process, got 0 for 1"),
        (["val={}/unanswered.json"], "val must hold an answer to each question without no_answer=true, got 2 without"),
        (["vectors={}/chinese.txt"], "vectors must hold a word of the texts, got none in"),
        (["devices=2", "val_limit=1"], "val must hold a question to answer for each process, got 1 for 2"),
    ],
)
def test_errors_are_one_line(data, tmp_path, capsys, words, message):
    squad_file(tmp_path / "empty.json", 0)
    squad_file(tmp_path / "unanswered.json", 2, unanswerable=2)
    (tmp_path / "chinese.txt").write_text("北京 1 2 3\n")
    assert train(data, tmp_path / "out", "epochs=1", *(word.replace("{}", str(tmp_path)) for word in words)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pydlx train: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_options_are_listed(capsys):
    assert main(["train", "reader", "--options"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^model +bidaf +match_lstm, dcn, .*$", listed, re.MULTILINE)
    assert max(map(len, listed.splitlines())) <= 130


@pytest.mark.slow
def test_two_processes_are_as_good_as_one(tmp_path):
    """Each step averages two batches, in one process or in two; of five questions one gets three, the other two."""
    data = squad_file(tmp_path / "questions.json", 5)
    words = [*FAST, "train_limit=2", "max_passage=16", "batch_size=2", "epochs=8", "val_every=4", "characters=false"]
    words += ["precision=64-true"]
    assert train(data, tmp_path / "one", *words, "accumulate=2") == 0
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "pydlx.cli"]
    subprocess.run(
        [sys.executable, *launch, *command(data, tmp_path / "two", *words, "devices=2")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    for column in ("val/exact_match", "val/f1"):
        one, two = (logged(tmp_path / run, column) for run in ("one", "two"))
        assert list(one) == [3, 7]
        assert one == two
    one, two = (load_model(tmp_path / run / "last.ckpt").state_dict() for run in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-6, atol=1e-6, msg=name)
