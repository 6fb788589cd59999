"""``pydlx answer`` marks answers in texts, files and what is piped in, and answers files of questions."""

from __future__ import annotations

import io
import json
import sys

import pytest
import torch
from reader_samples import passage, squad_file, tiny_reader

from pydlx.cli import main
from pydlx.models import create_model, load_model, save_model
from pydlx.models.readers import ask

QUESTION = "Where does Anna1 live?"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Readers, with and without scores of no answer, one without vocabulary, a model that is no reader, and texts."""
    folder = tmp_path_factory.mktemp("answer")
    save_model(tiny_reader(), folder / "reader.pt")
    careful = tiny_reader(no_answer=True)
    save_model(careful, folder / "careful.pt")
    with torch.no_grad():
        careful.null.fill_(100)
    save_model(careful, folder / "silent.pt")
    careful.companion = None
    save_model(careful, folder / "bare.pt")
    save_model(create_model("fcn8s", num_classes=2, backbone="slim_vgg"), folder / "fcn.pt")
    (folder / "text.txt").write_text(passage(1), encoding="utf-8-sig")
    (folder / "latin.txt").write_bytes("Zürich".encode("latin-1"))
    squad_file(folder / "questions.json", 5)
    return folder


def answer(place, *words, checkpoint="reader.pt"):
    return main(["answer", "--checkpoint", str(place / checkpoint), *map(str, words)])


@pytest.fixture
def expected(place):
    return ask(load_model(place / "reader.pt"), passage(1), QUESTION, top_k=3)


@pytest.mark.parametrize("kind", ["text", "file", "stdin"])
def test_the_answer_is_marked(place, expected, kind, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(passage(1)))
    given = {"text": passage(1), "file": place / "text.txt", "stdin": "-"}[kind]
    assert answer(place, "--passage", given, "--question", QUESTION, "--top", 3) == 0
    marked, _, *table = capsys.readouterr().out.splitlines()
    best = expected.answers[0]
    assert marked == f"{passage(1)[: best.start]}[[{best.text}]]{passage(1)[best.end :]}"
    assert [line.split(maxsplit=2) for line in table] == [
        ["probability", "score", "answer"],
        *([f"{a.probability:.3f}", f"{a.score:.2f}", a.text] for a in expected.answers),
    ]


def test_in_a_terminal_it_is_marked_by_colours(place, expected, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert answer(place, "--passage", passage(1), "--question", QUESTION) == 0
    shown = capsys.readouterr().out
    assert f"\033[7m{expected.best}\033[0m" in shown
    assert "[[" not in shown


def test_of_a_long_passage_the_surroundings_are_shown(place, capsys):
    text = "in " * 1000
    assert answer(place, "--passage", text, "--question", QUESTION, "--max-length", 1) == 0
    shown = capsys.readouterr().out.split("\n\n")[0]
    assert shown.count("[[in]]") == 1
    assert len(shown) < 900
    assert shown.startswith("… ") or shown.endswith(" …")


def test_json(place, expected, capsys):
    words = ["--passage", passage(1), "--question", QUESTION, "--json", "--top", 3]
    assert answer(place, *words) == 0
    assert json.loads(capsys.readouterr().out) == {
        "answers": [each._asdict() for each in expected.answers],
        "no_answer": None,
    }
    assert answer(place, *words, checkpoint="careful.pt") == 0
    null = json.loads(capsys.readouterr().out)["no_answer"]
    assert 0 < null["probability"] < 1


def test_no_answer_has_its_row(place, capsys):
    words = ["--passage", passage(1), "--question", QUESTION]
    assert answer(place, *words, checkpoint="careful.pt") == 0
    assert capsys.readouterr().out.count("(no answer)") == 1
    assert answer(place, *words, checkpoint="silent.pt") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3  # nothing is marked
    assert lines[1].split() == ["1.000", "200.00", "(no", "answer)"]


def test_a_file_of_questions(place, tmp_path, capsys):
    out, nulls = tmp_path / "out.json", tmp_path / "null.json"
    words = ["--data", place / "questions.json", "--out", out, "--na-probs", nulls]
    assert answer(place, *words, checkpoint="careful.pt") == 0
    assert f"5 questions: 5 answers, 0 of them empty, written to {out}" in capsys.readouterr().out
    answers, probabilities = (json.loads(path.read_text()) for path in (out, nulls))
    model = load_model(place / "careful.pt")
    for n in range(5):
        asked = ask(model, passage(n), f"Where does Anna{n} live?")
        assert answers[f"q{n}"] == asked.best
        assert probabilities[f"q{n}"] == pytest.approx(asked.null_probability, rel=1e-4)
    assert answer(place, *words, checkpoint="silent.pt") == 0
    assert "5 of them empty" in capsys.readouterr().out
    assert set(json.loads(out.read_text()).values()) == {""}
    assert main(["eval", "squad", str(place / "questions.json"), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["exact_match"] == 0


def test_repeated_ids_are_counted(place, tmp_path, capsys):
    content = json.loads((place / "questions.json").read_text())
    content["data"] *= 2
    (tmp_path / "twice.json").write_text(json.dumps(content))
    assert answer(place, "--data", tmp_path / "twice.json", "--out", tmp_path / "out.json") == 0
    assert "10 questions, 5 repeat the id of another: 5 answers" in capsys.readouterr().out


ONE = ["--passage", "Rome.", "--question", "Where?"]
FILE = ["--data", "{}/questions.json", "--out", "{}/out.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--passage must be given without --data"),
        (["--passage", "Rome."], "--question must be given without --data"),
        ([*ONE, "--out", "x.json"], "--out must not be given without --data"),
        ([*ONE, "--na-probs", "x.json"], "--na-probs must not be given without --data"),
        (FILE[:2], "--out must be given with --data"),
        ([*FILE, *ONE[:2]], "--passage must not be given with --data"),
        ([*FILE, *ONE[2:]], "--question must not be given with --data"),
        ([*FILE, "--json"], "--json must not be given with --data"),
        ([*FILE, "--top", "2"], "--top must not be given with --data"),
        ([*FILE[:3], "{}/none/out.json"], "cannot write '{}/none/out.json'"),
        ([*FILE, "--na-probs", "{}"], "cannot write '{}': it exists and is not a regular file"),
        ([*FILE, "--na-probs", "{}/out.json"], "--na-probs must be another file than --out, got '{}/out.json'"),
        ([*FILE[:3], "{}/./questions.json"], "--out must be another file than --data, got '{}/questions.json'"),
        (["--data", "{}/none.json", *FILE[2:]], "no such file: '{}/none.json'"),
        (["--data", "{}/text.txt", *FILE[2:]], "'{}/text.txt': the file is no JSON"),
        ([*ONE, "--top", "0"], "argument --top: must be a positive whole number, got '0'"),
        ([*ONE, "--top", "x"], "argument --top: must be a positive whole number, got 'x'"),
        ([*ONE, "--max-length", "-1"], "argument --max-length: must be a positive whole number, got '-1'"),
        ([*ONE, "--device", "gpu"], "--device must be cpu, cuda or cuda:N, got 'gpu'"),
        ([*ONE, "--device", "cuda:99"], "--device must be one that torch finds, got 'cuda:99'"),
        (["--passage", "txet.txt", *ONE[2:]], "--passage: no such file: 'txet.txt'"),
        (["--passage", "{}/latin.txt", *ONE[2:]], "--passage: '{}/latin.txt' must be UTF-8, got other bytes at 1"),
        (["--passage", " ", *ONE[2:]], "--passage must hold a token, got none but white space"),
        ([*ONE[:2], "--question", ""], "--question must hold a token, got none but white space"),
        ([*ONE, "--checkpoint", "{}/none.pt"], "no such file: '{}/none.pt'"),
        ([*ONE, "--checkpoint", "{}/text.txt"], "'{}/text.txt' is no checkpoint"),
        ([*ONE, "--checkpoint", "{}/fcn.pt"], "--checkpoint must hold a reader, got fcn8s"),
        ([*ONE, "--checkpoint", "{}/bare.pt"], "model must have a vocabulary, as those that pydlx train reader leaves"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(place, words, message, capsys):
    before = sorted(place.iterdir())
    assert answer(place, *(word.replace("{}", str(place)) for word in words)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.startswith("pydlx answer: ")
    assert message.replace("{}", str(place)) in said.err
    assert not said.out
    assert sorted(place.iterdir()) == before


def test_a_text_file_ends_without_empty_lines(place, capsys):
    (place / "lines.txt").write_text(f"{passage(1)}\n\n")
    assert answer(place, "--passage", place / "lines.txt", "--question", QUESTION) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == ["", "probability  score  answer"]


def test_a_folder_is_no_checkpoint(place, capsys):
    (place / "run").mkdir(exist_ok=True)
    save_model(tiny_reader(), place / "run" / "best.ckpt")
    assert answer(place, "--passage", "x", "--question", "y", checkpoint="run") == 2
    assert capsys.readouterr().err.endswith(f"but a folder; did you mean '{place / 'run' / 'best.ckpt'}'?\n")
