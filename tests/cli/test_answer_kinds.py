"""``pydlx answer`` with readers that fill gaps, choose, or answer from documents."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("msgspec")

from reader_samples import passage, task_reader, tiny_reader
from task_samples import cloze_files, dream_file, dureader_file

from pydlx.cli import main
from pydlx.data.reading import read_dream
from pydlx.models import load_model, save_model
from pydlx.models.readers import ask_documents, choose, fill

GAP = "XXXXX lives in Rome"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with readers for each task and files to answer."""
    folder = tmp_path_factory.mktemp("answers")
    for task in ("cloze", "choice"):
        save_model(task_reader(task), folder / f"{task}.pt")
    model = tiny_reader("fastqa")
    save_model(model, folder / "span.pt")
    model.companion = {**model.companion, "task": "free_answer", "read": {"documents": 2, "paragraphs": 2}}
    save_model(model, folder / "free.pt")
    cloze_files(folder, 3)
    dream_file(folder / "dream.json", 3)
    dureader_file(folder / "dureader.jsonl", 3)
    return folder


def answer(place, checkpoint, *words):
    return main(["answer", "--checkpoint", str(place / checkpoint), *map(str, words)])


def test_a_gap_is_filled(place, capsys):
    words = ["--passage", passage(0), "--question", GAP, "--top", 3]
    assert answer(place, "cloze.pt", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = fill(load_model(place / "cloze.pt"), passage(0), GAP, top_k=3).words
    assert lines[0].split() == ["probability", "word"]
    assert [line.split() for line in lines[1:]] == [[f"{word.probability:.3f}", word.text] for word in wanted]
    assert answer(place, "cloze.pt", *words, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"words": [word._asdict() for word in wanted]}


def test_a_choice_is_made(place, capsys):
    choices = ["In Rome.", "In Oslo."]
    words = ["--passage", passage(0), "--question", "Where?", "--choices", *choices]
    assert answer(place, "choice.pt", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    chosen = choose(load_model(place / "choice.pt"), passage(0), "Where?", choices)
    assert lines[1] == f"{max(chosen.probabilities):>11.3f}  {chosen.best}"
    assert len(lines) == 3
    assert answer(place, "choice.pt", *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)["choices"]
    assert found[0] == {"text": chosen.best, "probability": max(chosen.probabilities)}


@pytest.mark.parametrize(
    ("checkpoint", "data", "truth", "form"),
    [
        ("cloze.pt", "cloze.doc_query", "cloze.answer", "cmrc2017"),
        ("choice.pt", "dream.json", "dream.json", "dream"),
        ("free.pt", "dureader.jsonl", "dureader.jsonl", "dureader"),
        ("span.pt", "dureader.jsonl", "dureader.jsonl", "dureader"),
    ],
)
def test_a_file_is_answered_and_scored(place, tmp_path, capsys, checkpoint, data, truth, form):
    out = tmp_path / "out"
    words = ["--format", "dureader"] if checkpoint == "span.pt" else []
    assert answer(place, checkpoint, "--data", place / data, "--out", out, *words) == 0
    assert f"3 questions: 3 answers, 0 of them empty, written to {out}" in capsys.readouterr().out
    assert main(["eval", "answers", str(place / truth), str(out), "--format", form, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert all(0 <= value <= 100 for value in results.values())
    model = load_model(place / checkpoint)
    if form == "dream":
        questions = list(read_dream(place / data))
        best = {q.id: choose(model, q.passage, q.question, q.choices).best for q in questions}
        assert json.loads(out.read_text()) == best
        right = sum(best[q.id] == q.choices[q.answer] for q in questions)
        assert results["accuracy"] == pytest.approx(100 * right / 3)


def test_the_paragraphs_are_those_of_the_training(place, tmp_path):
    from pydlx.data.reading import read_dureader

    questions = list(read_dureader(place / "dureader.jsonl"))
    [two, one] = [next(ask_documents(load_model(place / f"{name}.pt"), questions)) for name in ("free", "span")]
    assert two.question.passage.count("\n") == 2
    assert one.question.passage.count("\n") == 1


@pytest.mark.parametrize(
    ("checkpoint", "words", "message"),
    [
        ("choice.pt", ["--passage", "a", "--question", "b"], "--choices must be given for a reader trained for choice"),
        (
            "span.pt",
            ["--passage", "a", "--question", "b", "--choices", "c"],
            "--choices needs a reader trained for choice",
        ),
        ("cloze.pt", ["--passage", "a", "--question", "b"], "question must hold XXXXX, got 'b'"),
        (
            "cloze.pt",
            ["--passage", "a", "--question", GAP, "--max-length", "3"],
            "--max-length needs a reader trained for span or free_answer, got one for cloze",
        ),
        (
            "choice.pt",
            ["--data", "{}/dream.json", "--out", "o", "--na-probs", "p"],
            "--na-probs needs a reader trained for span",
        ),
        (
            "choice.pt",
            ["--data", "{}/dream.json", "--out", "o", "--choices", "p"],
            "--choices must not be given with --data",
        ),
        (
            "span.pt",
            ["--passage", "a", "--question", "b", "--format", "marco"],
            "--format must not be given without --data",
        ),
        (
            "span.pt",
            ["--data", "{}/dureader.jsonl", "--out", "o", "--na-probs", "p", "--format", "dureader"],
            "--na-probs must not be given with --format",
        ),
        ("cloze.pt", ["--data", "{}/dream.json", "--out", "o"], "must be a label, '|||' and text"),
        ("choice.pt", ["--data", "{}/cloze.answer", "--out", "o"], "the file is no JSON"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(place, tmp_path, monkeypatch, capsys, checkpoint, words, message):
    monkeypatch.chdir(tmp_path)
    assert answer(place, checkpoint, *(word.replace("{}", str(place)) for word in words)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not list(tmp_path.iterdir())
