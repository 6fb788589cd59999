"""The recipes cloze, choice and free_answer overfit small data; validation scores equal the commands'."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("tokenizers")
pytest.importorskip("msgspec")

from reader_samples import squad_file
from task_samples import ANIMALS, cloze_files, dream_file, dureader_file

from pydlx.cli import main
from pydlx.metrics import marco_score
from pydlx.models import load_model
from pydlx.models.readers import choose, fill
from pydlx.models.readers.settings import task_of

SMALL = ["model=fastqa", "hidden=8", "word_dim=8", "dropout=0", "lr=0.02", "batch_size=4", "progress=false"]


def train(recipe, out, *words):
    return main(["train", recipe, f"out={out}", "accelerator=cpu", *SMALL, *words])


def logged(out, column):
    """Returns the last logged value of a score."""
    rows = [row for path in sorted(out.glob("csv/*/metrics.csv")) for row in csv.DictReader(path.open())]
    return [float(row[column]) for row in rows if row.get(column)][-1]


def scored(capsys, out, data, truth, form):
    """Returns the scores of ``pydlx eval answers`` for the answers of ``pydlx answer``."""
    predictions = out / "predictions"
    checkpoint = str(out / "last.ckpt")
    assert main(["answer", "--checkpoint", checkpoint, "--data", str(data), "--out", str(predictions)]) == 0
    capsys.readouterr()
    assert main(["eval", "answers", str(truth), str(predictions), "--format", form, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["results"]


def test_gaps(tmp_path, capsys):
    passages, words = cloze_files(tmp_path)
    files = [f"data={passages}", f"answers={words}", f"val={passages}", f"val_answers={words}"]
    assert train("cloze", tmp_path / "out", *files, "epochs=16", "val_every=16", "gaps=2") == 0
    assert "train: 24 examples of 8 questions, 8 answers" in capsys.readouterr().out
    assert logged(tmp_path / "out", "val/accuracy") == 100
    assert scored(capsys, tmp_path / "out", passages, words, "cmrc2017") == {"accuracy": 100, "right": 8, "total": 8}
    model = load_model(tmp_path / "out" / "best.ckpt")
    assert task_of(model) == "cloze"
    story = f"{ANIMALS[3]} 和 {ANIMALS[1]} 住 在 一起\n今天 {ANIMALS[3]} 很 累\nXXXXX 在 家里 睡觉"
    assert fill(model, story, "XXXXX 在 家里 睡觉").best == ANIMALS[3]


def test_choices(tmp_path, capsys):
    data = dream_file(tmp_path / "dream.json")
    content = json.loads(data.read_text())
    content[0][1][0]["answer"] = "In Bern."  # not among the choices: not trained on, and counted as wrong
    data.write_text(json.dumps(content))
    out = tmp_path / "out"
    assert train("choice", out, f"data={data}", f"val={data}", "epochs=24", "val_every=24") == 0
    said = capsys.readouterr().out
    assert "train: 7 examples of 8 questions, 8 answers, 1 lost, 1 left out" in said
    assert "val: 8 examples of 8 questions, 8 answers, 1 lost" in said
    results = scored(capsys, out, data, data, "dream")
    assert results == {"accuracy": 87.5, "right": 7, "total": 8}
    assert logged(out, "val/accuracy") == 87.5
    model = load_model(out / "best.ckpt")
    turns, [asked], _ = content[5]
    assert choose(model, "\n".join(turns), asked["question"], asked["choice"]).best == asked["answer"]


@pytest.mark.parametrize("spans", [True, False])
def test_documents(tmp_path, capsys, spans):
    """Trains on the file's own spans, or on the best ones where it has none."""
    data, out = dureader_file(tmp_path / "dureader.jsonl", spans=spans), tmp_path / "out"
    words = ["epochs=12", "val_every=12", "answer_length=10"]
    assert train("free_answer", out, f"data={data}", f"val={data}", *words) == 0
    assert "train: 8 examples of 8 questions, 8 answers" in capsys.readouterr().out
    results = scored(capsys, out, data, data, "dureader")
    assert results["Rouge-L"] > 95
    for name, key in (("rouge_l", "Rouge-L"), ("bleu_4", "Bleu-4")):
        assert logged(out, f"val/{name}") == float(np.float32(results[key]))


def test_passages_of_marco(tmp_path, capsys):
    place = {"passage_text": "Anna lives in Rome with one cat."}
    lines = [{"query_id": n, "query": "where is Anna", "passages": [place], "answers": ["in Rome"]} for n in range(4)]
    lines.append({"query_id": 9, "query": "who", "passages": [place], "answers": ["No Answer Present."]})
    data, out = tmp_path / "marco.jsonl", tmp_path / "out"
    data.write_text("\n".join(map(json.dumps, lines)))
    words = ["format=marco", "tokeniser=words", "epochs=12", "val_every=12"]
    assert train("free_answer", out, f"data={data}", f"val={data}", *words) == 0
    assert "train: 4 examples of 5 questions, 5 answers, 1 left out" in capsys.readouterr().out
    words = ["--format", "marco", "--out", str(out / "predictions")]
    assert main(["answer", "--checkpoint", str(out / "last.ckpt"), "--data", str(data), *words]) == 0
    assert marco_score(data, out / "predictions", tokenizer=str.split)["rouge_l"] == 1
    assert logged(out, "val/rouge_l") == 100


def test_answers_that_rasor_cannot_give_are_left_out_and_counted(tmp_path, capsys):
    squad, documents = squad_file(tmp_path / "squad.json"), dureader_file(tmp_path / "dureader.jsonl")
    words = ["model=rasor", "further=max_length=1", "max_steps=1"]
    assert train("reader", tmp_path / "a", f"data={squad}", f"val={squad}", *words) == 0
    assert "train: 7 examples of 8 questions, 8 answers, 1 left out" in capsys.readouterr().out  # New York
    assert train("free_answer", tmp_path / "b", f"data={documents}", f"val={documents}", *words) == 2
    assert "free_answer: data must hold a question to train on, got none of 8" in capsys.readouterr().err
    assert train("reader", tmp_path / "c", f"data={squad}", f"val={squad}", *words, "further=objective=endpoints") == 0
    assert "train: 8 examples of 8 questions, 8 answers\n" in capsys.readouterr().out


def test_a_trained_reader_is_where_another_starts(tmp_path, capsys):
    data = dureader_file(tmp_path / "dureader.jsonl")
    squad = squad_file(tmp_path / "squad.json", 4)
    first, second = tmp_path / "first", tmp_path / "second"
    assert train("reader", first, f"data={squad}", f"val={squad}", "tokeniser=characters", "max_steps=1") == 0
    start = ["progress=false", "accelerator=cpu", "max_steps=1", f"start={first / 'last.ckpt'}", "lr=1e-30"]
    files = [f"data={data}", f"val={data}", "batch_size=4"]
    assert main(["train", "free_answer", f"out={second}", *files, *start]) == 0
    before, after = (load_model(out / "last.ckpt") for out in (first, second))
    assert after.model_options == before.model_options
    for name, weights in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], weights, rtol=0, atol=1e-20)
    assert (task_of(before), task_of(after)) == ("span", "free_answer")
    capsys.readouterr()
    for words, message in (
        (["hidden=8"], "free_answer: hidden must not be given with start, whose reader has its own"),
        (["tokeniser=words"], "free_answer: tokeniser must be characters, as of start's reader, got words"),
        (["start=none.ckpt"], "free_answer: start: no such file: 'none.ckpt'"),
    ):
        assert main(["train", "free_answer", f"out={tmp_path / 'third'}", *files, *start, *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "words", "message"),
    [
        ("cloze", ["gaps=-1"], "cloze: gaps must be not negative, got -1"),
        ("cloze", ["model=none"], "cloze: model must be "),
        ("cloze", ["val_answers=none.answer"], "cloze: val_answers: no such file: 'none.answer'"),
        ("cloze", ["further=no_answer=true"], "cloze: further must not hold no_answer, which the recipe decides"),
        ("choice", ["further=features=3"], "choice: further must not hold features, which the recipe decides"),
        ("choice", ["hidden=0"], "choice: hidden must be positive, got 0"),
        ("choice", ["val=none.json"], "choice: val: no such file: 'none.json'"),
        ("free_answer", ["format=squad"], "free_answer: format must be one of 'dureader', 'marco', got 'squad'"),
        ("free_answer", ["paragraphs=0"], "free_answer: paragraphs must be positive, got 0"),
        ("free_answer", ["val={}/silent"], "free_answer: val must hold an answer to compare with, got none in"),
        ("free_answer", ["data={}/silent"], "free_answer: data must hold a question to train on, got none of 1"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, recipe, words, message):
    passages, answers = cloze_files(tmp_path, 2)
    (tmp_path / "silent").write_text('{"question_id": 1, "question": "a", "documents": [{"paragraphs": ["a"]}]}')
    files = {
        "cloze": [f"data={passages}", f"answers={answers}", f"val={passages}", f"val_answers={answers}"],
        "choice": [f"{part}={dream_file(tmp_path / 'dream.json', 2)}" for part in ("data", "val")],
        "free_answer": [f"{part}={dureader_file(tmp_path / 'dureader', 2)}" for part in ("data", "val")],
    }[recipe]
    assert train(recipe, tmp_path / "out", *files, *(word.replace("{}", str(tmp_path)) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
